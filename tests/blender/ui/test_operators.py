# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons, called without a window: what they do, and what they say when they can't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.cameras.lens import Lens
from sam2_splat_addon.core.geometry import rasterize

from ...core.cameras.ring import ring, write_colmap
from ..masked_clip import masked_clip

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def load(folder: Path) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(folder))
    return present(bpy.context.scene.active_clip)


def click(clip: bpy.types.MovieClip, name: str, frame: int, x: float, y: float) -> None:
    """Make what a Ctrl+click at (x, y) in px of the photo makes."""
    owner = clip.tracking.objects.get(name) or clip.tracking.objects.new(name)
    track = owner.tracks.new(name="Track", frame=frame)
    track.markers.insert_frame(frame, co=(x / clip.size[0], 1.0 - y / clip.size[1]))


def test_load_propagate_bake_with_plain_clicks(make_photos: MakePhotos) -> None:
    folder = make_photos(count=3)
    clip = load(folder)
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (1, 3)
    click(clip, "Camera", 1, 50.5, 90.5)
    assert bpy.ops.sam2_splat.propagate() == {"FINISHED"}
    assert clip.sam2_splat.mask.layers.keys() == ["Subject"]
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    assert len(list(Path(clip.sam2_splat.output_folder).glob("*.png"))) == 3


def test_propagate_without_a_click_says_where_to_click(make_photos: MakePhotos) -> None:
    load(make_photos(count=2))
    with pytest.raises(RuntimeError, match=r"Ctrl\+click"):
        bpy.ops.sam2_splat.propagate()


def test_bake_before_propagate_says_what_to_press(make_photos: MakePhotos) -> None:
    clip = load(make_photos(count=2))
    click(clip, "square", 1, 50.5, 90.5)
    with pytest.raises(RuntimeError, match="Propagate"):
        bpy.ops.sam2_splat.bake()
    assert not list(Path(clip.sam2_splat.footage_folder).rglob("postshot*"))


def test_two_objects_become_two_layers_and_one_alpha(make_photos: MakePhotos) -> None:
    clip = load(make_photos(count=2))
    click(clip, "square", 1, 50.5, 90.5)
    click(clip, "ground", 2, 10.5, 10.5)
    bpy.ops.sam2_splat.propagate()
    assert sorted(clip.sam2_splat.mask.layers.keys()) == ["ground", "square"]
    for entry in clip.sam2_splat.objects:
        entry.use_in_bake = False
    with pytest.raises(RuntimeError, match="Switch one on"):
        bpy.ops.sam2_splat.bake()


def test_objects_are_added_toggled_and_removed(make_photos: MakePhotos) -> None:
    clip = load(make_photos(count=2))
    bpy.ops.sam2_splat.object_add(name="chair")
    tracking_object = clip.tracking.objects.active
    assert tracking_object.name == "chair"
    track = tracking_object.tracks.new(name="Track", frame=1)
    tracking_object.tracks.active = track
    track.select = True
    bpy.ops.sam2_splat.toggle_exclude()
    assert track.name == "-Track"
    bpy.ops.sam2_splat.toggle_exclude()
    assert track.name == "Track"
    bpy.ops.sam2_splat.object_remove()
    assert "chair" not in clip.tracking.objects
    assert "chair" not in clip.sam2_splat.objects


