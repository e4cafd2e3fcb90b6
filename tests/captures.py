# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny captures: photos of a bright square that moves over a dark ground, and a job for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sam2_splat_addon.core.capture_job import CaptureJob, write_job
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet


def make_photos(folder: Path, count: int = 3, seed: int = 7) -> Path:
    """Write photos of 120x180 px, and return their folder."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(seed).integers(0, 40, (180, 120, 3))
    for index in range(count):
        pixels = noise.copy()
        left = 30 + 3 * index
        pixels[60:120, left : left + 40] += 180
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(folder / f"IMG_{2041 + 2 * index}.JPG", quality=95)
    return folder


def click(name: str = "square", object_id: int = 1, x: float = 50.3) -> ObjectPrompts:
    """A click in the middle of the square on frame 1."""
    return ObjectPrompts(object_id, name, (FramePrompts(1, (PointPrompt(x, 90.7),)),))


def make_job(file: Path, photos: Path, **more: Any) -> Path:
    """Write a job with one click, and return its file."""
    more.setdefault("prompts", PromptSet((click(),)))
    write_job(file, CaptureJob(photos=str(photos), threads=1, **more))
    return file
