# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device and number format a run uses, and why; imports core and torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ...core.errors import EnvironmentSetupError
from ...core.settings import Precision
from .bfloat16_probe import is_quicker_in_bfloat16

# What torch settled on at its import (physical cores, or OMP_NUM_THREADS), kept so that one
# request's wish does not stick to the next one.
_DEFAULT_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class DeviceChoice:
    """A device that is there, and how to compute on it.

    Attributes
    ----------
    device
        Where model and memory live.
    dtype
        float32, or bfloat16: on a GPU under autocast, on a processor in the image encoder's matrix
        products alone (`bfloat16_products`).
    name
        What a manifest calls it: ``cpu``, ``mps`` or ``cuda: <name of the GPU>``.
    reason
        One sentence for the log.
    """

    device: torch.device
    dtype: torch.dtype
    name: str
    reason: str

    @property
    def dtype_name(self) -> str:
        return _name_of(self.dtype)

    @property
    def multiplies_in_bfloat16(self) -> bool:
        """Whether the model itself is to be told so (`bfloat16_products.set_products`)."""
        return self.device.type == "cpu" and self.dtype is torch.bfloat16

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Inference mode, on a GPU under autocast where the dtype is not float32."""
        # Of cuDNN's convolutions some add up in whatever order threads come.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        with torch.inference_mode():
            if self.dtype is torch.float32 or self.device.type == "cpu":
                yield
            else:
                with torch.autocast(self.device.type, dtype=self.dtype):
                    yield


def choose_device(wish: str = "auto", precision: Precision | None = None) -> DeviceChoice:
    """The device for ``wish``: ``auto``, ``cpu``, ``cuda`` (or ``cuda:1``) or ``mps``.

    bfloat16 autocast is what SAM 2's authors run on CUDA. On a CPU it is slower than float32 on most
    processors and much quicker on a few, which only a timing tells. On Apple's GPUs its results
    drift, so they compute in float32.

    Parameters
    ----------
    wish
        See above.
    precision
        As in `core.settings.RunSettings`; None is ``automatic`` on a GPU and ``float32``
        on a CPU.

    Raises
    ------
    EnvironmentSetupError
        The wish names a device that is not there, or no device at all.
    """
    kind = wish.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise EnvironmentSetupError(
            f"There is no device called {wish!r}.", "Choose auto, cpu, cuda or mps."
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise EnvironmentSetupError(
            f"No NVIDIA GPU can be used by torch {torch.__version__}.",
            "Choose Auto or CPU as the device, or install the CUDA packages and a driver.",
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise EnvironmentSetupError(
            "Apple's GPU (MPS) can't be used on this system.", "Choose Auto or CPU as the device."
        )
    asked = "chosen by hand" if kind != "auto" else "chosen by itself"
    if kind == "cuda" or (kind == "auto" and torch.cuda.is_available()):
        return _cuda(wish if kind == "cuda" else "cuda", asked, precision)
    if kind == "mps" or (kind == "auto" and torch.backends.mps.is_available()):
        return DeviceChoice(
            torch.device("mps"), torch.float32, "mps", f"Apple's GPU (MPS) in float32, {asked}."
        )
    if kind == "auto":
        asked = "because no GPU can be used"
    half = precision == "bfloat16" or (precision == "automatic" and is_quicker_in_bfloat16())
    dtype = torch.bfloat16 if half else torch.float32
    build = f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    return DeviceChoice(
        torch.device("cpu"), dtype, "cpu", f"CPU in {_name_of(dtype)} ({build}), {asked}."
    )


def _cuda(wish: str, asked: str, precision: Precision | None) -> DeviceChoice:
    device = torch.device(wish)
    index = device.index if device.index is not None else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise EnvironmentSetupError(
            f"There is no GPU number {index}.", f"There are {torch.cuda.device_count()}, from 0."
        )
    name = torch.cuda.get_device_name(index)
    # Cards before the RTX 30 series only emulate it, slower than float32.
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.bfloat16 if has_bfloat16 and precision != "float32" else torch.float32
    build = f"torch {torch.__version__}"
    reason = f"{name} in {_name_of(dtype)} ({build}), {asked}."
    return DeviceChoice(device, dtype, f"cuda: {name}", reason)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def use_threads(threads: int) -> int:
    """Let torch use that many threads on the CPU (0: its own choice); returns how many."""
    torch.set_num_threads(threads if threads > 0 else _DEFAULT_THREADS)
    return torch.get_num_threads()
