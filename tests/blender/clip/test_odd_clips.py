# SPDX-License-Identifier: GPL-3.0-or-later
"""Unusual clips in other people's files: moved, linked, with an offset, late, or with odd names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.system.steps import at_once
from tests.blender.masked_clip import build_layers, masked_clip

MakePhotos = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("addon")


def saved_elsewhere(folder: Path, name: str = "capture.blend") -> None:
    """Save the file into a folder, close it, and move the folder with all its files."""
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / name))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    shutil.move(folder, folder.with_name("moved"))
    bpy.ops.wm.open_mainfile(filepath=str(folder.with_name("moved") / name))


def test_photos_that_moved_together_with_the_file_are_found(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip
    from sam2_splat_addon.blender.clip import matte_run

    folder = tmp_path / "project"
    folder.mkdir()
    masked_clip(make_photos(name="project/photos"), ("chair",))
    saved_elsewhere(folder)
    clip = present(bpy.context.scene.active_clip)
    assert len(footage_clip.footage_of(clip)) == 4
    store = matte_run.known_store(clip)
    assert store is not None
    assert store.folder == tmp_path / "moved" / "photos" / matte_run.STORE_NAME
    assert len(store.frames(1)) == 4


def test_photos_that_were_moved_alone_are_found_with_the_button_and_clicks_and_masks_stay(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.blender.review import live_review

    folder = make_photos()
    clip = masked_clip(folder, ("chair",))
    prompts = markers.collect(clip)
    shutil.move(folder, tmp_path / "elsewhere")
    with pytest.raises(FootageError, match="does not exist"):
        footage_clip.footage_of(clip)
    few = make_photos(count=3, name="few")
    with pytest.raises(RuntimeError, match="has 3 photos, but 'photos' was made of 4"):
        bpy.ops.sam2_splat.load(filepath=str(few), relink=True)
    bpy.ops.sam2_splat.load(filepath=str(tmp_path / "elsewhere"), relink=True)
    assert list(bpy.data.movieclips) == [clip]
    assert markers.collect(clip) == prompts
    assert footage_clip.footage_of(clip).folder == tmp_path / "elsewhere"
    assert len(live_review.ensure(clip).states()) == 4


def test_a_frame_offset_is_refused_in_a_sentence_and_loading_again_takes_it_off(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip

    folder = make_photos()
    clip = masked_clip(folder, ("chair",))
    clip.frame_offset = 2
    with pytest.raises(FootageError, match="Frame Offset of 2"):
        footage_clip.footage_of(clip)
    bpy.ops.sam2_splat.load(filepath=str(folder))
    assert clip.frame_offset == 0
    assert len(footage_clip.footage_of(clip)) == 4


@pytest.mark.parametrize(
    ("pattern", "first"), [("a_{:04d}.jpg", -2041), ("a_{:04d}.jpg", -1040), ("{}.jpg", -2033)]
)
def test_a_sequence_opened_by_blender_shows_each_photo_on_its_frame(
    make_photos: MakePhotos, pattern: str, first: int
) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip

    folder = make_photos(count=2, name="source")
    for number, photo in enumerate(sorted(folder.iterdir())):
        photo.rename(folder / pattern.format(2041 + first + number))
    begin = folder / pattern.format(2041 + first)
    clip = bpy.data.movieclips.load(str(begin))
    footage = footage_clip.footage_of(clip)
    assert [footage_clip.photo_of(clip, frame) for frame in (1, 2)] == list(footage.paths)
    assert footage.paths[0] == begin


def test_a_linked_clip_can_only_be_looked_at(make_photos: MakePhotos, tmp_path: Path) -> None:
    masked_clip(make_photos(), ("chair",))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    libraries: Any = bpy.data.libraries
    with libraries.load(str(tmp_path / "library.blend"), link=True) as (there, here):
        here.movieclips = there.movieclips
    bpy.context.scene.active_clip = bpy.data.movieclips[0]
    for name in ("object_add", "object_remove", "click", "propagate", "bake", "clear_masks"):
        assert not getattr(bpy.ops.sam2_splat, name).poll(), name
    with pytest.raises(RuntimeError, match="linked from another file"):
        bpy.ops.sam2_splat.propagate()


def test_two_clips_of_equal_names_keep_to_themselves(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.review import live_review

    one = masked_clip(make_photos(name="photos"), ("chair",)).session_uid
    (tmp_path / "other").mkdir()
    two = masked_clip(make_photos(count=3, name="other/photos"), ("chair", "lamp"))
    one_clip = next(clip for clip in bpy.data.movieclips if clip.session_uid == one)
    assert (one_clip.name, two.name) == ("photos", "photos.001")
    assert len(live_review.ensure(one_clip).states()) == 4
    assert len(live_review.ensure(two).states()) == 3
    bpy.context.scene.active_clip = one_clip
    bpy.ops.sam2_splat.clear_masks(what="ALL")
    assert list(one_clip.sam2_splat.mask.layers) == []
    assert two.sam2_splat.mask.layers.keys() == ["chair", "lamp"]


def test_names_in_any_script_and_as_long_as_blender_allows_name_layers_too(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.masks import edit_search, written_layers

    long = "Stühle/" + "ß" * 27
    assert len(long.encode()) <= 63
    clip = masked_clip(make_photos(name="Ümläute & Leerzeichen"), (long, "a.b", 'a\\"b'))
    mask = clip.sam2_splat.mask
    assert mask.layers.keys() == [long, "a.b", 'a\\"b']
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "ü ö.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "ü ö.blend"))
    clip = present(bpy.context.scene.active_clip)
    mask = clip.sam2_splat.mask
    for name in mask.layers.keys():
        assert written_layers.remembered(mask, name) is not None
        assert edit_search.edited_frames(mask, name) == ()
    bpy.ops.sam2_splat.object_remove()
    assert mask.layers.keys() == ["a.b", 'a\\"b']


def test_masks_stand_on_the_clips_own_frames_wherever_it_begins(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.masks import layers, written_layers

    scene = bpy.context.scene
    scene.render.fps = 60
    clip = masked_clip(make_photos(), ("chair",))
    clip.frame_start = 1001
    build_layers(clip)
    mask = clip.sam2_splat.mask
    written = written_layers.remembered(mask, "chair")
    assert written is not None
    assert sorted(written.frames) == list(range(1000, 1006))
    size = (int(clip.size[0]), int(clip.size[1]))
    for frame, is_there in ((999, False), (1001, True), (1004, True), (1006, False)):
        scene.frame_set(frame)
        assert bool(layers.shown_outlines(mask, "chair", frame, size)) == is_there


def test_a_clip_that_begins_elsewhere_later_takes_its_masks_and_edits_along(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import user_masks
    from sam2_splat_addon.blender.masks import single_frame

    clip = masked_clip(make_photos(), ("chair",))
    mask = clip.sam2_splat.mask
    single_frame.empty_frame(mask, clip, "chair", 3)
    clip.frame_start = 101
    assert at_once(user_masks.search(clip.session_uid)) == {"chair": {3}}
    build_layers(clip)
    assert at_once(user_masks.everything(clip.session_uid)) == {"chair": {3: []}}
    assert mask.frame_start == 101
