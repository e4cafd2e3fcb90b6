# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers made from the matte store, a frame at a time; imports bpy and core."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import bpy

from ..core.contours import from_outlines, trace
from ..core.matte_store import MatteStore
from ..core.slots import SlotPlanner
from . import mask_layers
from .active_clip import require_clip_by_uid
from .drawn import Drawn, everything, quietly

# Tracing takes about as long as writing the keys, so a frame counts once in either.
_PASSES = 2


class LayerBuild:
    """Makes one layer an object from everything the store holds for it.

    Parameters
    ----------
    names
        Object id -> name, of the objects to do.

    Attributes
    ----------
    fraction
        0 to 1.
    frame
        The frame just worked on.
    frame_count
        Frames that have a matte of at least one object.
    edited
        What the user had drawn, of the objects done so far: it wins over the store.
    """

    def __init__(
        self,
        clip: bpy.types.MovieClip,
        store: MatteStore,
        names: Mapping[int, str],
    ) -> None:
        self.fraction = 0.0
        self.frame = 0
        self._store = store
        self.edited: Drawn = {}
        self._names = {i: name for i, name in names.items() if store.frames(i)}
        self._total = _PASSES * sum(len(store.frames(i)) for i in self._names)
        self.frame_count = len({frame for i in self._names for frame in store.frames(i)})
        self._done = 0
        self._steps = self._run(clip.session_uid)

    def step(self) -> bool:
        """Work on one frame; True once everything is there."""
        try:
            frame = next(self._steps)
        except StopIteration:
            self.fraction = 1.0
            return True
        if frame is not None:
            self.frame = frame
            self._done += 1
            self.fraction = min(1.0, self._done / max(1, self._total))
        return False

    def _run(self, uid: int) -> Generator[int | None, None, None]:
        """Yields each frame twice, once traced and once written; None while looking for edits."""
        for object_id, name in self._names.items():
            # Late, as the user may draw until the layer is made again.
            found = yield from quietly(everything(uid, (name,)))
            drawn = self.edited[name] = found.get(name, {})
            # Looked up anew for each object: an undo between two steps leaves stale references.
            clip = require_clip_by_uid(uid)
            size = (int(clip.size[0]), int(clip.size[1]))
            offset = clip.frame_start - 1
            planner = SlotPlanner()
            frames = sorted({*self._store.frames(object_id), *drawn})
            for frame in frames:
                # What the user drew wins over the model.
                if frame in drawn:
                    planner.add(from_outlines(drawn[frame]))
                else:
                    planner.add(trace(self._store.read(object_id, frame).logits, *size))
                yield frame
            clip = require_clip_by_uid(uid)
            scene_frames = [frame + offset for frame in frames]
            edited = [frame + offset for frame in drawn]
            for scene_frame in mask_layers.write_object_layer(
                _mask_of(clip), clip, name, planner.finish(), scene_frames, size, edited=edited
            ):
                yield scene_frame - offset


def _mask_of(clip: bpy.types.MovieClip) -> bpy.types.Mask:
    """The clip's mask, as long as its footage."""
    mask = mask_layers.get_mask(clip)
    mask.frame_start = clip.frame_start
    mask.frame_end = clip.frame_start + clip.sam2_splat.frame_count - 1
    return mask
