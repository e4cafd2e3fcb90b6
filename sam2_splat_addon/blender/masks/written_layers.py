# SPDX-License-Identifier: GPL-3.0-or-later
"""Store in a mask what was written into its layers.

Each frame has a signature. If its points differ from it, the user has edited the frame. All keys of a
layer share its splines. So a point that is deleted or added on one frame changes on all frames, and the
keys no longer say how the other frames were. Therefore a copy of what the user drew is kept.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import bpy
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..context.stored_text import decoded
from .keys import SplineState, named
from .shapes import polygon

# Custom property of the mask: layer name -> WrittenLayer as JSON.
_WRITTEN = "sam2_splat_written"
# Another custom property: layer name -> scene frame -> what the user drew there, packed.
_DRAWN = "sam2_splat_drawn"
# Most bytes of a frame's packed points. It is checked because a file may be a stranger's.
_MOST_BYTES = 64 << 20
# `WrittenLayer.torn` if the keys count on no frame, because the playhead has moved on.
NO_FRAME = -(1 << 31)
# How far area and first moments may differ after the user has added or removed points, in units of
# the longer side. This is the rounding of float32, far less than a visible edit changes.
_SAME_SHAPE = 2e-6


States = tuple[SplineState, ...]
"""The points of all splines of a layer on one frame."""


class WrittenFrame(msgspec.Struct, frozen=True, array_like=True):
    """The signature of what was written on one scene frame.

    Attributes
    ----------
    checksum
        CRC-32 of all points and handles as float32.
    points
        Number of points.
    moments
        Area and first moments in mask space.
    """

    checksum: int
    points: int
    moments: tuple[float, float, float]


class WrittenLayer(msgspec.Struct, frozen=True):
    """What was written into a layer.

    Attributes
    ----------
    frames
        Scene frame -> signature.
    edited
        The frames that were written with an edit by the user.
    start
        The clip's first scene frame at that time.
    writing
        Number of the writing that runs, or ran when the file was saved. 0 means none.
    splines
        Checksum of the layer's splines (`splines_of`). 0 while the layer is being written.
    torn
        The scene frame on which the user has changed the splines since, or `NO_FRAME`. None if they
        have not changed. Until the layer is written again, its keys count on that frame only. On
        all others, what the user drew there counts (`drawn_on`), else the store.
    mattes
        Checksum of the mattes that the layer was made from. 0 while it is being written.
    locked
        Whether we have locked the layer, because it is being written again.
    """

    frames: dict[int, WrittenFrame]
    edited: tuple[int, ...]
    start: int
    writing: int = 0
    splines: int = 0
    torn: int | None = None
    mattes: int = 0
    locked: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the layer's keys are valid on all frames."""
        return self.torn is None and not self.writing


def splines_of(layer: bpy.types.MaskLayer) -> int:
    """Return a checksum of what a layer's splines have in common on all frames. It is never 0."""
    value = 1
    for spline in layer.splines:
        points = spline.points
        kinds = np.empty((2, len(points)), dtype=np.int32)
        for name, flat in zip(("handle_left_type", "handle_right_type"), kinds, strict=True):
            points.foreach_get(name, flat)
        value = zlib.crc32(struct.pack("<I?", len(points), bool(spline.use_cyclic)), value)
        value = zlib.crc32(kinds.tobytes(), value)
    return value or 1


def checksum(splines: Sequence[SplineState]) -> int:
    """Return the CRC-32 of all points and handles."""
    value = 0
    for spline in splines:
        for values in (spline.co, spline.left, spline.right):
            value = zlib.crc32(np.ascontiguousarray(values).tobytes(), value)
    return value


def signature(splines: Sequence[SplineState]) -> WrittenFrame:
    """Return the signature of a frame."""
    shapes = [polygon(spline) for spline in splines if spline.cyclic]
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
    """Return the index of each point's next point. ``counts`` are the points of closed outlines."""
    ahead = np.arange(1, sum(counts) + 1)
    stops = np.cumsum(counts, dtype=np.intp)
    ahead[stops - 1] = stops - counts
    return ahead


def differs(splines: Sequence[SplineState], expected: WrittenFrame) -> bool:
    """Whether a layer differs from what was written.

    If the user adds a point on one frame, it appears on the outlines of all frames. The other frames
    keep their shape, so they do not count as edited.
    """
    is_closed = all(one.cyclic for one in splines)  # all are written closed
    if is_closed and checksum(splines) == expected.checksum:
        return False
    found = signature(splines)
    if found.points == expected.points:
        return True
    return not np.allclose(found.moments, expected.moments, rtol=0.0, atol=_SAME_SHAPE)


