# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers made from the matte store, a frame at a time; imports bpy and core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import bpy

from ..core.contours import trace
from ..core.matte_store import MatteStore
from ..core.slots import SlotPlanner
from . import mask_layers

# Tracing takes about as long as writing the keys, so a frame counts once in either.
_PASSES = 2


class LayerBuild:
    """Makes one layer an object from everything the store holds for it.

    Attributes
    ----------
    fraction
        0 to 1.
    frame
        The frame just worked on.
    frame_count
        Frames that have a matte of at least one object.
    """

    def __init__(
        self, clip: bpy.types.MovieClip, store: MatteStore, names: Mapping[int, str]
    ) -> None:
        self.fraction = 0.0
        self.frame = 0
        self._store = store
        self._names = {i: name for i, name in names.items() if store.frames(i)}
        self._total = _PASSES * sum(len(store.frames(i)) for i in self._names)
        self.frame_count = len({frame for i in self._names for frame in store.frames(i)})
        self._done = 0
        self._steps = self._run(clip)

    def step(self) -> bool:
        """Work on one frame; True once everything is there."""
        frame = next(self._steps, None)
        if frame is None:
            self.fraction = 1.0
            return True
        self.frame = frame
        self._done += 1
        self.fraction = min(1.0, self._done / max(1, self._total))
        return False

    def _run(self, clip: bpy.types.MovieClip) -> Iterator[int]:
        if not self._names:
            return
        mask = _mask_of(clip)
        size = (int(clip.size[0]), int(clip.size[1]))
        for object_id, name in self._names.items():
            planner = SlotPlanner()
            frames = self._store.frames(object_id)
            for frame in frames:
                planner.add(trace(self._store.read(object_id, frame).logits, *size))
                yield frame
            scene_frames = [frame + clip.frame_start - 1 for frame in frames]
            plan = planner.finish()
            for _ in mask_layers.write_object_layer(mask, name, plan, scene_frames, size):
                yield frames[0]


def _mask_of(clip: bpy.types.MovieClip) -> bpy.types.Mask:
    """The clip's mask datablock, made when it is missing, as long as the footage."""
    settings = clip.sam2_splat
    if settings.mask is None:
        settings.mask = bpy.data.masks.new(clip.name)
    settings.mask.frame_start = clip.frame_start
    settings.mask.frame_end = clip.frame_start + settings.frame_count - 1
    return settings.mask
