# SPDX-License-Identifier: GPL-3.0-or-later
"""A short capture for plays: the sample's first photos, scaled down."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.window.launcher import ROOT

SAMPLE = ROOT / "sample"
# Enough photos to carry a mask along, and few enough to be quick. They are scaled to a half.
FRAMES = 6
SIZE = (600, 900)


@dataclass(frozen=True)
class Capture:
    """Some photos of the sample's chair, with ground truth and clicks.

    Attributes
    ----------
    photos, truth
        Folders of the photos and of their ground truth, with the same stems.
    prompts
        Three clicks on the first photo, as JSON.
    """

    photos: Path
    truth: Path
    prompts: Path

    def stems(self) -> list[str]:
        """Return the photos' names without their ending, in order."""
        return sorted(path.stem for path in self.photos.iterdir() if path.is_file())

    def truth_of(self, stem: str) -> NDArray[np.bool_]:
        """Return where the chair is on a photo, (height, width)."""
        with Image.open(self.truth / f"{stem}.png") as image:
            return np.asarray(image.convert("L")) > 127


def make_photos(folder: Path, size: tuple[int, int], frames: int = 2) -> None:
    """Write the sample's first photos into a folder, stretched to a size in px. Replace the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted((SAMPLE / "photos").iterdir())[:frames]:
        with Image.open(path) as image:
            image.resize(size, Image.Resampling.BOX).save(folder / path.name, quality=92)


def make_capture(folder: Path, frames: int = FRAMES) -> Capture:
    """Write a capture with a number of photos into a folder. Replace the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    made = Capture(folder / "photos", folder / "truth", folder / "prompts.json")
    for target in (made.photos, made.truth):
        target.mkdir(parents=True)
        for path in sorted((SAMPLE / target.name).iterdir())[:frames]:
            with Image.open(path) as image:
                image.resize(SIZE, Image.Resampling.BOX).save(target / path.name, quality=92)
    prompts = json.loads((SAMPLE / "prompts.json").read_text(encoding="utf-8"))
    share = SIZE[0] / prompts["width"]
    prompts["width"], prompts["height"] = SIZE
    for entry in prompts["objects"]:
        for point in (point for frame in entry["frames"] for point in frame["points"]):
            point["x"], point["y"] = point["x"] * share, point["y"] * share
    made.prompts.write_text(json.dumps(prompts), encoding="utf-8")
    return made
