# SPDX-License-Identifier: GPL-3.0-or-later
"""A device for torch that behaves like a GPU but computes on the CPU, for tests.

Its tensors are separate. An operation that mixes them with the CPU's tensors fails, and numpy can't
read them. Only what is moved there and back on purpose works. Autocast converts the same operations
as on CUDA. As on Apple's GPUs, there is no float64. It can't show a GPU's own numbers, or how its
memory and streams behave.

It uses torch's own extension point for devices (PrivateUse1), in Python. An operation on these
tensors is the same operation on the CPU tensors inside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils import _pytree as tree
from torch.utils import backend_registration

NAME: Final = "standin"

# Operations where CUDA accepts tensors of both devices: copies, and indices from the CPU.
_ACROSS = frozenset({"copy_", "to", "_to_copy", "index", "index_put", "index_put_"})
# The operations of SAM 2 that autocast converts on CUDA.
_NARROWED = (
    *("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv2d", "conv2d.padding"),
    *("conv_transpose2d.input", "scaled_dot_product_attention"),
)
_WIDENED = (
    *("layer_norm", "group_norm", "softmax.int", "log_softmax.int", "exp", "log", "rsqrt"),
    *("pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "norm.ScalarOpt_dim", "reciprocal"),
    *("cumsum", "prod", "sum", "sum.dim_IntList", "softplus", "acos", "asin", "tan"),
)


class _Device:
    """What torch asks a device's module."""

    @staticmethod
    def is_initialized() -> bool:
        return True

    is_available = is_initialized

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Nothing is random here."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class _There(Tensor):
    """A tensor on the device. ``here`` is the CPU tensor inside it."""

    here: Tensor

    @staticmethod
    def __new__(cls: type[_There], here: Tensor, requires_grad: bool = False) -> _There:
        if here.dtype is torch.float64:
            raise TypeError(f"{NAME} has no float64, as Apple's GPUs")
        # Tensors of inference mode can't be views of parameters.
        with torch.inference_mode(mode=False):
            return Tensor._make_wrapper_subclass(
                cls,
                here.size(),
                strides=here.stride(),
                storage_offset=here.storage_offset(),
                dtype=here.dtype,
                device=DEVICE,
                requires_grad=requires_grad,
            )

    def __init__(self, here: Tensor, requires_grad: bool = False) -> None:
        self.here = here

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{NAME}: {self.here!r}"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch calls it on the class
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _here(value: Any) -> Any:
    """Return what the CPU computes with."""
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.here if isinstance(value, _There) else value


def _run(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = operation.overloadpacket.__name__
    tensors = [value for value in tree.tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = [value for value in tensors if isinstance(value, _There)]
    if there and name not in _ACROSS:
        apart = [value for value in tensors if not isinstance(value, _There) and value.dim()]
        if apart:
            shapes = ", ".join(str(tuple(value.shape)) for value in apart)
            raise RuntimeError(f"{operation} found tensors on {DEVICE} and on the CPU: {shapes}")
    stays = bool(there)
    targets = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.device)]
    if targets:
        stays = targets[0].type == NAME
    inner_args, inner_kwargs = tree.tree_map(_here, (args, kwargs))
    result = operation(*inner_args, **inner_kwargs)
    for argument, value in zip(operation._schema.arguments, args, strict=False):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return value  # changed in place
    return tree.tree_map(
        lambda value: _There(value) if stays and isinstance(value, Tensor) else value, result
    )


def _made(operation: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: _run(operation, args, kwargs)


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _here(target).copy_(_here(source))
    return target


def _converting(operation: Any, *, narrow: bool) -> Callable[..., Any]:
    """Return the operation as it runs under autocast."""
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)  # type: ignore[attr-defined]  # no stub has it

    def converted(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        return value.to(torch.get_autocast_dtype(NAME) if narrow else torch.float32)

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(key):
            args, kwargs = tree.tree_map(converted, (args, kwargs))
            return operation(*args, **kwargs)

    return run


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _register() -> tuple[torch.library.Library, ...]:
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Device())
    every = torch.library.Library("_", "IMPL")
    every.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    for name in ("empty.memory_format", "empty_strided"):
        aten.impl(name, _made(_overload(name)), "PrivateUse1")
    aten.impl("_copy_from", _copy_from, "PrivateUse1")
    for names, narrow in ((_NARROWED, True), (_WIDENED, False)):
        for name in names:
            run = _converting(_overload(name), narrow=narrow)
            aten.impl(name, run, "AutocastPrivateUse1")
    return every, aten


_LIBRARIES: Final = _register()  # the registrations end when these objects are deleted
DEVICE: Final = torch.device(NAME, 0)
