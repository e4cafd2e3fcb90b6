# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out by timing whether this CPU multiplies matrices faster in bfloat16.

A CPU's list of features does not tell. Of two CPUs with AVX512-BF16, one was twice as fast with it,
the other half as fast. The answer is kept beside torch, for this CPU and this version of torch. So
later runs choose the same, even on a busy machine.
"""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import time
from pathlib import Path
from typing import Final

import torch
from torch.nn import functional as F

from ...core.system.atomic_file import write_atomic

_SHAPES: Final = (
    (4096, 384, 1536),
    (16384, 96, 384),
)  # rows, in, out; as in SAM 2.1 tiny's encoder
_ROUNDS: Final = 5
_WORTH_IT: Final = 1.2  # times as fast; with less gain, the loss of digits is not worth it
_FILE: Final = "sam2_splat_products.json"


@functools.cache
def is_quicker_in_bfloat16(folder: Path | None = None) -> bool:
    """Whether large matrix products in bfloat16, with the casts, take clearly less time.

    Parameters
    ----------
    folder
        Where the answer is kept. None is torch's own folder. If nothing can be written there, each
        process measures again.
    """
    path = (folder or Path(torch.__file__).parents[1]) / _FILE
    key = f"{processor()}, torch {torch.__version__}"
    known = _answers(path)
    if key in known:
        return known[key]
    known[key] = measured_gain() >= _WORTH_IT
    with contextlib.suppress(OSError):  # a folder of the system's
        write_atomic(path, json.dumps(known, indent=2).encode())
    return known[key]


def measured_gain() -> float:
    """Return how many times as fast bfloat16 is, over all shapes, each at its best of some rounds."""
    seconds = {torch.float32: 0.0, torch.bfloat16: 0.0}
    with torch.inference_mode():
        for rows, incoming, outgoing in _SHAPES:
            x, weight = torch.ones(rows, incoming), torch.ones(outgoing, incoming)
            cast = weight.to(torch.bfloat16)
            best = dict.fromkeys(seconds, float("inf"))
            for number in range(_ROUNDS + 1):
                for dtype in seconds:  # in turn, so that other programs slow both
                    began = time.perf_counter()
                    if dtype is torch.float32:
                        F.linear(x, weight)
                    else:
                        F.linear(x.to(dtype), cast).float()
                    took = time.perf_counter() - began
                    best[dtype] = min(best[dtype], took) if number else best[dtype]
            for dtype, took in best.items():
                seconds[dtype] += took
    return seconds[torch.float32] / seconds[torch.bfloat16]


def processor() -> str:
    """Return the CPU's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = told[0] if told else platform.processor()
    return f"{name or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def _answers(path: Path) -> dict[str, bool]:
    """Return the kept answers. Empty if they can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(key): answer for key, answer in found.items() if isinstance(answer, bool)}
