# SPDX-License-Identifier: GPL-3.0-or-later
"""Corrections of single frames: undone, made prompts, cleared and restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.geometry import rasterize
from sam2_splat_addon.core.geometry.coordinates import pixels_to_mask
from sam2_splat_addon.core.geometry.resample import upsample_binary
from tests.blender.masked_clip import build_layers, masked_clip, store_of

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]
CORNERS = np.array([(20.0, 30.0), (100.0, 30.0), (60.0, 150.0)])


@pytest.fixture
def clip(make_photos: MakePhotos) -> bpy.types.MovieClip:
    """Three frames of one object, with the playhead on frame 2."""
    clip = masked_clip(make_photos(count=3, orange=True), ("square",))
    bpy.context.scene.frame_current = 2
    return clip


def draw_triangle(clip: bpy.types.MovieClip, frame: int) -> NDArray[np.bool_]:
    """Draw a triangle with the layer's points on one frame, as a user would. Return its matte."""
    from sam2_splat_addon.blender.masks import key_macro, keys

    mask = clip.sam2_splat.mask
    layer = mask.layers["square"]
    counts = [len(spline.points) for spline in layer.splines]
    drawn = np.full((sum(counts), 2), -50.0)
    drawn[: counts[0]] = CORNERS[np.arange(counts[0]) * 3 // counts[0]]
    co = pixels_to_mask(drawn, *clip.size).astype(np.float32)
    with keys.scratch_scene() as scene, keys.mask_editor(mask, layer, clip):
        key_macro.insert_keys(layer, scene, [(frame, co)])
    return rasterize.fill([CORNERS], *clip.size)


def edited(clip: bpy.types.MovieClip) -> tuple[int, ...]:
    from sam2_splat_addon.blender.masks import edit_search

    return edit_search.edited_frames(clip.sam2_splat.mask, "square")


def shown(clip: bpy.types.MovieClip, frame: int) -> NDArray[np.bool_]:
    """Return the layer's matte on a frame."""
    from sam2_splat_addon.blender.masks import layers

    outlines = layers.read_object_layer(
        clip.sam2_splat.mask, "square", frame, (clip.size[0], clip.size[1])
    )
    return rasterize.fill(outlines, *clip.size)


def stored(clip: bpy.types.MovieClip, frame: int) -> NDArray[np.bool_]:
    store = store_of(clip)
    return upsample_binary(store.read(1, frame).logits, *clip.size)


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def baked_alpha(clip: bpy.types.MovieClip, frame: int) -> NDArray[np.bool_]:
    bpy.ops.sam2_splat.bake()
    images = sorted(Path(clip.sam2_splat.output_folder).glob("*.png"))
    return np.asarray(Image.open(images[frame - 1]))[..., 3] > 0


def test_back_to_sam2s_mask_drops_the_edit_of_this_frame_alone(
    clip: bpy.types.MovieClip,
) -> None:
    draw_triangle(clip, 2)
    draw_triangle(clip, 3)
    assert edited(clip) == (2, 3)
    assert bpy.ops.sam2_splat.restore_mask() == {"FINISHED"}
    assert edited(clip) == (3,)
    assert overlap(shown(clip, 2), stored(clip, 2)) > 0.97
    assert np.array_equal(baked_alpha(clip, 2), stored(clip, 2))


def test_back_to_sam2s_mask_works_after_the_edit_went_through_a_propagation(
    clip: bpy.types.MovieClip,
) -> None:
    # The layer's splines were then planned with the drawn outline, not with SAM 2's.
    draw_triangle(clip, 2)
    build_layers(clip)
    assert edited(clip) == (2,)
    bpy.ops.sam2_splat.restore_mask()
    assert edited(clip) == ()
    assert overlap(shown(clip, 2), stored(clip, 2)) > 0.97


def test_an_edited_mask_becomes_a_prompt_that_is_saved_and_propagated(
    clip: bpy.types.MovieClip, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import markers

    triangle = draw_triangle(clip, 2)
    before = stored(clip, 2)
    assert bpy.ops.sam2_splat.mask_to_prompt() == {"FINISHED"}
    path = str(tmp_path / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    (clip,) = bpy.data.movieclips
    (entry,) = markers.collect(clip).objects
    (prompt,) = (frame for frame in entry.frames if frame.frame == 2)
    assert prompt.mask is not None
    assert overlap(prompt.mask.to_array(), triangle) > 0.99
    bpy.ops.sam2_splat.propagate()
    assert overlap(stored(clip, 2), triangle) > overlap(before, triangle) + 0.1
    assert edited(clip) == (2,)
    bpy.context.scene.active_clip = clip
    bpy.context.scene.frame_current = 2
    assert bpy.ops.sam2_splat.remove_mask_prompt() == {"FINISHED"}
    assert not bpy.ops.sam2_splat.remove_mask_prompt.poll()
    assert clip.sam2_splat.mask_prompts == ""


def test_an_empty_mask_is_no_prompt(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.clear_masks(what="FRAME")
    with pytest.raises(RuntimeError, match="no mask on this photo"):
        bpy.ops.sam2_splat.mask_to_prompt()


def test_a_cleared_frame_is_empty_stays_so_and_comes_back(clip: bpy.types.MovieClip) -> None:
    assert shown(clip, 2).any()
    assert bpy.ops.sam2_splat.clear_masks(what="FRAME") == {"FINISHED"}
    assert edited(clip) == (2,)
    assert not shown(clip, 2).any()
    assert shown(clip, 1).any()
    assert not baked_alpha(clip, 2).any()
    build_layers(clip)
    assert not shown(clip, 2).any()
    bpy.ops.sam2_splat.restore_mask()
    assert overlap(shown(clip, 2), stored(clip, 2)) > 0.97


@pytest.mark.parametrize("what", ["OBJECT", "ALL"])
def test_a_cleared_object_comes_back_with_undo(clip: bpy.types.MovieClip, what: str) -> None:
    store = store_of(clip)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.sam2_splat.clear_masks(what=what)
    bpy.ops.ed.undo_push(message="clear")
    assert "square" not in clip.sam2_splat.mask.layers
    assert store.frames(1) == []
    assert len(clip.tracking.objects["square"].tracks) == 1
    bpy.ops.ed.undo()
    (clip,) = bpy.data.movieclips
    assert "square" in clip.sam2_splat.mask.layers
    assert store.frames(1) == [1, 2, 3]
    bpy.ops.ed.redo()
    assert store.frames(1) == []


def test_a_cleared_object_can_be_propagated_anew_and_then_nothing_lies_aside(
    clip: bpy.types.MovieClip,
) -> None:
    store = store_of(clip)
    bpy.ops.sam2_splat.clear_masks(what="OBJECT")
    assert store.aside() == [1]
    bpy.ops.sam2_splat.propagate()
    assert store.frames(1) == [1, 2, 3]
    assert store.aside() == []
    assert clip.sam2_splat_cleared == ""
    assert shown(clip, 2).any()


@pytest.mark.parametrize("learn", [True, False])
def test_the_frames_around_an_edited_one_follow_it_when_asked_to(
    learn: bool, clip: bpy.types.MovieClip
) -> None:
    from sam2_splat_addon.core.mattes.run_manifest import read_manifest

    triangle = draw_triangle(clip, 2)
    clip.sam2_splat.edits_prompt = learn
    bpy.ops.sam2_splat.propagate(span="forward")
    manifest = read_manifest(store_of(clip).manifest_path)
    assert manifest is not None
    masks = [one.mask for one in manifest.prompts.objects[0].frames if one.frame == 2]
    assert [overlap(mask.to_array(), triangle) > 0.99 for mask in masks] == [True] * learn
    assert store_of(clip).read(1, 2).prompted == learn
    assert edited(clip) == (2,)
    assert overlap(shown(clip, 2), triangle) > 0.99


def test_an_edit_without_a_key_is_noticed_on_the_shown_frame(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import user_masks as drawn
    from sam2_splat_addon.blender.masks import edit_search, keys
    from sam2_splat_addon.core.errors import EditError

    clip = masked_clip(make_photos(count=3), ["chair", "lamp"])
    mask = clip.sam2_splat.mask
    bpy.context.scene.frame_set(2)
    keys.show_keys(mask)
    drawn.require_keyed(clip)
    points = mask.layers["lamp"].splines[0].points
    points[0].co = (0.5, 0.5)
    assert edit_search.unkeyed(mask, ["chair", "lamp"], 2) == ["lamp"]
    with pytest.raises(EditError, match=r"The mask of lamp was changed.*Press I"):
        drawn.require_keyed(clip)
    assert tuple(points[0].co) == (0.5, 0.5)
    keys.show_keys(mask)
    drawn.require_keyed(clip)
