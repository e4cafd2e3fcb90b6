# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts: where the user says that each object is, on each frame.

A :class:`PromptSet` is immutable, compares by value and travels as JSON (``schema version 1``)::

    {"version": 1, "width": 1200, "height": 1800,
     "objects": [{"id": 1, "name": "chair",
                  "frames": [{"frame": 1,
                              "points": [{"x": 612.5, "y": 940.5, "include": true}],
                              "box": {"x0": 300, "y0": 200, "x1": 900, "y1": 1700},
                              "mask": {"width": 1200, "height": 1800, "runs": [0, 5, 20]},
                              "anew": false}]}]}

``points``, ``box``, ``mask`` and ``anew`` may each be left out. ``width`` and ``height`` of the set may be
left out too: then the prompts are in pixels of the footage.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import PromptError
from .footage.headers import MAX_PIXELS, MAX_SIDE
from .footage.scan import shorten
from .footage.sizes import PhotoSizes
from .printable import number, shown
from .system.safe_read import UNREADABLE, read_plain, reason, require_plain_file

SCHEMA_VERSION = 1

_MAX_BYTES = 1 << 28
_MAX_ID = 2**31 - 2  # the limit of an integer property in Blender, less one for the next id


class PointPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A click, in footage pixels (pixel-edge coordinates, origin at the top-left corner)."""

    x: float
    y: float
    include: bool = True


class BoxPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A box around the object, in footage pixels, with ``x0 < x1`` and ``y0 < y1``."""

    x0: float
    y0: float
    x1: float
    y1: float


class MaskPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A binary mask as run lengths, row by row: runs of outside and inside pixels alternate.

    The first run counts outside pixels and may be 0. The sum of the runs is ``width * height``.
    """

    width: int
    height: int
    runs: tuple[int, ...]

    @classmethod
    def from_array(cls, mask: NDArray[Any]) -> MaskPrompt:
        """Encode a (height, width) array; values > 0 (or True) are inside."""
        if mask.ndim != 2:
            raise PromptError(
                f"A mask prompt needs a (height, width) array, not {mask.shape}.",
                "Make the mask again with two dimensions.",
            )
        height, width = mask.shape
        flat = (mask > 0).ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        bounds = np.concatenate(([0], changes, [flat.size]))
        runs = np.diff(bounds)
        first = [0] if flat.size and flat[0] else []
        return cls(width, height, (*first, *(int(run) for run in runs)))

    def check(self) -> None:
        """Raise PromptError if the size is impossible, or if the runs do not fill the mask exactly."""
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE) or (
            self.width * self.height > MAX_PIXELS
        ):
            raise PromptError(
                f"A mask prompt can't have {number(self.width)}x{number(self.height)} px.",
                "Make the prompts file again.",
            )
        if min(self.runs, default=0) < 0 or sum(self.runs) != self.width * self.height:
            raise PromptError(
                f"A mask prompt has {self.width}x{self.height} px, but the sum of its runs is"
                f" {number(sum(self.runs))} px.",
                "Make the prompts file again.",
            )

    def to_array(self) -> NDArray[np.bool_]:
        """Decode to a (height, width) boolean array; raises PromptError."""
        self.check()
        runs = np.asarray(self.runs, dtype=np.int64)
        inside = np.arange(len(runs)) % 2 == 1
        return np.repeat(inside, runs).reshape(self.height, self.width)


class FramePrompts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All prompts of one object on one frame (frames count from 1).

    With ``anew`` the object is segmented from these prompts alone. Without it they correct the matte
    that was tracked to this frame, unless tracking begins here. ``anew`` changes nothing for a mask,
    which is always taken as it is, and nothing for prompts that only exclude.
    """

    frame: int
    points: tuple[PointPrompt, ...] = ()
    box: BoxPrompt | None = None
    mask: MaskPrompt | None = None
    anew: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.points and self.box is None and self.mask is None

    @property
    def includes_something(self) -> bool:
        """Whether the prompts say where the object is, and not only where it is not."""
        return (
            self.box is not None
            or (self.mask is not None and any(self.mask.runs[1::2]))
            or any(point.include for point in self.points)
        )


