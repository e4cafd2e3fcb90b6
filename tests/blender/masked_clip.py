# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip with mattes and mask layers, as after a propagation, but made without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore

SIDE = 96


def masked_clip(folder: Path, names: Sequence[str]) -> bpy.types.MovieClip:
    """Load photos, and give each object a click on frame 1, mattes and a layer.

    Every object is a disc that moves a little. The first object is active.
    """
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.blender.clip.footage import footage_of
    from sam2_splat_addon.blender.clip.matte_run import store_folder

    bpy.ops.sam2_splat.load(filepath=str(folder))
    clip = present(bpy.context.scene.active_clip)
    for number, name in enumerate(names):
        owner = clip.tracking.objects.new(name)
        track = owner.tracks.new(name="Track", frame=1)
        track.markers.insert_frame(1, co=(_middle(number, 1), 0.5))
    clip.tracking.objects.active = clip.tracking.objects[names[0]]
    markers.sync_objects(clip)
    store_folder(clip, footage_of(clip).folder)
    write_mattes(clip)
    build_layers(clip)
    return clip


def store_of(clip: bpy.types.MovieClip) -> MatteStore:
    return MatteStore.open(Path(clip.sam2_splat.store_folder), create=True)


def write_mattes(clip: bpy.types.MovieClip) -> None:
    """Write mattes into the store, as a propagation does."""
    store = store_of(clip)
    width, height = clip.size
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    for number, entry in enumerate(clip.sam2_splat.objects):
        for frame in range(1, clip.sam2_splat.frame_count + 1):
            logits = 400.0 * (0.22 - np.hypot(x - _middle(number, frame), y - 0.5))
            scores = MatteScores(9.0, 0.93, float((logits > 0).mean()))
            store.write(
                MatteRecord(
                    entry.object_id,
                    frame,
                    width,
                    height,
                    logits.astype(np.float16),
                    scores,
                    frame == 1,
                )
            )


def build_layers(clip: bpy.types.MovieClip) -> None:
    """Make layers from the store, as a propagation does at its end."""
    from sam2_splat_addon.blender.tasks.layer_build import LayerBuild

    names = {entry.object_id: entry.name for entry in clip.sam2_splat.objects}
    build = LayerBuild(clip, store_of(clip), names)
    while not build.step():
        pass


def _middle(number: int, frame: int) -> float:
    """Return the middle of an object across the picture, 0 to 1."""
    return 0.35 + 0.3 * number + 0.01 * frame
