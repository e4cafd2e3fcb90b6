# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts: what the user said about each object on each frame; imports core, numpy and msgspec.

A :class:`PromptSet` is immutable, compares by value and travels as JSON (``schema version 1``)::

    {"version": 1, "width": 1200, "height": 1800,
     "objects": [{"id": 1, "name": "chair",
                  "frames": [{"frame": 1,
                              "points": [{"x": 612.5, "y": 940.5, "include": true}],
                              "box": {"x0": 300, "y0": 200, "x1": 900, "y1": 1700},
                              "mask": {"width": 1200, "height": 1800, "runs": [0, 5, 20]},
                              "anew": false}]}]}

``points``, ``box``, ``mask`` and ``anew`` may each be left out. ``width`` and ``height`` of the set may be
left out by hand-written files; then the prompts are taken to be in the footage's own pixels.
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
from .printable import number, shown
from .system.safe_read import UNREADABLE, read_plain, reason, require_plain_file

SCHEMA_VERSION = 1

_MAX_BYTES = 1 << 28
_MAX_ID = 2**31 - 2  # what Blender's settings hold, and one more to come


class PointPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A click, in footage pixels (pixel-edge coordinates, origin at the top-left corner)."""

    x: float
    y: float
    include: bool = True


class BoxPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A box around the object, in footage pixels; ``x0 < x1`` and ``y0 < y1``."""

    x0: float
    y0: float
    x1: float
    y1: float


class MaskPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A binary mask as run lengths: pixels row by row, alternating outside and inside runs.

    The first run counts outside pixels and may be 0; the runs sum up to ``width * height``.
    """

    width: int
    height: int
    runs: tuple[int, ...]

    @classmethod
    def from_array(cls, mask: NDArray[Any]) -> MaskPrompt:
        """Encode a (height, width) array; what is > 0 (or True) is inside."""
        if mask.ndim != 2:
            raise PromptError(f"A mask prompt needs a (height, width) array, not {mask.shape}.")
        height, width = mask.shape
        flat = (mask > 0).ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        bounds = np.concatenate(([0], changes, [flat.size]))
        runs = np.diff(bounds)
        first = [0] if flat.size and flat[0] else []
        return cls(width, height, (*first, *(int(run) for run in runs)))

    def check(self) -> None:
        """Raise PromptError for an impossible size, or when the runs don't fill the mask exactly."""
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE) or (
            self.width * self.height > MAX_PIXELS
        ):
            raise PromptError(
                f"A mask prompt can't be of {number(self.width)}x{number(self.height)} px.",
                "Make the prompts file again.",
            )
        if min(self.runs, default=0) < 0 or sum(self.runs) != self.width * self.height:
            raise PromptError(
                f"A mask prompt of {self.width}x{self.height} px has runs that sum up to"
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
    """Everything said about one object on one frame (frames count from 1).

    ``anew`` says that the object is segmented from these prompts alone. Otherwise they refine what
    was tracked to this frame, unless tracking begins here. It says nothing about a mask, which is
    taken as it is, nor about prompts that only exclude.
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
        """Whether the prompts say where the object is, not only where it is not."""
        return (
            self.box is not None
            or (self.mask is not None and any(self.mask.runs[1::2]))
            or any(point.include for point in self.points)
        )


class ObjectPrompts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The prompts of one object, its frames in rising order."""

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
        """The object of that id; raises PromptError when there is none."""
        for entry in self.objects:
            if entry.id == object_id:
                return entry
        raise PromptError(f"There is no object {number(object_id)} in the prompts.")

    def checked(self, width: int, height: int, frame_count: int) -> PromptSet:
        """Validate against the footage and return a set in canonical order.

        Empty frames are dropped, frames sorted, ``width`` and ``height`` filled in; prompts made on
        the same footage at another size of the same shape are scaled.

        Raises
        ------
        PromptError
            No object, no including prompt on an object, a repeated id or frame, a frame outside
            the footage, a point outside the frame, an empty box, or a mask of another shape.
        """
        _check_version(self.version, "The prompts")
        if not self.objects:
            raise PromptError(
                "There are no prompts.", "Ctrl+click on the subject in the Clip Editor first."
            )
        scale_x, scale_y = self._scale_to(width, height)
        ids = [entry.id for entry in self.objects]
        if len(set(ids)) != len(ids) or not 1 <= min(ids) <= max(ids) <= _MAX_ID:
            raise PromptError(
                "Object ids must be different and count from 1, not"
                f" {shorten([number(one) for one in ids])}."
            )
        objects = tuple(
            _checked_object(entry, width, height, frame_count, scale_x, scale_y)
            for entry in sorted(self.objects, key=lambda entry: entry.id)
        )
        return PromptSet(objects, width, height)

    def _scale_to(self, width: int, height: int) -> tuple[float, float]:
        if not self.width or not self.height:
            return 1.0, 1.0
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise PromptError(
                f"The prompts can't have been made on {number(self.width)}x{number(self.height)} px.",
                "Use the prompts of this footage.",
            )
        scale_x, scale_y = width / self.width, height / self.height
        if abs(scale_x - scale_y) * max(self.width, self.height) > 1.0:
            raise PromptError(
                f"The prompts were made on {self.width}x{self.height} px, the footage is"
                f" {width}x{height} px.",
                "Use the prompts of this footage.",
            )
        return scale_x, scale_y


def _checked_object(
    entry: ObjectPrompts,
    width: int,
    height: int,
    frame_count: int,
    scale_x: float,
    scale_y: float,
) -> ObjectPrompts:
    frames = sorted((f for f in entry.frames if not f.is_empty), key=lambda f: f.frame)
    numbers = [f.frame for f in frames]
    if len(set(numbers)) != len(numbers):
        raise PromptError(f"{entry.name!r} has the same frame twice in its prompts.")
    if not any(f.includes_something for f in frames):
        raise PromptError(
            f"{entry.name!r} has no click that says where it is.",
            "Ctrl+click on it, on any frame.",
        )
    for frame in frames:
        if not 1 <= frame.frame <= frame_count:
            raise PromptError(
                f"{entry.name!r} has a prompt on frame {number(frame.frame)}, the footage has frames 1 to"
                f" {frame_count}.",
                "Delete that marker, or load the whole footage.",
            )
    return ObjectPrompts(
        entry.id,
        shown(entry.name),
        tuple(_checked_frame(entry.name, f, width, height, scale_x, scale_y) for f in frames),
    )


def _checked_frame(
    name: str, prompts: FramePrompts, width: int, height: int, scale_x: float, scale_y: float
) -> FramePrompts:
    where = f"{name!r}, frame {prompts.frame}"
    points = tuple(
        PointPrompt(point.x * scale_x, point.y * scale_y, point.include) for point in prompts.points
    )
    for point in points:
        if not (0.0 <= point.x <= width and 0.0 <= point.y <= height):
            raise PromptError(
                f"{where}: the click at ({number(point.x)}, {number(point.y)}) px is outside the"
                f" {width}x{height} px frame.",
                "Move or delete that marker.",
            )
    box = prompts.box
    if box is not None:
        box = BoxPrompt(box.x0 * scale_x, box.y0 * scale_y, box.x1 * scale_x, box.y1 * scale_y)
        if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
            raise PromptError(
                f"{where}: the box ({number(box.x0)}, {number(box.y0)}) to ({number(box.x1)},"
                f" {number(box.y1)}) is empty or leaves the frame.",
                "Draw the box again.",
            )
    mask = prompts.mask
    if mask is not None:
        mask.check()
        if abs(mask.width * height - mask.height * width) > max(width, height):
            raise PromptError(
                f"{where}: the mask is {mask.width}x{mask.height} px, the frame"
                f" {width}x{height} px.",
                "Use a mask of the frame's shape.",
            )
    return FramePrompts(prompts.frame, points, box, mask, prompts.anew)


def to_json(prompts: PromptSet) -> bytes:
    """Encode as indented UTF-8 JSON, the same bytes for equal sets."""
    # Decoded once more, since Python's 300 and 300.0 are equal but are not written alike.
    floats = msgspec.json.decode(msgspec.json.encode(prompts), type=PromptSet)
    return msgspec.json.format(msgspec.json.encode(floats), indent=2) + b"\n"


class _VersionOnly(msgspec.Struct):
    version: int = SCHEMA_VERSION


def _check_version(version: int, source: str) -> None:
    if version != SCHEMA_VERSION:
        raise PromptError(
            f"{source} are of schema version {number(version)}, this program reads {SCHEMA_VERSION}.",
            "Update SAM2 Splat, or make the prompts again.",
        )


def from_json(data: bytes, source: str = "The prompts") -> PromptSet:
    """Decode JSON; raises PromptError that names ``source`` and the place of the fault."""
    data = data.removeprefix(codecs.BOM_UTF8)  # some Windows editors put one there
    try:
        _check_version(msgspec.json.decode(data, type=_VersionOnly).version, source)
        return msgspec.json.decode(data, type=PromptSet)
    except UNREADABLE as error:
        raise PromptError(
            f"{source} can't be read: {reason(error)}.",
            "docs/prompts.md shows what it should look like.",
        ) from error


def read_json(path: Path) -> PromptSet:
    """Read a prompts file; raises PromptError when missing or malformed."""
    try:
        if require_plain_file(path).st_size > _MAX_BYTES:
            raise PromptError(
                f"The prompts file {path} is of more than {_MAX_BYTES >> 20} MB.",
                "Name the prompts; see docs/prompts.md.",
            )
        data = read_plain(path)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        told = getattr(error, "strerror", None) or error
        raise PromptError(
            f"The prompts file {path} can't be read: {told}.", "Check its path."
        ) from error
    return from_json(data, f"The prompts in {path}")