class ObjectPrompts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The prompts of one object, frames in rising order."""

    id: int
    name: str
    frames: tuple[FramePrompts, ...] = ()


class PromptSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All prompts for one footage. ``width`` and ``height`` are 0 when unknown."""

    objects: tuple[ObjectPrompts, ...]
    width: int = 0
    height: int = 0
    version: int = SCHEMA_VERSION

    def object(self, object_id: int) -> ObjectPrompts:
        """Return the object with that id; raises PromptError if there is none."""
        for entry in self.objects:
            if entry.id == object_id:
                return entry
        raise PromptError(
            f"The prompts have no subject with the id {number(object_id)}.",
            "Choose a subject that has clicks.",
        )

    def frames_of(self, object_id: int) -> tuple[FramePrompts, ...]:
        """Return the prompts of an object; none if there is no such object."""
        return next((entry.frames for entry in self.objects if entry.id == object_id), ())

    def checked(self, sizes: PhotoSizes, frame_count: int) -> PromptSet:
        """Check the prompts against the footage, and return a set in canonical order.

        Empty frames are dropped, frames are sorted, and ``width`` and ``height`` are filled in. Prompts
        made at another size of the same shape are scaled, on photos of other sizes by the same factor.

        Raises
        ------
        PromptError
            There is no object, an object without a prompt that includes, a repeated id or frame, a
            frame outside the footage, a point outside the photo, an empty box, or a mask of another
            shape.
        """
        _check_version(self.version, "The prompts")
        if not self.objects:
            raise PromptError(
                "There is no click yet.", "Ctrl+click on the subject in the Clip Editor first."
            )
        scale = self._scale_to(sizes.width, sizes.height)
        ids = [entry.id for entry in self.objects]
        if len(set(ids)) != len(ids) or not 1 <= min(ids) <= max(ids) <= _MAX_ID:
            raise PromptError(
                f"Ids of subjects must be different numbers from 1 to {_MAX_ID}, not"
                f" {shorten([number(one) for one in ids])}.",
                "Give each entry of objects in the prompts file its own id.",
            )
        objects = tuple(
            _checked_object(entry, sizes, frame_count, scale)
            for entry in sorted(self.objects, key=lambda entry: entry.id)
        )
        return PromptSet(objects, sizes.width, sizes.height)

    def _scale_to(self, width: int, height: int) -> tuple[float, float]:
        if not self.width or not self.height:
            return 1.0, 1.0
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise PromptError(
                f"The prompts are for photos of {number(self.width)}x{number(self.height)} px: such"
                " photos do not exist.",
                "Use the prompts of these photos.",
            )
        if not have_one_shape((self.width, self.height), (width, height)):
            raise PromptError(
                f"The prompts are for photos of {self.width}x{self.height} px, but these photos have"
                f" {width}x{height} px.",
                "Use the prompts of these photos.",
            )
        return width / self.width, height / self.height


def have_one_shape(copy: tuple[int, int], photo: tuple[int, int]) -> bool:
    """Whether a picture of size `copy` can be a smaller or larger copy of a photo.

    Each of its sides may be up to a pixel beside the exact one, because sides are whole numbers.
    """
    return abs(copy[0] * photo[1] - copy[1] * photo[0]) <= max(photo)


def _checked_object(
    entry: ObjectPrompts, sizes: PhotoSizes, frame_count: int, scale: tuple[float, float]
) -> ObjectPrompts:
    frames = sorted((f for f in entry.frames if not f.is_empty), key=lambda f: f.frame)
    numbers = [f.frame for f in frames]
    if len(set(numbers)) != len(numbers):
        raise PromptError(
            f"{entry.name!r} has the same frame twice in its prompts.",
            "Put all prompts of one frame into one entry.",
        )
    if not any(f.includes_something for f in frames):
        raise PromptError(
            f"{entry.name!r} has no click that says where it is.",
            "Ctrl+click on it, on any photo.",
        )
    for frame in frames:
        if not 1 <= frame.frame <= frame_count:
            raise PromptError(
                f"{entry.name!r} has a click on frame {number(frame.frame)}, but the photos are frames 1"
                f" to {frame_count}.",
                "Delete that marker, or load all photos.",
            )
    return ObjectPrompts(
        entry.id,
        shown(entry.name),
        tuple(_checked_frame(entry.name, f, sizes.of(f.frame), scale) for f in frames),
    )


