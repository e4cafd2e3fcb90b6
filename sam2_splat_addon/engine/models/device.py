# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device and number format a run uses, and why; imports core and torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ...core.errors import EnvironmentSetupError

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
        float32, or bfloat16 when the run computes under autocast.
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
        return str(self.dtype).removeprefix("torch.")

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Inference mode, under autocast where the dtype is not float32."""
        # Of cuDNN's convolutions some add up in whatever order threads come.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        with torch.inference_mode():
            if self.dtype is torch.float32:
                yield
            else:
                with torch.autocast(self.device.type, dtype=self.dtype):
                    yield


def choose_device(wish: str = "auto") -> DeviceChoice:
    """The device for ``wish``: ``auto``, ``cpu``, ``cuda`` (or ``cuda:1``) or ``mps``.

    bfloat16 autocast is what SAM 2's authors run on CUDA. On a CPU it is several times slower than
    float32 unless the processor has AVX512-BF16, and on Apple's GPUs its results drift, so both
    compute in float32.

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
        return _cuda(wish if kind == "cuda" else "cuda", asked)
    if kind == "mps" or (kind == "auto" and torch.backends.mps.is_available()):
        return DeviceChoice(
            torch.device("mps"), torch.float32, "mps", f"Apple's GPU (MPS) in float32, {asked}."
        )
    if kind == "auto":
        asked = "because no GPU can be used"
    return DeviceChoice(
        torch.device("cpu"),
        torch.float32,
        "cpu",
        f"CPU in float32 ({torch.backends.cpu.get_cpu_capability()}), {asked}.",
    )


def _cuda(wish: str, asked: str) -> DeviceChoice:
    device = torch.device(wish)
    index = device.index if device.index is not None else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise EnvironmentSetupError(
            f"There is no GPU number {index}.", f"There are {torch.cuda.device_count()}, from 0."
        )
    name = torch.cuda.get_device_name(index)
    # Cards before the RTX 30 series only emulate it, slower than float32.
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.bfloat16 if has_bfloat16 else torch.float32
    format_name = str(dtype).removeprefix("torch.")
    return DeviceChoice(device, dtype, f"cuda: {name}", f"{name} in {format_name}, {asked}.")


def use_threads(threads: int) -> int:
    """Let torch use that many threads on the CPU (0: its own choice); returns how many."""
    torch.set_num_threads(threads if threads > 0 else _DEFAULT_THREADS)
    return torch.get_num_threads()
