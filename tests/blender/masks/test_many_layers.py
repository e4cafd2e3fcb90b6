# SPDX-License-Identifier: GPL-3.0-or-later
"""With many objects, the time for their layers grows with their number, not with its square."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores
from tests.blender.masked_clip import build_layers, store_of

FRAMES = 3


def many(folder: Path, objects: int) -> bpy.types.MovieClip:
    """Make a clip with a small matte of every object on every frame, without layers."""
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.blender.clip.footage import footage_of
    from sam2_splat_addon.blender.clip.matte_run import store_folder

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.sam2_splat.load(filepath=str(folder))
    clip = present(bpy.context.scene.active_clip)
    for number in range(objects):
        clip.tracking.objects.new(f"object {number + 1}")
    markers.sync_objects(clip)
    store_folder(clip, footage_of(clip).folder)
    store = store_of(clip)
    width, height = clip.size
    y, x = (np.mgrid[:24, :24] + 0.5) / 24
    for entry in clip.sam2_splat.objects:
        for frame in range(1, FRAMES + 1):
            middle = 0.3 + 0.4 * entry.object_id / objects + 0.01 * frame
            logits = (0.2 - np.hypot(x - middle, y - 0.5)).astype(np.float16)
            scores = MatteScores(9.0, 0.9, 0.1)
            store.write(
                MatteRecord(entry.object_id, frame, width, height, logits, scores, frame == 1)
            )
    return clip


def counted(monkeypatch: pytest.MonkeyPatch, counts: Counter[str], owner: Any, name: str) -> None:
    before: Callable[..., Any] = getattr(owner, name)

    def count(*arguments: Any, **options: Any) -> Any:
        counts[name] += 1
        return before(*arguments, **options)

    monkeypatch.setattr(owner, name, count)


def test_four_times_the_objects_take_about_four_times_the_work(
    addon: None, make_photos: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.masks import edit_search, key_macro, keys

    folder = make_photos(FRAMES, (60, 90))
    counts: Counter[str] = Counter()
    # Reads of a spline's points, looks at changes by the user, copies of the whole mask.
    for owner, name in (
        (keys, "_spline_state"),
        (edit_search, "notice"),
        (key_macro, "insert_keys_of"),
    ):
        counted(monkeypatch, counts, owner, name)
    work: dict[tuple[str, int], Counter[str]] = {}
    seconds: dict[tuple[str, int], float] = {}
    for objects in (50, 200):
        clip = many(folder, objects)
        for what in ("made", "made anew"):
            counts.clear()
            begin = time.process_time()
            build_layers(clip)
            seconds[what, objects] = time.process_time() - begin
            work[what, objects] = Counter(counts)
            mask = clip.sam2_splat.mask
            assert len(mask.layers) == objects
            assert edit_search.edited_frames(mask, f"object {objects}") == ()
    for what in ("made", "made anew"):
        for name in counts:
            assert work[what, 200][name] <= 5 * work[what, 50][name], (what, name)
        assert work[what, 200]["insert_keys_of"] < 200 / 4
        # Processor time. Quadratic time would be 16 times.
        assert seconds[what, 200] < 9 * seconds[what, 50], what


def test_layers_written_together_leave_other_layers_points_alone(
    addon: None, make_photos: Any
) -> None:
    from sam2_splat_addon.blender.masks import keys

    clip = many(make_photos(FRAMES, (60, 90)), 4)
    build_layers(clip)
    mask = clip.sam2_splat.mask
    own = mask.layers.new(name="by hand")
    keys.add_splines(own, (8,))
    points = np.linspace(0.1, 0.9, 16, dtype=np.float32).reshape(8, 2)
    keys.set_layer_points(own, points)
    shown = keys.layer_state(mask.layers["object 2"])
    build_layers(clip)
    assert np.array_equal(keys.layer_state(mask.layers["by hand"])[0].co, points)
    after = keys.layer_state(mask.layers["object 2"])
    assert all(one.has_points_of(other) for one, other in zip(shown, after, strict=True))
    assert not any(layer.hide_select for layer in mask.layers)
