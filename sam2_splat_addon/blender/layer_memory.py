# SPDX-License-Identifier: GPL-3.0-or-later
"""What was written into a mask's layers, kept in the mask itself; imports bpy, msgspec, numpy.

One signature a frame: a frame that the user has edited is known by its points being others.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import bpy
import msgspec
import numpy as np
from numpy.typing import NDArray

from .layer_shapes import polygon
from .mask_keys import SplineState, named

# Custom property of the mask: layer name -> WrittenLayer as JSON.
_WRITTEN = "sam2_splat_written"
# How far area and first moments, in units of the longer side, may differ when the user has added
# or removed points: float32 rounding, far below the change that a visible edit makes.
_SAME_SHAPE = 2e-6


class WrittenFrame(msgspec.Struct, frozen=True, array_like=True):
    """What was written on one scene frame, in short.

    Attributes
    ----------
    checksum
        CRC-32 of all points and handles as float32.
    points
        How many points there were.
    moments
        Area and its first moments in mask space.
    """

    checksum: int
    points: int
    moments: tuple[float, float, float]


class WrittenLayer(msgspec.Struct, frozen=True):
    """What was written into a layer.

    Attributes
    ----------
    frames
        By scene frame.
    edited
        Those that hold a user's edit already.
    start
        The scene frame that the clip began on then; 0 in older files: where it begins now.
    writing
        Which writing of the layer is under way, or was when the file was saved; 0: none.
    """

    frames: dict[int, WrittenFrame]
    edited: tuple[int, ...] = ()
    start: int = 0
    writing: int = 0


def checksum(splines: Sequence[SplineState]) -> int:
    """CRC-32 of all points and handles."""
    value = 0
    for spline in splines:
        for values in (spline.co, spline.left, spline.right):
            value = zlib.crc32(np.ascontiguousarray(values).tobytes(), value)
    return value


def signature(splines: Sequence[SplineState]) -> WrittenFrame:
    """What to remember of a frame."""
    shapes = [polygon(spline) for spline in splines]
    x, y = np.concatenate([np.zeros((0, 2)), *shapes]).T - 0.5
    ahead = _following([len(shape) for shape in shapes])
    turn = x * y[ahead] - x[ahead] * y
    return WrittenFrame(
        checksum(splines),
        sum(len(spline.co) for spline in splines),
        (
            float(turn.sum()) / 2.0,
            float(((x + x[ahead]) * turn).sum()) / 6.0,
            float(((y + y[ahead]) * turn).sum()) / 6.0,
        ),
    )


def _following(counts: Sequence[int]) -> NDArray[np.intp]:
    """The place of each point's next one, of closed outlines of so many points in a row."""
    ahead = np.arange(1, sum(counts) + 1)
    stops = np.cumsum(counts, dtype=np.intp)
    ahead[stops - 1] = stops - counts
    return ahead


def differs(splines: Sequence[SplineState], expected: WrittenFrame) -> bool:
    """Whether a layer shows something else than what was written.

    A point that the user adds on one frame appears on the outline of all frames; the other frames
    keep their shape, and are not edited.
    """
    if checksum(splines) == expected.checksum:
        return False
    found = signature(splines)
    if found.points == expected.points:
        return True
    return not np.allclose(found.moments, expected.moments, rtol=0.0, atol=_SAME_SHAPE)


def remember(mask: bpy.types.Mask, layer_name: str, written: WrittenLayer) -> None:
    """Keep with the mask what was written into an object's layer."""
    if named(mask, _WRITTEN) is None:
        mask[_WRITTEN] = {}
    mask[_WRITTEN][layer_name] = msgspec.json.encode(written).decode()


def remembered(mask: bpy.types.Mask, layer_name: str) -> WrittenLayer | None:
    """What was written into an object's layer; None when nothing was."""
    group = named(mask, _WRITTEN)
    text = group.get(layer_name) if group is not None else None
    return _decoded(text) if text else None


def forget(mask: bpy.types.Mask, layer_name: str) -> None:
    """Forget what was written into an object's layer."""
    group = named(mask, _WRITTEN)
    if group is not None and layer_name in group:
        del group[layer_name]


@lru_cache(maxsize=16)
def _decoded(text: str) -> WrittenLayer:
    return msgspec.json.decode(text, type=WrittenLayer)
