# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the device and the number format of a run, and tell why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ...core.errors import EnvironmentSetupError
from ...core.settings import Precision
from .bfloat16_probe import is_quicker_in_bfloat16

# torch's own choice at its import (physical cores, or OMP_NUM_THREADS). It is kept, so that one
# request's number of threads does not stay for the next one.
_DEFAULT_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class DeviceChoice:
    """A device that exists, and how to compute on it.

    Attributes
    ----------
    device
        Where model and memory live.
    dtype
        float32 or bfloat16. On a GPU bfloat16 means autocast. On a CPU it means only the image
        encoder's matrix products (`bfloat16_products`).
    name
        Its name in a manifest: ``cpu``, ``mps`` or ``cuda: <name of the GPU>``.
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
        """Whether the model itself must multiply in bfloat16 (`bfloat16_products.set_products`)."""
        return self.device.type == "cpu" and self.dtype is torch.bfloat16

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Inference mode. On a GPU also autocast, if the dtype is not float32."""
        # Some of cuDNN's convolutions add in a random order of threads.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        with torch.inference_mode():
            if self.dtype is torch.float32 or self.device.type == "cpu":
                yield
            else:
                with torch.autocast(self.device.type, dtype=self.dtype):
                    yield


def choose_device(wish: str = "auto", precision: Precision | None = None) -> DeviceChoice:
    """Return the device for ``wish``.

    SAM 2's authors use bfloat16 autocast on CUDA. On most CPUs bfloat16 is slower than float32, on
    a few it is much faster, and only a timing tells. On Apple's GPUs bfloat16 results drift, so
    they use float32.

    Parameters
    ----------
    wish
        ``auto``, ``cpu``, ``cuda`` (or ``cuda:1``) or ``mps``.
    precision
        As in `core.settings.RunSettings`. None is ``automatic`` on a GPU and ``float32`` on a CPU.

    Raises
    ------
    EnvironmentSetupError
        There is no such device on this machine, or no device has this name.
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
    asked = "chosen by you" if kind != "auto" else "chosen automatically"
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
            f"There is no GPU number {index}.",
            f"This machine has {torch.cuda.device_count()}, counted from 0.",
        )
    name = torch.cuda.get_device_name(index)
    # Cards before the RTX 30 series only emulate bfloat16, slower than float32.
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.bfloat16 if has_bfloat16 and precision != "float32" else torch.float32
    build = f"torch {torch.__version__}"
    reason = f"{name} in {_name_of(dtype)} ({build}), {asked}."
    return DeviceChoice(device, dtype, f"cuda: {name}", reason)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def use_threads(threads: int) -> int:
    """Let torch use this number of CPU threads (0: its own choice). Returns the number."""
    torch.set_num_threads(threads if threads > 0 else _DEFAULT_THREADS)
    return torch.get_num_threads()
