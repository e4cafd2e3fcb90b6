# SPDX-License-Identifier: GPL-3.0-or-later
"""The matte that the overlay shows, and its place. Nothing is drawn here, as that needs a window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from sam2_splat_addon.blender.context import changes
from sam2_splat_addon.core.geometry.coordinates import pixels_to_mask
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, PointPrompt

pytestmark = pytest.mark.usefixtures("addon")
SCORES = MatteScores(object_score=1.0, predicted_iou=0.9, area=0.25)
CLICK = FramePrompts(2, (PointPrompt(50.5, 90.5),))


@pytest.fixture
def clip(make_photos: Callable[..., Path]) -> bpy.types.MovieClip:
    """Three photos. Object 1, "square", has a matte on frames 2 and 3."""
    from sam2_splat_addon.blender.clip import footage as footage_clip
    from sam2_splat_addon.blender.clip import loading, markers, matte_run

    found = loading.load(make_photos(count=3))
    markers.add_point(found.tracking.objects.new("square"), 2, CLICK.points[0], *found.size)
    markers.sync_objects(found)
    footage = footage_clip.footage_of(found)
    store = MatteStore.open(matte_run.store_folder(found, footage.folder), create=True)
    for frame in (2, 3):
        store.write(record(found, frame, 1.0))
    return found


def record(clip: bpy.types.MovieClip, frame: int, value: float) -> MatteRecord:
    """Make a matte with the same value everywhere."""
    logits = np.full((6, 4), value, dtype=np.float16)
    width, height = clip.size
    return MatteRecord(1, frame, width, height, logits, SCORES, prompted=frame == 2)


def shown(clip: bpy.types.MovieClip, frame: int, prompts: FramePrompts | None = None) -> object:
    from sam2_splat_addon.blender.clip import matte_cache

    return matte_cache.matte_of(clip, 1, "square", frame, prompts, "model")


def test_the_stores_matte_is_shown_and_nothing_where_there_is_none(
    clip: bpy.types.MovieClip,
) -> None:
    found = shown(clip, 2)
    assert found.source == "stored" and (found.values == 1.0).all()
    assert shown(clip, 1) is None


def test_a_matte_is_read_once_until_it_is_said_to_be_new(clip: bpy.types.MovieClip) -> None:
    first = shown(clip, 2)
    MatteStore(Path(clip.sam2_splat.store_folder)).write(record(clip, 2, -3.0))
    assert shown(clip, 2) is first
    changes.mattes_changed(clip.session_uid, 1, 3)
    assert shown(clip, 2) is first
    changes.mattes_changed(clip.session_uid, 1, 2)
    assert (shown(clip, 2).values == -3.0).all()


def test_a_damaged_matte_shows_nothing(clip: bpy.types.MovieClip) -> None:
    path = MatteStore(Path(clip.sam2_splat.store_folder)).path(1, 3)
    path.write_bytes(path.read_bytes()[:-5])
    assert shown(clip, 3) is None


def test_a_preview_shows_for_its_own_prompts_and_model_only(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import matte_cache

    key = (clip.session_uid, 1, 2)
    matte_cache.keep_preview(key, CLICK, "model", np.zeros((2, 2), np.float16), SCORES)
    assert shown(clip, 2, CLICK).source == "preview"
    moved = FramePrompts(2, (PointPrompt(51.5, 90.5),))
    assert shown(clip, 2, moved).source == "stored"
    assert shown(clip, 2, None).source == "stored"
    assert matte_cache.previewed(key, CLICK, "another model") is None


def test_a_first_answer_shows_but_the_last_one_is_still_due(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import matte_cache

    key, values = (clip.session_uid, 1, 2), np.zeros((2, 2), np.float16)
    matte_cache.keep_preview(key, CLICK, "model", values, SCORES, more=True)
    assert shown(clip, 2, CLICK).source == "preview"
    assert not matte_cache.is_previewed(key, CLICK, "model")
    matte_cache.keep_preview(key, CLICK, "model", values + 1, SCORES)
    assert matte_cache.is_previewed(key, CLICK, "model")
    assert shown(clip, 2, CLICK).values.all()


def test_what_the_user_drew_wins_over_the_store(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.masks import edit_search, keys
    from sam2_splat_addon.blender.tasks.layer_build import LayerBuild

    build = LayerBuild(clip, MatteStore(Path(clip.sam2_splat.store_folder)), {1: "square"})
    while not build.step():
        pass
    bpy.context.scene.frame_set(2)
    assert shown(clip, 2).source == "stored"
    layer = clip.sam2_splat.mask.layers["square"]
    counts = [len(spline.points) for spline in layer.splines]
    corners = np.array([(30.0, 45.0), (90.0, 45.0), (90.0, 135.0), (30.0, 135.0)])
    for spline, count in zip(layer.splines, counts, strict=True):
        drawn = corners[np.arange(count) * len(corners) // count]
        co = pixels_to_mask(drawn, *clip.size).astype(np.float32)
        keys.set_points(spline, co, co, co)
    edited = shown(clip, 2)
    assert edited.source == "edited"
    width, height = clip.size
    inside = edited.values > 0
    assert inside.shape == (height, width)
    assert inside[45:135, 30:90].all() and inside.sum() == 60 * 90
    assert edit_search.shown_edit(clip.sam2_splat.mask, "square", 2) is not None


def test_the_prompts_of_one_frame_are_those_of_all(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import markers

    owner = clip.tracking.objects["square"]
    width, height = clip.size
    markers.add_point(owner, 3, PointPrompt(7.5, 8.5, include=False), width, height)
    every = {frame.frame: frame for frame in markers.collect(clip).objects[0].frames}
    assert set(every) == {2, 3}
    for frame, expected in every.items():
        assert markers.on_frame(clip, frame) == {"square": expected}
    assert markers.on_frame(clip, 1) == {}


def test_the_view_maps_pixels_there_and_back_to_a_hundredth() -> None:
    from sam2_splat_addon.blender.context.frame_view import FrameView

    # A photo of 6000 x 9000 px at 250 %. Its lower left corner is 1234.5 px left of the region.
    scale = (1.0 / 15000.0, 1.0 / 22500.0)
    view = FrameView(scale, (1234.5 / 15000.0, 0.25), 6000, 9000)
    assert view.zoom == pytest.approx(2.5)
    for x, y in ((0.0, 0.0), (3000.25, 17.75), (6000.0, 9000.0)):
        assert view.to_pixel(*view.to_region(x, y)) == pytest.approx((x, y), abs=0.01)
    assert view.to_region(0.0, 9000.0) == pytest.approx((-1234.5, -0.25 * 22500.0))


def test_the_mask_before_a_correction_is_the_stored_one_or_the_preview_before(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.clip import matte_cache

    uid = clip.session_uid
    # Frame 2 was propagated, and then clicked on.
    matte_cache.keep_preview((uid, 1, 2), CLICK, "model", np.zeros((2, 2), np.float16), SCORES)
    stored = matte_cache.before_of(clip, 1, "square", 2)
    assert stored is not None and stored.source == "stored"
    # Subject 7 was never propagated.
    more = FramePrompts(2, (*CLICK.points, PointPrompt(51.5, 90.5)))
    assert matte_cache.before_of(clip, 7, "lamp", 2) is None
    matte_cache.keep_preview((uid, 7, 2), CLICK, "model", np.zeros((2, 2), np.float16), SCORES)
    assert matte_cache.before_of(clip, 7, "lamp", 2) is None
    for _ in range(2):  # the same question again changes nothing
        matte_cache.keep_preview((uid, 7, 2), more, "model", np.ones((2, 2), np.float16), SCORES)
    before = matte_cache.before_of(clip, 7, "lamp", 2)
    assert before is not None and not before.values.any()


def test_the_view_of_a_part_of_the_photo_is_the_same_view() -> None:
    from sam2_splat_addon.blender.context.frame_view import FrameView

    view = FrameView((1.0 / 15000.0, 1.0 / 22500.0), (0.31, 0.25), 6000, 9000)
    part = view.of_part((1500, 2000, 2700, 4000))
    assert (part.width, part.height) == (1200, 2000)
    assert part.zoom == pytest.approx(view.zoom)
    for x, y in ((1500.0, 2000.0), (2000.25, 3017.75), (2700.0, 4000.0)):
        assert part.to_region(x - 1500, y - 2000) == pytest.approx(view.to_region(x, y))
