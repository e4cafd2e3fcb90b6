# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of other programs say of a capture: a camera for each photo, and points of the scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .lens import Floats, Lens


class Mirrored(ValueError):  # noqa: N818 - says what is wrong by itself
    """A rotation that turns left into right."""


@dataclass(frozen=True, eq=False)
class Camera:
    """The camera of one photo.

    Attributes
    ----------
    name
        Name or path of the photo, as the file has it.
    lens
        The lens, at the size that the file is for.
    rotation
        (3, 3): turns the world's axes into the camera's (x right, y down, z forwards).
    position
        (3,): where the camera is.
    """

    name: str
    lens: Lens
    rotation: Floats
    position: Floats

    @classmethod
    def at(cls, name: str, lens: Lens, rotation: Floats, position: Floats) -> Camera:
        """Make a camera from numbers that nobody has checked.

        Raises ValueError for what is no rotation or no place, and `Mirrored` for a mirrored one. A rotation
        with a scale loses the scale.
        """
        turn, place = np.asarray(rotation, dtype=np.float64), np.asarray(position, dtype=np.float64)
        if turn.shape != (3, 3) or place.shape != (3,):
            raise ValueError("its place has a wrong number of values")
        if not (np.isfinite(turn).all() and np.isfinite(place).all()):
            raise ValueError("its place is no number")
        with np.errstate(over="ignore", invalid="ignore"):
            scale = abs(float(np.linalg.det(turn))) ** (1 / 3)
            square = np.allclose(turn @ turn.T, np.eye(3) * scale**2, atol=1e-2 * scale**2)
        if scale < 1e-9 or not square:
            raise ValueError("its axes are not at right angles")
        if np.linalg.det(turn) < 0:
            raise Mirrored("it is mirrored")
        left, _, right = np.linalg.svd(turn)
        return cls(name, lens, left @ right, place)

    def seen_from(self, points: Floats) -> Floats:
        """Return points of the world in the camera's own axes, (n, 3)."""
        found: Floats = (np.asarray(points, dtype=np.float64) - self.position) @ self.rotation.T
        return found


@dataclass(frozen=True, eq=False)
class Capture:
    """All cameras of one file or folder.

    Attributes
    ----------
    source
        The file or folder.
    kind
        The program's name for people, such as "COLMAP".
    cameras
        In the order of the file.
    points
        (n, 3): points on the things in the scene; empty where the file has none.
    colors
        (n, 3): their colours; empty if unknown.
    seen
        (m, 2): pairs (place in `cameras`, place in `points`) of points that a photo shows; empty if unknown.
    left_out
        Reasons why cameras of the file were left out, as sentences for the user.
    """

    source: Path
    kind: str
    cameras: tuple[Camera, ...]
    points: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    seen: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    left_out: tuple[str, ...] = ()
    colors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 3), np.uint8))


@dataclass
class Gathering:
    """Collect cameras. Wrong ones are left out and counted."""

    cameras: list[Camera] = field(default_factory=list)
    mirrored: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, name: str, lens: Lens, rotation: Floats, position: Floats) -> bool:
        """Add a camera, and return whether it is usable."""
        try:
            self.cameras.append(Camera.at(name, lens, rotation, position))
        except Mirrored:
            self.mirrored += 1
        except ValueError as problem:
            self.wrong.append(f"{name}: {problem}")
        else:
            return True
        return False

    def refuse(self, name: str, problem: ValueError) -> None:
        """Note a camera whose numbers are not usable."""
        self.wrong.append(f"{name}: {problem}")

    def sentences(self) -> tuple[str, ...]:
        """Return what was left out, for the user."""
        said = []
        if self.mirrored:
            said.append(f"Mirrored cameras were left out: {self.mirrored}.")
        if self.wrong:
            first = self.wrong[0].partition(": ")[0]
            said.append(
                f"Cameras without usable numbers were left out: {len(self.wrong)}, such as that of {first}."
            )
        return tuple(said)


def rotation_of(quaternion: Sequence[float]) -> Floats:
    """Return the rotation of a quaternion (w, x, y, z), which need not have length 1; (3, 3)."""
    length = math.sqrt(sum(one * one for one in quaternion))
    if not length or not math.isfinite(length):
        return np.full((3, 3), np.nan)
    w, x, y, z = (one / length for one in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
"""Turns axes with y up and z backwards into those with y down and z forwards, and back."""
