# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep rendered captures and background pictures in memory.

A capture is a folder `<kind>_<seed>/` with `0000.jpg ...` and `0000.png ...` (8-bit instance ids).
It gets its name by a rename when it is complete. So training can begin while captures are still
being made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

OCCLUDER_ID: Final = 255
ENOUGH_SCENES: Final = 24

Image = NDArray[np.uint8]
"""(H, W, 3) RGB or (H, W) ids."""


@dataclass(frozen=True)
class Scene:
    """One rendered capture.

    Attributes
    ----------
    name : str
        The folder's name, `<kind>_<seed>`.
    frames : list of Image
        (H, W, 3) RGB, in the order of the orbit.
    ids : list of Image
        (H, W) instance ids: 0 ground, 1 subject, 2.. other objects, 255 things that pass in front.
    areas : dict of int to tuple of int
        Visible px of every object on every frame.
    """

    name: str
    frames: list[Image]
    ids: list[Image]
    areas: dict[int, tuple[int, ...]]


def read_picture(path: Path) -> Image:
    """Read one picture as (H, W, 3) RGB.

    Raises
    ------
    OSError
        OpenCV can't read the file as a picture.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise OSError(f"{path} is not a readable picture.")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_scene(folder: Path) -> Scene:
    """Read a capture's frames and ids.

    Raises
    ------
    OSError
        The folder has no frame. Or a frame has no ids, or ids of another size.
    """
    frames: list[Image] = []
    ids: list[Image] = []
    for path in sorted(folder.glob("[0-9]*.jpg")):
        picture = read_picture(path)
        labels = cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
        if labels is None or labels.shape != picture.shape[:2]:
            raise OSError(f"{path} has no ids of its own size beside it.")
        frames.append(picture)
        ids.append(np.asarray(labels, np.uint8))
    if not frames:
        raise OSError(f"{folder} holds no frames.")
    counts = np.stack([np.bincount(labels.ravel(), minlength=256) for labels in ids])
    objects = [i for i in range(1, OCCLUDER_ID) if counts[:, i].any()]
    areas = {i: tuple(int(n) for n in counts[:, i]) for i in objects}
    return Scene(folder.name, frames, ids, areas)


@dataclass
class Library:
    """All scenes under a folder, and pictures for backgrounds.

    Attributes
    ----------
    root : Path
        The folder of capture folders. It may be empty at first.
    scenes : list of Scene
        What `rescan` has found so far, by name.
    grounds : list of Image
        Pictures without any known object, (H, W, 3).
    chairs : float
        How many times as often a chair is drawn as any other kind, because people try chairs first.
    """

    root: Path
    scenes: list[Scene] = field(default_factory=list)
    grounds: list[Image] = field(default_factory=list)
    chairs: float = 2.0

    @property
    def trust(self) -> float:
        """How often captures may be drawn, 0 to 1. If there are few, the model would learn them by heart."""
        return min(1.0, len(self.scenes) / ENOUGH_SCENES)

    def pick(self, rng: np.random.Generator) -> Scene:
        """Draw a scene."""
        chairs = [scene.name.startswith("chair") for scene in self.scenes]
        weights = np.where(chairs, self.chairs, 1.0)
        return self.scenes[int(rng.choice(len(weights), p=weights / weights.sum()))]

    def rescan(self) -> int:
        """Read capture folders that are new since the last call, and return their number."""
        known = {scene.name for scene in self.scenes}
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        fresh = [
            path
            for path in folders
            if path.name not in known
            and not path.name.startswith(".")
            and (path / "scene.json").is_file()
        ]
        self.scenes += [read_scene(path) for path in fresh]
        self.scenes.sort(key=lambda scene: scene.name)
        return len(fresh)


def limit(picture: Image, side: int) -> Image:
    """Make a picture smaller so that no side is longer than ``side`` px."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
