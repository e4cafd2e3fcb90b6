# SPDX-License-Identifier: GPL-3.0-or-later
"""What was written into a mask's layers, kept in the mask itself.

One signature a frame: a frame that the user has edited is known by its points being others. A layer's
splines are shared by all its keys: a point deleted, added or of another kind on one frame is so on all,
and the keys then no longer say how the other frames were. So what the user drew is kept a second time.
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
# Another one: layer name -> scene frame -> what the user drew there, packed.
_DRAWN = "sam2_splat_drawn"
# Bytes that the packed points of a frame may have: a file may be a stranger's.
_MOST_BYTES = 64 << 20
# `WrittenLayer.torn` where the keys of no frame count, since the playhead has gone on.
NO_FRAME = -(1 << 31)
# How far area and first moments, in units of the longer side, may differ when the user has added
# or removed points: float32 rounding, far below the change that a visible edit makes.
_SAME_SHAPE = 2e-6


States = tuple[SplineState, ...]
"""The points of all splines of a layer on one frame."""


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
        The scene frame that the clip began on then.
    writing
        Which writing of the layer is under way, or was when the file was saved; 0: none.
    splines
        What tells the layer's splines from others (`splines_of`); 0 while it is being written.
    torn
        The scene frame on which the user has made them others since, or `NO_FRAME`; None while they
        are as they were written. Until the layer is written anew, its keys count on that frame
        alone: on all others, what the user drew there counts (`drawn_on`), and else the store.
    mattes
        A checksum of the mattes that the layer is made of; 0 while it is being written.
    locked
        Whether the layer can't be selected only because it is being written anew.
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
        """Whether the layer's keys say what it shows on all frames."""
        return self.torn is None and not self.writing


def splines_of(layer: bpy.types.MaskLayer) -> int:
    """A checksum of what a layer's splines have in common on all frames: not 0."""
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
    """CRC-32 of all points and handles."""
    value = 0
    for spline in splines:
        for values in (spline.co, spline.left, spline.right):
            value = zlib.crc32(np.ascontiguousarray(values).tobytes(), value)
    return value


def signature(splines: Sequence[SplineState]) -> WrittenFrame:
    """What to remember of a frame."""
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
    is_closed = all(one.cyclic for one in splines)  # as all are written
    if is_closed and checksum(splines) == expected.checksum:
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
    return _decoded(text) if isinstance(text, str) and text else None


def forget(mask: bpy.types.Mask, layer_name: str) -> None:
    """Forget what was written and drawn into an object's layer."""
    for name in (_WRITTEN, _DRAWN):
        group = named(mask, name)
        if group is not None and layer_name in group:
            del group[layer_name]


def keep_drawn(mask: bpy.types.Mask, layer_name: str, frame: int, state: States | None) -> None:
    """Keep what the user drew on a scene frame of a layer; None: nothing is drawn there."""
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
    """Keep what the user drew on a layer's scene frames, and on no others."""
    group = named(mask, _DRAWN)
    if group is not None and layer_name in group:
        del group[layer_name]
    for frame, state in drawn.items():
        keep_drawn(mask, layer_name, frame, state)


def drawn_frames(mask: bpy.types.Mask, layer_name: str) -> set[int]:
    """The scene frames of a layer of which it is kept what the user drew."""
    group = named(mask, _DRAWN)
    frames = group.get(layer_name) if group is not None else None
    return {int(frame) for frame in frames or () if frame.lstrip("-").isdecimal()}


def drawn_on(mask: bpy.types.Mask, layer_name: str, frame: int) -> States | None:
    """What is kept of what the user drew on a scene frame; None where nothing is."""
    group = named(mask, _DRAWN)
    frames = group.get(layer_name) if group is not None else None
    packed = frames.get(str(frame)) if frames is not None else None
    return _unpacked(packed) if isinstance(packed, bytes) else None


def _packed(state: States) -> bytes:
    """Counts and kinds of the splines, then all points and handles."""
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
        return None  # a damaged or a stranger's file
    return tuple(found)


@lru_cache(maxsize=16)
def _decoded(text: str) -> WrittenLayer | None:
    return decoded(text, WrittenLayer, None)
