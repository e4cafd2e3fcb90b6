# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the speed of the bundled model and of SAM 2.1's smallest, with random weights.

Weights don't change the time, so the large checkpoint is not needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from sam2_splat_addon.core.footage.headers import read_header
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import ModelChoice
from sam2_splat_addon.engine.models.architectures import BUNDLED, build
from tools.research.bench.evaluation.tracking import track

SMALLEST_OFFICIAL: Final = "sam2.1_hiera_tiny"
MODELS: Final = (BUNDLED, SMALLEST_OFFICIAL)


@dataclass(frozen=True)
class Pace:
    """The time of one model.

    Attributes
    ----------
    name, image_size
        Architecture and side of its input, px.
    seconds, cpu_seconds
        For one frame and object, mean over the frames with a full memory.
    frames
        Number of those frames.
    """

    name: str
    image_size: int
    seconds: float
    cpu_seconds: float
    frames: int


def measure(
    name: str,
    device: str,
    threads: int,
    photos: Sequence[Path],
    objects: int,
    frames: int,
    report: Callable[[str], None],
) -> Pace:
    """Time a model with random weights over photos.

    Parameters
    ----------
    name
        One of `architectures.MODEL_NAMES`.
    device, threads
        As in `ModelChoice`.
    photos
        At least one, all of one size. They are repeated.
    objects
        Number of objects tracked at once.
    frames
        Frames to time once the memory is full.
    report
        Gets a line for each matte.

    Raises
    ------
    SplatError
        The device is not there, or a photo can't be read.
    """
    torch.manual_seed(0)
    model = build(name)
    count = model.num_maskmem + frames  # the memory: the prompted frame and the last few
    repeated = [photos[index % len(photos)] for index in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.pt"
        torch.save({"model": model.state_dict()}, weights)
        choice = ModelChoice(name, str(weights), device, threads)
        tracked = track(
            choice,
            0,
            repeated,
            _centre_clicks(objects, photos[0]),
            lambda done: report(f"{name}: {done} of {count * objects} mattes"),
        )
    seconds, cpu_seconds = tracked.pace(frames * objects)
    return Pace(name, model.image_size, seconds, cpu_seconds, frames)


def table(paces: Sequence[Pace], device: str, threads: int, objects: int) -> str:
    """The models as text, each with its ratio to the first."""
    lines = [
        f"== speed: random weights, {device}, threads: {threads}, objects: {objects} ==",
        "model                 input  s/frame and object  cpu s   times the first",
    ]
    first = paces[0]
    lines += [
        f"{pace.name:<20} {pace.image_size:>6}  {pace.seconds:18.3f}  {pace.cpu_seconds:5.2f}"
        f"   {pace.seconds / first.seconds:7.1f} ({pace.cpu_seconds / first.cpu_seconds:.1f} cpu)"
        for pace in paces
    ]
    return "\n".join(lines)


def _centre_clicks(objects: int, photo: Path) -> PromptSet:
    header = read_header(photo)
    click = FramePrompts(1, points=(PointPrompt(header.width / 2, header.height / 2),))
    return PromptSet(
        tuple(ObjectPrompts(number, f"{number}", (click,)) for number in range(1, objects + 1))
    )