def remember(mask: bpy.types.Mask, layer_name: str, written: WrittenLayer) -> None:
    """Store in the mask what was written into an object's layer."""
    if named(mask, _WRITTEN) is None:
        mask[_WRITTEN] = {}
    mask[_WRITTEN][layer_name] = msgspec.json.encode(written).decode()


def remembered(mask: bpy.types.Mask, layer_name: str) -> WrittenLayer | None:
    """Return what was written into an object's layer. None if nothing was."""
    group = named(mask, _WRITTEN)
    text = group.get(layer_name) if group is not None else None
    return _decoded(text) if isinstance(text, str) and text else None


def forget(mask: bpy.types.Mask, layer_name: str) -> None:
    """Delete what is stored about an object's layer, and the kept drawings."""
    for name in (_WRITTEN, _DRAWN):
        group = named(mask, name)
        if group is not None and layer_name in group:
            del group[layer_name]


def keep_drawn(mask: bpy.types.Mask, layer_name: str, frame: int, state: States | None) -> None:
    """Keep what the user drew on a scene frame of a layer. None means that nothing is drawn there."""
    packed = _packed(state) if state is not None else None
    group = named(mask, _DRAWN)
    frames = group.get(layer_name) if group is not None else None
    if packed is None:
        if frames is not None and str(frame) in frames:
            del frames[str(frame)]
        return
    if group is None:
        mask[_DRAWN] = {}
    if frames is None:
        mask[_DRAWN][layer_name] = {}
    if mask[_DRAWN][layer_name].get(str(frame)) != packed:
        mask[_DRAWN][layer_name][str(frame)] = packed


def keep_all_drawn(mask: bpy.types.Mask, layer_name: str, drawn: Mapping[int, States]) -> None:
    """Keep what the user drew on a layer's scene frames, and drop all other frames."""
    group = named(mask, _DRAWN)
    if group is not None and layer_name in group:
        del group[layer_name]
    for frame, state in drawn.items():
        keep_drawn(mask, layer_name, frame, state)


def drawn_frames(mask: bpy.types.Mask, layer_name: str) -> set[int]:
    """Return the scene frames of a layer with a kept drawing."""
    group = named(mask, _DRAWN)
    frames = group.get(layer_name) if group is not None else None
    return {int(frame) for frame in frames or () if frame.lstrip("-").isdecimal()}


def drawn_on(mask: bpy.types.Mask, layer_name: str, frame: int) -> States | None:
    """Return the kept drawing on a scene frame. None if there is none."""
    group = named(mask, _DRAWN)
    frames = group.get(layer_name) if group is not None else None
    packed = frames.get(str(frame)) if frames is not None else None
    return _unpacked(packed) if isinstance(packed, bytes) else None


def _packed(state: States) -> bytes:
    """Pack the numbers of points and kinds of the splines, then all points and handles."""
    head = struct.pack("<I", len(state))
    head += b"".join(struct.pack("<I?", len(one.co), one.cyclic) for one in state)
    values = [np.stack([one.co, one.left, one.right]) for one in state]
    return zlib.compress(head + b"".join(one.astype("<f4").tobytes() for one in values), 1)


@lru_cache(maxsize=16)
def _unpacked(packed: bytes) -> States | None:
    try:
        data = zlib.decompressobj().decompress(packed, _MOST_BYTES)
        (count,) = struct.unpack_from("<I", data)
        if count * 5 > len(data):
            return None
        heads = [struct.unpack_from("<I?", data, 4 + 5 * number) for number in range(count)]
        at, found = 4 + 5 * count, []
        for points, cyclic in heads:
            values = np.frombuffer(data, "<f4", 6 * points, at).reshape(3, points, 2)
            at += values.nbytes
            co, left, right = values.astype(np.float32)
            found.append(SplineState(co, left, right, cyclic))
    except (zlib.error, struct.error, ValueError):
        return None  # the file is damaged or a stranger's
    return tuple(found)


@lru_cache(maxsize=16)
def _decoded(text: str) -> WrittenLayer | None:
    return decoded(text, WrittenLayer, None)
