# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of splines on one photo stays on this photo, and after an undo layers show what is baked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.blender.context import changes
from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.geometry import rasterize
from sam2_splat_addon.core.geometry.resample import upsample_binary
from tests.blender.masked_clip import build_layers, masked_clip, store_of

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]
FRAMES = 4
HERE = 2


@pytest.fixture
def clip(make_photos: MakePhotos) -> bpy.types.MovieClip:
    """Four frames of two objects, with the playhead on frame 2."""
    clip = masked_clip(make_photos(count=FRAMES), ("chair", "lamp"))
    bpy.context.scene.frame_set(HERE)
    return clip


def in_mask_mode(
    clip: bpy.types.MovieClip, do: Callable[[], Any], chosen: Callable[[int], bool], name: str
) -> None:
    """Run an operator of Mask mode on points that are selected by their place in the layer."""
    from sam2_splat_addon.blender.masks import keys

    mask = clip.sam2_splat.mask
    mask.active_layer_index = mask.layers.find(name)
    layer = mask.layers[name]
    with keys.mask_editor(mask, layer, clip):
        at = 0
        for spline in layer.splines:
            for point in spline.points:
                point.select = chosen(at)
                at += 1
        assert do() == {"FINISHED"}


def every(at: int) -> bool:
    return True


def first_eight(at: int) -> bool:
    return at < 8


def none(at: int) -> bool:
    return False


def add_circle() -> Any:
    return bpy.ops.mask.primitive_circle_add(size=30, location=(10, 10))


ACTIONS: dict[str, tuple[Callable[[], Any], Callable[[int], bool]]] = {
    "points deleted": (lambda: bpy.ops.mask.delete(), first_eight),
    "contour deleted": (lambda: bpy.ops.mask.delete(), every),
    "contour added": (add_circle, none),
    "contour duplicated": (lambda: bpy.ops.mask.duplicate(), every),
    "contour opened": (lambda: bpy.ops.mask.cyclic_toggle(), every),
    "contour turned": (lambda: bpy.ops.mask.switch_direction(), every),
    "handles rounded": (lambda: bpy.ops.mask.handle_type_set(type="VECTOR"), first_eight),
}


def keyed(clip: bpy.types.MovieClip, frame: int, name: str = "chair") -> NDArray[np.bool_]:
    """Return the shape in Blender's own data on a frame, without the add-on."""
    from sam2_splat_addon.blender.masks import keys, shapes

    with (
        keys.points_restored(clip.sam2_splat.mask),
        keys.scratch_scene() as scene,
    ):
        state = keys.keyed_state(scene, clip.sam2_splat.mask, name, frame)
    size = (int(clip.size[0]), int(clip.size[1]))
    return rasterize.fill(shapes.outlines(state, size), *size)


def stored(clip: bpy.types.MovieClip, frame: int, object_id: int = 1) -> NDArray[np.bool_]:
    return upsample_binary(store_of(clip).read(object_id, frame).logits, *clip.size)


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def edited(clip: bpy.types.MovieClip, name: str = "chair") -> tuple[int, ...]:
    from sam2_splat_addon.blender.masks import edit_search

    return edit_search.edited_frames(clip.sam2_splat.mask, name)


def baked(clip: bpy.types.MovieClip) -> list[NDArray[np.bool_]]:
    bpy.ops.sam2_splat.bake()
    images = sorted(Path(clip.sam2_splat.output_folder).glob("*.png"))
    return [np.asarray(Image.open(image))[..., 3] > 0 for image in images]


def move_a_point(clip: bpy.types.MovieClip, frame: int, name: str = "chair") -> None:
    """Move points and set a key, as a user would."""
    from sam2_splat_addon.blender.masks import keys

    mask = clip.sam2_splat.mask
    layer = mask.layers[name]
    bpy.context.scene.frame_set(frame)
    with keys.mask_editor(mask, layer, clip):
        for point in list(layer.splines[0].points)[:20]:
            point.co = (point.co[0], point.co[1] + 0.1)
        assert bpy.ops.mask.shape_key_insert() == {"FINISHED"}


@pytest.mark.parametrize("what", ACTIONS)
def test_an_edit_of_splines_holds_on_its_photo_alone(clip: bpy.types.MovieClip, what: str) -> None:
    do, chosen = ACTIONS[what]
    before = [keyed(clip, frame) for frame in range(1, FRAMES + 1)]
    in_mask_mode(clip, do, chosen, "chair")
    here = keyed(clip, HERE)
    alphas = baked(clip)
    assert edited(clip) == (HERE,)
    bpy.context.scene.frame_set(3)  # the playhead moves on, and the layer is written again
    assert edited(clip) == (HERE,)
    assert overlap(keyed(clip, HERE), here) > 0.99 or not here.any()
    for frame in (1, 3, 4):
        assert overlap(keyed(clip, frame), before[frame - 1]) > 0.99, frame
        union = stored(clip, frame) | stored(clip, frame, 2)
        assert np.array_equal(alphas[frame - 1], union), frame
    assert edited(clip, "lamp") == ()
    assert not clip.sam2_splat.mask.layers["chair"].hide_select


