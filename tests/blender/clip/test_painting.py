# SPDX-License-Identifier: GPL-3.0-or-later
"""A stroke of the brush changes one photo's mask, which is kept, baked and learnt from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import SplatError
from sam2_splat_addon.core.geometry import rasterize
from sam2_splat_addon.core.geometry.resample import upsample_binary
from tests.blender.masked_clip import build_layers, masked_clip, store_of

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]
FRAMES = 4
HERE = 2
SIZE = (120, 180)
# Above the disc of the first subject.
BEGIN, END = (10.0, 15.0), (110.0, 15.0)


@pytest.fixture
def clip(make_photos: MakePhotos) -> bpy.types.MovieClip:
    """Four frames of two subjects, with the playhead on frame 2."""
    clip = masked_clip(make_photos(count=FRAMES), ("chair", "lamp"))
    bpy.context.scene.frame_set(HERE)
    return clip


def stroke(
    clip: bpy.types.MovieClip,
    *places: tuple[float, float],
    name: str = "chair",
    frame: int = HERE,
    radius: float = 4.0,
    erases: bool = False,
) -> bool:
    """Paint as the operator does. Return whether the mask has changed."""
    from sam2_splat_addon.blender.clip import markers, painting
    from sam2_splat_addon.blender.tasks import local_edits

    markers.sync_objects(clip)
    local_edits.pause(clip)
    painting.begin(clip, name, frame, (0, 0, *SIZE), 1.0, erases=erases)
    for begin, end in zip(places, places[1:] or places, strict=False):
        painting.paint(begin, end, radius)
    shown = painting.shown(clip, clip.sam2_splat.objects[name].object_id, frame)
    assert shown is not None and painting.shown(clip, 99, frame) is None
    x, y = places[-1]
    if 0 <= x < SIZE[0] and 0 <= y < SIZE[1]:
        assert (shown.values[int(y), int(x)] > 0) != erases, "the stroke does not show"
    return painting.finish(clip, name)


def shape(clip: bpy.types.MovieClip, frame: int, name: str = "chair") -> NDArray[np.bool_]:
    """Return what a bake and a propagation read of a layer."""
    from sam2_splat_addon.blender.masks import layers

    outlines = layers.read_object_layer(clip.sam2_splat.mask, name, frame, SIZE)
    return rasterize.fill(outlines, *SIZE)


def edited(clip: bpy.types.MovieClip, name: str = "chair") -> tuple[int, ...]:
    from sam2_splat_addon.blender.masks import edit_search

    return edit_search.edited_frames(clip.sam2_splat.mask, name)


def stored(clip: bpy.types.MovieClip, frame: int, object_id: int = 1) -> NDArray[np.bool_]:
    return upsample_binary(store_of(clip).read(object_id, frame).logits, *SIZE)


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def baked(clip: bpy.types.MovieClip) -> list[NDArray[np.bool_]]:
    bpy.ops.sam2_splat.bake()
    images = sorted(Path(clip.sam2_splat.output_folder).glob("*.png"))
    return [np.asarray(Image.open(image))[..., 3] > 0 for image in images]


def line(radius: float = 4.0) -> NDArray[np.bool_]:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    beside = np.maximum(np.maximum(BEGIN[0] - x, x - END[0]), 0)
    return np.asarray(np.hypot(beside, y - BEGIN[1]) < radius)


def test_a_stroke_adds_to_this_photos_mask_alone_and_is_baked(clip: bpy.types.MovieClip) -> None:
    before = [shape(clip, frame) for frame in range(1, FRAMES + 1)]
    lamp = shape(clip, HERE, "lamp")
    stroke(clip, BEGIN, END)
    wanted = stored(clip, HERE) | line()
    assert overlap(shape(clip, HERE), wanted) > 0.99
    assert edited(clip) == (HERE,) and edited(clip, "lamp") == ()
    here = shape(clip, HERE)
    bpy.context.scene.frame_set(3)  # the layer is written again
    assert edited(clip) == (HERE,)
    assert np.array_equal(shape(clip, HERE), here), "what was painted has lost something"
    assert np.array_equal(shape(clip, HERE, "lamp"), lamp)
    for frame in (1, 3, 4):
        assert overlap(shape(clip, frame), before[frame - 1]) > 0.99
    alphas = baked(clip)
    assert np.array_equal(alphas[HERE - 1], here | stored(clip, HERE, 2))


def test_what_was_painted_is_the_same_after_ten_times_of_writing_and_saving(
    clip: bpy.types.MovieClip, tmp_path: Path
) -> None:
    stroke(clip, BEGIN, END, radius=0.6)
    stroke(clip, (40.0, 90.0), (60.0, 90.0), radius=0.6, erases=True)
    here = shape(clip, HERE)
    for _ in range(5):
        bpy.context.scene.frame_set(3)
        build_layers(clip)
        bpy.context.scene.frame_set(HERE)
        build_layers(clip)
    path = str(tmp_path / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    (clip,) = bpy.data.movieclips
    assert np.array_equal(shape(clip, HERE), here)


def test_the_eraser_makes_holes_and_can_take_all(clip: bpy.types.MovieClip) -> None:
    stroke(clip, (50.0, 90.0), radius=5.0, erases=True)
    assert stored(clip, HERE)[90, 50] and not shape(clip, HERE)[86:94, 47:53].any()
    assert shape(clip, HERE)[90, 40]
    stroke(clip, (0.0, 90.0), (120.0, 90.0), radius=90.0, erases=True)
    assert not shape(clip, HERE).any()
    bpy.context.scene.frame_set(3)
    assert not shape(clip, HERE).any() and edited(clip) == (HERE,)
    stroke(clip, BEGIN, END, frame=3)
    bpy.context.scene.frame_set(HERE)
    stroke(clip, BEGIN, END)
    assert overlap(shape(clip, HERE), line()) > 0.97, "an empty mask can't be painted on"
    assert edited(clip) == (HERE, 3)


def test_many_strokes_lose_nothing_of_the_rest(clip: bpy.types.MovieClip) -> None:
    stroke(clip, BEGIN, END)
    first = shape(clip, HERE)
    for step in range(15):
        x = 10.0 + 5 * step
        stroke(clip, (x, 170.0), (x, 172.0), radius=1.0)
    now = shape(clip, HERE)
    assert now[165:].any()
    assert overlap(now[:150], first[:150]) > 0.999


def test_back_to_sam2s_mask_takes_the_paint_away(clip: bpy.types.MovieClip) -> None:
    for leave in (False, True):
        stroke(clip, BEGIN, END)
        if leave:
            bpy.context.scene.frame_set(3)
            bpy.context.scene.frame_set(HERE)
        clip.tracking.objects.active = clip.tracking.objects["chair"]
        assert bpy.ops.sam2_splat.restore_mask() == {"FINISHED"}
        assert edited(clip) == ()
        assert overlap(shape(clip, HERE), stored(clip, HERE)) > 0.97
        assert np.array_equal(baked(clip)[HERE - 1], stored(clip, HERE) | stored(clip, HERE, 2))


def test_a_photo_without_any_mask_can_be_painted_and_starts_sam2(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import markers

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=3)))
    clip = present(bpy.context.scene.active_clip)
    bpy.ops.sam2_splat.object_add(name="chair")
    bpy.context.scene.frame_set(2)
    stroke(clip, (40.0, 90.0), (60.0, 90.0), frame=2, radius=15.0)
    assert edited(clip) == (2,)
    assert shape(clip, 2)[90, 50]
    bpy.context.scene.frame_set(1)
    stroke(clip, BEGIN, END, frame=1)
    assert edited(clip) == (1, 2)
    assert shape(clip, 2)[90, 50] and not shape(clip, 2)[15, 60]
    assert not shape(clip, 1)[90, 50] and shape(clip, 1)[15, 60]
    (entry,) = markers.collect(clip).objects
    assert [one.frame for one in entry.frames if one.mask is not None] == [2]
    assert baked_photos(clip) == 2


def baked_photos(clip: bpy.types.MovieClip) -> int:
    """Return how many photos a bake leaves something of."""
    return sum(bool(alpha.any()) for alpha in baked(clip))


def test_a_locked_layer_can_not_be_painted(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import painting

    clip.sam2_splat.mask.layers["chair"].hide_select = True
    with pytest.raises(SplatError, match="locked"):
        painting.require_open(clip, "chair")
    painting.require_open(clip, "lamp")


def test_few_points_show_the_same_mask_and_are_no_edit(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import painting
    from sam2_splat_addon.blender.masks import keys

    layer = clip.sam2_splat.mask.layers["chair"]
    before = sum(len(spline.points) for spline in layer.splines)
    count = painting.thin(clip, "chair", HERE)
    layer = clip.sam2_splat.mask.layers["chair"]
    state = keys.layer_state(layer)
    assert count == sum(len(one.co) for one in state) < before / 2
    assert all((one.co > 0).all() and (one.co < 1).all() for one in state), "a parked spline"
    assert overlap(shape(clip, HERE), stored(clip, HERE)) > 0.98
    assert edited(clip) == ()
    bpy.context.scene.frame_set(3)
    assert edited(clip) == ()
    assert np.array_equal(baked(clip)[HERE - 1], stored(clip, HERE) | stored(clip, HERE, 2))
    bpy.context.scene.frame_set(HERE)
    painting.thin(clip, "chair", HERE)
    layer = clip.sam2_splat.mask.layers["chair"]
    with keys.mask_editor(clip.sam2_splat.mask, layer, clip):
        for point in layer.splines[0].points:
            point.co = (point.co[0], point.co[1] + 0.1)
            point.handle_left = point.handle_right = point.co
        assert bpy.ops.mask.shape_key_insert() == {"FINISHED"}
    assert edited(clip) == (HERE,)
    moved = shape(clip, HERE)
    painting.thin(clip, "chair", HERE)  # once more: still the user's
    assert edited(clip) == (HERE,) and overlap(shape(clip, HERE), moved) > 0.99
    moved = shape(clip, HERE)
    bpy.context.scene.frame_set(3)
    assert edited(clip) == (HERE,) and np.array_equal(shape(clip, HERE), moved)
    assert overlap(np.roll(moved, 18, axis=0), stored(clip, HERE)) > 0.95


def test_a_part_is_removed_from_this_photo_alone_and_leaves_no_stray_points(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.clip import painting
    from sam2_splat_addon.blender.masks import keys, single_frame

    before = shape(clip, 3)
    stroke(clip, BEGIN, END)
    painting.thin(clip, "chair", HERE)
    mask = clip.sam2_splat.mask
    state = keys.layer_state(mask.layers["chair"])
    assert len(state) == 2
    top = max(range(2), key=lambda number: float(state[number].co[:, 1].max()))
    single_frame.remove_contours(mask, clip, "chair", HERE, [top])
    state = keys.layer_state(mask.layers["chair"])
    assert len(state) == 1 and (state[0].co > 0).all() and (state[0].co < 1).all()
    here = shape(clip, HERE)
    assert overlap(here, stored(clip, HERE)) > 0.95 and not here[:20].any()
    bpy.context.scene.frame_set(3)
    assert edited(clip) == (HERE,)
    assert np.array_equal(shape(clip, HERE), here)
    assert overlap(shape(clip, 3), before) > 0.99


def test_a_stroke_that_changes_nothing_is_no_edit(clip: bpy.types.MovieClip) -> None:
    assert not stroke(clip, BEGIN, END, erases=True)
    assert not stroke(clip, (50.0, 90.0), (52.0, 90.0), radius=2.0)
    assert edited(clip) == ()
    assert stroke(clip, BEGIN, END)
    assert not stroke(clip, BEGIN, END)
    assert edited(clip) == (HERE,)