def _checked_frame(
    name: str, prompts: FramePrompts, size: tuple[int, int], scale: tuple[float, float]
) -> FramePrompts:
    (width, height), (scale_x, scale_y) = size, scale
    where = f"{name!r}, frame {prompts.frame}"
    points = tuple(
        PointPrompt(point.x * scale_x, point.y * scale_y, point.include) for point in prompts.points
    )
    for point in points:
        if not (0.0 <= point.x <= width and 0.0 <= point.y <= height):
            raise PromptError(
                f"{where}: the click at ({number(point.x)}, {number(point.y)}) px is outside the photo"
                f" of {width}x{height} px.",
                "Move or delete that marker.",
            )
    box = prompts.box
    if box is not None:
        box = BoxPrompt(box.x0 * scale_x, box.y0 * scale_y, box.x1 * scale_x, box.y1 * scale_y)
        if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
            raise PromptError(
                f"{where}: the box ({number(box.x0)}, {number(box.y0)}) to ({number(box.x1)},"
                f" {number(box.y1)}) is empty, or part of it is outside the photo.",
                "Draw the box again.",
            )
    mask = prompts.mask
    if mask is not None:
        mask.check()
        if not have_one_shape((mask.width, mask.height), (width, height)):
            raise PromptError(
                f"{where}: the mask has {mask.width}x{mask.height} px, but the photo has"
                f" {width}x{height} px.",
                "Use a mask with the same shape as the photo.",
            )
    return FramePrompts(prompts.frame, points, box, mask, prompts.anew)


def to_json(prompts: PromptSet) -> bytes:
    """Encode as indented UTF-8 JSON; equal sets give the same bytes."""
    # Decode once more: in Python 300 and 300.0 are equal, but JSON writes them differently.
    floats = msgspec.json.decode(msgspec.json.encode(prompts), type=PromptSet)
    return msgspec.json.format(msgspec.json.encode(floats), indent=2) + b"\n"


class _VersionOnly(msgspec.Struct):
    version: int = SCHEMA_VERSION


def _check_version(version: int, source: str) -> None:
    if version != SCHEMA_VERSION:
        raise PromptError(
            f"{source} have schema version {number(version)}, but this SAM2 Splat reads version"
            f" {SCHEMA_VERSION}.",
            "Update SAM2 Splat, or make the prompts again.",
        )


def from_json(data: bytes, source: str = "The prompts") -> PromptSet:
    """Decode JSON; raises PromptError that names ``source`` and the place of the error."""
    data = data.removeprefix(codecs.BOM_UTF8)  # some Windows editors write it
    try:
        _check_version(msgspec.json.decode(data, type=_VersionOnly).version, source)
        return msgspec.json.decode(data, type=PromptSet)
    except UNREADABLE as error:
        raise PromptError(
            f"{source} can't be read: {reason(error)}.",
            "Correct the file: docs/prompts.md shows the format.",
        ) from error


def read_json(path: Path) -> PromptSet:
    """Read a prompts file; raises PromptError if it is missing or malformed."""
    try:
        if require_plain_file(path).st_size > _MAX_BYTES:
            raise PromptError(
                f"The prompts file {path} is larger than {_MAX_BYTES >> 20} MB.",
                "Choose the file with the prompts: docs/prompts.md shows the format.",
            )
        data = read_plain(path)
    except (OSError, ValueError) as error:  # ValueError: the path is impossible
        told = getattr(error, "strerror", None) or error
        raise PromptError(
            f"The prompts file {path} can't be read: {told}.", "Check the path."
        ) from error
    return from_json(data, f"The prompts in {path}")