def test_several_edits_on_photos_one_after_the_other_hold_each_on_its_own(
    clip: bpy.types.MovieClip,
) -> None:
    move_a_point(clip, 4)
    bpy.context.scene.frame_set(HERE)
    moved = keyed(clip, 4)
    assert overlap(moved, stored(clip, 4)) < 0.97
    in_mask_mode(clip, add_circle, none, "chair")
    with_circle = keyed(clip, HERE)
    bpy.context.scene.frame_set(3)
    in_mask_mode(clip, lambda: bpy.ops.mask.delete(), every, "chair")
    assert edited(clip) == (2, 3, 4)
    bpy.context.scene.frame_set(1)
    assert edited(clip) == (2, 3, 4)
    assert overlap(keyed(clip, HERE), with_circle) > 0.99
    assert not keyed(clip, 3).any()
    assert overlap(keyed(clip, 4), moved) > 0.98
    assert overlap(keyed(clip, 1), stored(clip, 1)) > 0.97


def test_a_torn_layer_is_saved_and_baked_and_propagated_as_the_user_meant_it(
    clip: bpy.types.MovieClip, tmp_path: Path
) -> None:
    move_a_point(clip, 4)
    moved = keyed(clip, 4)
    bpy.context.scene.frame_set(HERE)
    in_mask_mode(clip, lambda: bpy.ops.mask.delete(), every, "chair")
    path = str(tmp_path / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    clip = bpy.data.movieclips[0]
    assert edited(clip) == (2, 4)
    bpy.context.scene.active_clip = clip
    alphas = baked(clip)
    assert np.array_equal(alphas[0], stored(clip, 1) | stored(clip, 1, 2))
    assert np.array_equal(alphas[1], stored(clip, 2, 2))
    assert overlap(alphas[3], moved | stored(clip, 4, 2)) > 0.99
    build_layers(clip)
    assert edited(clip) == (2, 4)
    assert overlap(keyed(clip, 1), stored(clip, 1)) > 0.97


def test_back_to_sam2s_mask_brings_a_deleted_contour_back(clip: bpy.types.MovieClip) -> None:
    in_mask_mode(clip, lambda: bpy.ops.mask.delete(), every, "chair")
    assert not keyed(clip, HERE).any()
    assert bpy.ops.sam2_splat.restore_mask() == {"FINISHED"}
    assert edited(clip) == ()
    for frame in range(1, FRAMES + 1):
        assert overlap(keyed(clip, frame), stored(clip, frame)) > 0.97


def test_an_undo_takes_back_the_deletion_on_its_photo_and_nothing_else(
    clip: bpy.types.MovieClip,
) -> None:
    move_a_point(clip, 4)
    moved = keyed(clip, 4)
    bpy.context.scene.frame_set(HERE)
    bpy.ops.ed.undo_push(message="before")
    in_mask_mode(clip, lambda: bpy.ops.mask.delete(), every, "chair")
    bpy.ops.ed.undo_push(message="delete")
    bpy.context.scene.frame_set(3)
    bpy.ops.ed.undo_push(message="frame")
    assert edited(clip) == (2, 4)
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    clip = bpy.data.movieclips[0]
    assert edited(clip) == (4,)
    assert overlap(keyed(clip, HERE), stored(clip, HERE)) > 0.97
    assert overlap(keyed(clip, 4), moved) > 0.98
    bpy.ops.ed.redo()
    clip = bpy.data.movieclips[0]
    assert edited(clip) == (2, 4)
    bpy.context.scene.frame_set(1)
    assert not keyed(clip, HERE).any()
    assert overlap(keyed(clip, 3), stored(clip, 3)) > 0.97
    assert overlap(keyed(clip, 4), moved) > 0.98


def propagated_anew(clip: bpy.types.MovieClip) -> None:
    """Write other mattes and their layers, as a propagation with other clicks does."""
    from sam2_splat_addon.blender.clip import matte_run
    from sam2_splat_addon.core.mattes.store import MatteRecord

    store = store_of(clip)
    width, height = clip.size
    for entry in clip.sam2_splat.objects:
        for frame in range(1, FRAMES + 1):
            old = store.read(entry.object_id, frame)
            logits = np.roll(old.logits, 12, axis=0)
            store.write(MatteRecord(entry.object_id, frame, width, height, logits, old.scores))
    matte_run.remember(clip, store)
    changes.mattes_changed(clip.session_uid)
    build_layers(clip)


def assert_shown_is_baked(clip: bpy.types.MovieClip) -> None:
    """Compare the layers in Blender's own data with the PNGs."""
    bpy.context.scene.active_clip = clip
    for frame, alpha in enumerate(baked(clip), start=1):
        union = keyed(clip, frame) | keyed(clip, frame, "lamp")
        assert overlap(union, alpha) > 0.97 or not (union.any() or alpha.any()), frame


def test_an_undo_past_a_propagation_shows_what_is_baked(clip: bpy.types.MovieClip) -> None:
    move_a_point(clip, 4)
    bpy.ops.ed.undo_push(message="moved")
    before = stored(clip, 1)
    propagated_anew(clip)
    bpy.ops.ed.undo_push(message="Propagating")
    assert overlap(stored(clip, 1), before) < 0.9
    bpy.ops.ed.undo()
    clip = bpy.data.movieclips[0]
    assert edited(clip) == (4,)
    assert overlap(keyed(clip, 1), stored(clip, 1)) > 0.97
    assert_shown_is_baked(clip)
    bpy.ops.ed.redo()
    clip = bpy.data.movieclips[0]
    assert edited(clip) == (4,)
    assert_shown_is_baked(clip)


def test_an_undo_past_the_first_propagation_shows_what_is_baked(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import markers, matte_run

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=FRAMES)))
    clip = present(bpy.context.scene.active_clip)
    for name in ("chair", "lamp"):
        owner = clip.tracking.objects.new(name)
        owner.tracks.new(name="Track", frame=1).markers.insert_frame(1, co=(0.4, 0.5))
    markers.sync_objects(clip)
    bpy.ops.ed.undo_push(message="clicked")
    from sam2_splat_addon.blender.clip.footage import footage_of
    from sam2_splat_addon.blender.clip.matte_run import store_folder
    from tests.blender.masked_clip import write_mattes

    store_folder(clip, footage_of(clip).folder)
    write_mattes(clip)
    matte_run.remember(clip, store_of(clip))
    build_layers(clip)
    bpy.ops.ed.undo_push(message="Propagating")
    bpy.ops.ed.undo()
    clip = bpy.data.movieclips[0]
    assert_shown_is_baked(clip)