def test_a_subject_starts_anew_where_clicks_say_where_it_is(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import markers

    def anew() -> list[bool]:
        return [entry.anew for entry in markers.collect(clip).objects[0].frames]

    clip = load(make_photos(count=3))
    for frame in (1, 2):
        click(clip, "square", frame, 50.5, 90.5)
    clip.tracking.objects.active = clip.tracking.objects["square"]
    bpy.context.scene.frame_set(2)
    assert anew() == [False, False]
    bpy.ops.sam2_splat.start_anew()
    assert anew() == [False, True]
    assert markers.on_frame(clip, 2)["square"].anew
    assert not markers.on_frame(clip, 1)["square"].anew
    bpy.ops.sam2_splat.start_anew()
    assert anew() == [False, False]
    assert clip.sam2_splat.anew_frames == ""
    bpy.context.scene.frame_set(3)
    assert not bpy.ops.sam2_splat.start_anew.poll()
    bpy.context.scene.frame_set(1)
    clip.tracking.objects["square"].tracks[0].name = "-Track"
    assert not bpy.ops.sam2_splat.start_anew.poll()


def test_nothing_is_offered_without_a_clip() -> None:
    for name in ("propagate", "bake", "object_add", "start_anew", "clear_results"):
        assert not getattr(bpy.ops.sam2_splat, name).poll()


def test_clear_results_removes_layers_and_mattes_and_keeps_the_clicks(
    make_photos: MakePhotos,
) -> None:
    folder = make_photos(count=2)
    clip = load(folder)
    click(clip, "square", 1, 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    assert list(folder.rglob("*.matte"))
    bpy.ops.sam2_splat.clear_results()
    assert not list(folder.rglob("*.matte"))
    assert len(clip.sam2_splat.mask.layers) == 0
    assert len(clip.tracking.objects["square"].tracks) == 1


def draw_triangle(clip: bpy.types.MovieClip, frame: int) -> np.ndarray:
    """Draw with the first spline of "square", and move the others off the frame, as a user would."""
    from sam2_splat_addon.blender.masks import key_macro, keys
    from sam2_splat_addon.core.geometry.coordinates import pixels_to_mask

    mask = clip.sam2_splat.mask
    layer = mask.layers["square"]
    counts = [len(spline.points) for spline in layer.splines]
    corners = np.array([(20.0, 30.0), (100.0, 30.0), (60.0, 150.0)])
    drawn = np.full((sum(counts), 2), -50.0)
    drawn[: counts[0]] = corners[np.arange(counts[0]) * 3 // counts[0]]
    co = pixels_to_mask(drawn, *clip.size).astype(np.float32)
    with (
        keys.scratch_scene() as scene,
        keys.mask_editor(mask, layer, clip),
    ):
        key_macro.insert_keys(layer, scene, [(frame, co)])
    return corners


def test_an_edited_frame_is_kept_by_the_next_propagation_and_baked(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.masks import edit_search

    clip = load(make_photos(count=3))
    click(clip, "square", 1, 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    mask = clip.sam2_splat.mask
    corners = draw_triangle(clip, 2)
    assert edit_search.edited_frames(mask, "square") == (2,)
    click(clip, "square", 3, 55.5, 95.5)
    bpy.ops.sam2_splat.propagate()
    assert edit_search.edited_frames(mask, "square") == (2,)
    bpy.ops.sam2_splat.bake()
    images = sorted(Path(clip.sam2_splat.output_folder).glob("*.png"))
    alpha = np.asarray(Image.open(images[1]))[..., 3] > 0
    expected = rasterize.fill([corners], *clip.size)
    union = (alpha | expected).sum()
    assert (alpha & expected).sum() / union > 0.97


def test_a_layer_renamed_in_blenders_list_gets_its_name_and_keeps_its_edits(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.masks import edit_search

    clip = load(make_photos(count=2))
    click(clip, "square", 1, 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    mask = clip.sam2_splat.mask
    draw_triangle(clip, 2)
    mask.layers["square"].name = "mine"
    bpy.ops.sam2_splat.propagate()
    assert mask.layers.keys() == ["square"]
    assert edit_search.edited_frames(mask, "square") == (2,)


def test_renaming_an_object_keeps_its_layer(make_photos: MakePhotos) -> None:
    clip = load(make_photos(count=2))
    click(clip, "square", 1, 50.5, 90.5)
    bpy.ops.sam2_splat.propagate()
    clip.tracking.objects["square"].name = "box"
    bpy.ops.sam2_splat.propagate()
    assert clip.sam2_splat.mask.layers.keys() == ["box"]


def test_a_bake_takes_the_cameras_that_the_panel_names(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    clip = masked_clip(make_photos(count=4), ["square"])
    names = sorted(path.name for path in Path(clip.sam2_splat.footage_folder).glob("*.*"))
    width, height = clip.size
    lens = Lens("PINHOLE", width, height, (100.0, 100.0, width / 2, height / 2))
    elsewhere = tmp_path / "kameras 写真"
    write_colmap(elsewhere / "sparse" / "0", ring(4, lens, names))
    clip.sam2_splat.targets = {"colmap"}
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    assert not list(Path(clip.sam2_splat.output_folder).rglob("cameras.bin"))
    for place in (elsewhere, elsewhere / "sparse" / "0"):
        clip.sam2_splat.cameras = str(place)
        assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
        assert list(Path(clip.sam2_splat.output_folder).glob("sparse/0/cameras.*"))
    clip.sam2_splat.cameras = str(tmp_path / "nowhere")
    with pytest.raises(RuntimeError, match="nowhere"):
        bpy.ops.sam2_splat.bake()