def test_an_undo_past_cleared_results_brings_back_no_masks_without_mattes(
    clip: bpy.types.MovieClip,
) -> None:
    move_a_point(clip, 4)
    moved = keyed(clip, 4)
    bpy.ops.ed.undo_push(message="moved")
    bpy.ops.sam2_splat.clear_results()
    bpy.ops.ed.undo_push(message="cleared")
    bpy.ops.ed.undo()
    clip = bpy.data.movieclips[0]
    assert not keyed(clip, 1).any()
    assert overlap(keyed(clip, 4), moved) > 0.98, "the user's drawing stays"


def test_a_contour_is_taken_off_one_photo_alone_and_undone(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.masks import keys

    mask, layer = clip.sam2_splat.mask, clip.sam2_splat.mask.layers["chair"]
    bpy.ops.ed.undo_push(message="before")
    with keys.mask_editor(mask, layer, clip):
        assert bpy.ops.sam2_splat.remove_contour() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="removed")
    assert not keyed(clip, HERE).any()
    assert edited(clip) == (HERE,)
    assert keyed(clip, HERE, "lamp").any()
    for frame in (1, 3, 4):
        assert overlap(keyed(clip, frame), stored(clip, frame)) > 0.97
    bpy.ops.ed.undo()
    clip = bpy.data.movieclips[0]
    assert edited(clip) == ()
    assert overlap(keyed(clip, HERE), stored(clip, HERE)) > 0.97


def test_outside_mask_mode_no_contour_is_removed(clip: bpy.types.MovieClip) -> None:
    assert not bpy.ops.sam2_splat.remove_contour.poll()


def test_what_is_kept_of_a_drawing_is_what_was_drawn_and_a_damaged_one_is_nothing() -> None:
    from sam2_splat_addon.blender.masks import written_layers
    from sam2_splat_addon.blender.masks.keys import SplineState

    mask = bpy.data.masks.new("any")
    corners = np.random.default_rng(3).random((2, 5, 2), dtype=np.float32)
    state = tuple(SplineState(one, one + 1, one - 1, cyclic=one is corners[0]) for one in corners)
    written_layers.keep_drawn(mask, "chair", -7, state)
    assert written_layers.drawn_frames(mask, "chair") == {-7}
    kept = written_layers.drawn_on(mask, "chair", -7)
    assert kept is not None
    assert all(own.has_points_of(one) for own, one in zip(kept, state, strict=True))
    for damaged in (b"", b"no", written_layers._packed(state)[:-9], b"\0" * 40, "text", 3):
        mask["sam2_splat_drawn"]["chair"]["-7"] = damaged
        assert written_layers.drawn_on(mask, "chair", -7) is None
