# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos are added, removed or renamed: what goes along with them, and what is not shown meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from sam2_splat_addon.blender.context import changes
from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.mattes.run_manifest import Machine, RunManifest, write_manifest
from sam2_splat_addon.core.prompts import FramePrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.settings import RunSettings
from tests.blender.masked_clip import build_layers, masked_clip, store_of, write_mattes

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".JPG")


def load_again(folder: Path) -> str:
    """Press Load Photos, and return its report."""
    from sam2_splat_addon.blender.context import task_runner
    from sam2_splat_addon.blender.tasks.load_task import LoadTask

    task = LoadTask(folder)
    task_runner.run_to_end(task)
    return task.summary


def clicked(folder: Path, frames: tuple[int, ...]) -> bpy.types.MovieClip:
    """Make a clip with a click on some frames. The place of each click tells its frame."""
    from sam2_splat_addon.blender.clip import loading
    from sam2_splat_addon.blender.clip import markers as clip_prompts

    clip = loading.load(folder)
    owner = clip.tracking.objects.new("chair")
    for frame in frames:
        clip_prompts.add_point(owner, frame, PointPrompt(10.0 * frame, 20.5), *clip.size)
    clip_prompts.sync_objects(clip)
    return clip


def places(clip: bpy.types.MovieClip) -> dict[int, list[float]]:
    """Frame -> x of its clicks, px."""
    from sam2_splat_addon.blender.clip import markers as clip_prompts

    (entry,) = clip_prompts.collect(clip).objects
    return {one.frame: [round(point.x, 3) for point in one.points] for one in entry.frames}


def test_a_track_of_several_clicks_keeps_those_whose_photos_are_there(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import loading
    from sam2_splat_addon.blender.clip import markers as clip_prompts

    folder = make_photos(count=6)
    clip = loading.load(folder)
    track = clip.tracking.tracks.new(name="Track", frame=1)
    for frame in range(1, 6):
        track.markers.insert_frame(frame, co=(frame / 10, 0.5))
    track.markers.find_frame(5).mute = True
    for photo in (photos(folder)[0], photos(folder)[2]):
        photo.unlink()
    load_again(folder)
    markers = clip.tracking.tracks[0].markers
    found = {marker.frame: round(marker.co[0], 3) for marker in markers if not marker.mute}
    assert found == {1: 0.2, 2: 0.4}
    assert len(clip_prompts.collect(clip).objects[0].frames) == 2


def test_ticks_and_the_chosen_range_go_along(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import approved_frames

    folder = make_photos(count=8)
    clip = clicked(folder, (5,))
    for frame in (2, 5):
        approved_frames.tick(clip, 1, frame, "0123456789abcdef", is_fine=True)
    settings = clip.sam2_splat
    settings.use_range, settings.first_frame, settings.last_frame = True, 3, 6
    for photo in photos(folder)[1:3]:
        photo.unlink()
    load_again(folder)
    assert list(approved_frames.of_clip(clip)[1]) == [3]
    assert (settings.use_range, settings.first_frame, settings.last_frame) == (True, 2, 4)


def _draw(clip: bpy.types.MovieClip, frame: int, by: float) -> None:
    """Move a point of the chair's mask on a frame, as a user would."""
    from sam2_splat_addon.blender.masks import keys

    mask = clip.sam2_splat.mask
    bpy.context.scene.frame_set(frame)
    point = mask.layers["chair"].splines[0].points[0]
    point.co = (point.co[0] + by, point.co[1] + by)
    with keys.mask_editor(mask, mask.layers["chair"], clip):
        assert bpy.ops.mask.shape_key_insert() == {"FINISHED"}


def _propagated(clip: bpy.types.MovieClip) -> None:
    """Write mattes and their manifest, as a propagation does."""
    from sam2_splat_addon.blender.clip import footage as footage_clip

    footage = footage_clip.footage_of(clip)
    width, height = clip.size
    machine = Machine("cpu", "float32", 1, "", {})
    manifest = RunManifest(
        footage.fingerprint(),
        width,
        height,
        len(footage),
        "bundled",
        "",
        RunSettings(),
        machine,
        PromptSet(()),
    )
    write_manifest(store_of(clip).manifest_path, manifest)
    write_mattes(clip)


def test_mattes_of_the_photos_in_another_order_show_nowhere_until_they_are_made_anew(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import matte_cache, matte_run
    from sam2_splat_addon.blender.review import live_review

    def shown(frame: int) -> bool:
        one = matte_cache.matte_of(clip, 1, "chair", frame, None, "bundled")
        return one is not None

    folder = make_photos(count=5)
    clip = masked_clip(folder, ("chair",))
    bpy.context.scene.frame_set(3)
    _propagated(clip)
    changes.mattes_changed(clip.session_uid)
    assert shown(3) and matte_run.last_run(clip) is not None
    assert len(live_review.ensure(clip).states()) == 5
    photos(folder)[1].unlink()
    assert load_again(folder).endswith("Clicks and drawn masks went along. Propagate again")
    assert not shown(3) and matte_run.last_run(clip) is None
    assert live_review.ensure(clip).states() == {}
    _propagated(clip)
    build_layers(clip)
    changes.mattes_changed(clip.session_uid)
    assert shown(3)
    assert len(live_review.ensure(clip).states()) == 5


def test_a_propagation_shows_its_mattes_again_also_of_photos_that_are_back(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import matte_cache

    folder = make_photos(count=3)
    bpy.ops.sam2_splat.load(filepath=str(folder))
    bpy.ops.sam2_splat.click(frame=2, x=50.5, y=90.5)
    clip = present(bpy.context.scene.active_clip)
    bpy.ops.sam2_splat.propagate()
    first = photos(folder)[0]
    data = first.read_bytes()
    for step in (first.unlink, lambda: first.write_bytes(data)):
        step()
        load_again(folder)
        assert not matte_cache.is_tracked(clip, 1, 2)
        if not first.exists():  # the first change is undone with no propagation in between
            continue
        bpy.ops.sam2_splat.propagate()
        assert matte_cache.is_tracked(clip, 1, 2)
    first.unlink()
    load_again(folder)
    bpy.ops.sam2_splat.propagate()
    assert matte_cache.is_tracked(clip, 1, 2) and not matte_cache.is_tracked(clip, 1, 3)


def test_a_preview_of_another_photo_is_forgotten(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import matte_cache
    from sam2_splat_addon.core.mattes.store import MatteScores

    folder = make_photos(count=4)
    clip = clicked(folder, (2,))
    key = (clip.session_uid, 1, 3)
    said = FramePrompts(3, (PointPrompt(5.5, 6.5),))
    values = np.ones((4, 4), np.float16)
    matte_cache.keep_preview(key, said, "model", values, MatteScores(9.0, 0.9, 0.2))
    photos(folder)[0].unlink()
    load_again(folder)
    assert matte_cache.previewed(key, said, "model") is None


def test_loading_the_same_photos_again_and_adding_some_behind_change_nothing(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.masks import edit_search

    folder = make_photos(count=4)
    clip = masked_clip(folder, ("chair",))
    _draw(clip, 3, 0.05)
    remembered = clip.sam2_splat.mask["sam2_splat_written"]["chair"]
    settings = clip.sam2_splat
    settings.use_range, settings.first_frame, settings.last_frame = True, 2, 3
    (folder / "IMG_9999.JPG").write_bytes(photos(folder)[0].read_bytes())
    for _ in range(2):
        load_again(folder)
        assert clip.sam2_splat.mask["sam2_splat_written"]["chair"] == remembered
        assert edit_search.edited_frames(clip.sam2_splat.mask, "chair") == (3,)
        assert (settings.first_frame, settings.last_frame) == (2, 3)
        assert not settings.outdated_run


def test_photos_that_were_all_renamed_keep_their_clicks(make_photos: MakePhotos) -> None:
    folder = make_photos(count=5)
    clip = clicked(folder, (1, 4))
    for number, photo in enumerate(photos(folder)):
        # Each has its own size, as photos of a camera do.
        photo.write_bytes(photo.read_bytes() + bytes(5000 * number))
    load_again(folder)
    photos(folder)[2].unlink()
    for number, photo in enumerate(photos(folder)):
        photo.rename(folder / f"garden {number}.JPG")
    load_again(folder)
    assert places(clip) == {1: [10.0], 3: [40.0]}


def test_photos_gone_from_the_end_take_their_clicks_and_leave_all_else(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip
    from sam2_splat_addon.blender.clip import markers as clip_prompts
    from sam2_splat_addon.blender.clip import matte_cache

    folder = make_photos(count=5)
    clip = masked_clip(folder, ("chair",))
    owner = clip.tracking.objects["chair"]
    for frame in (4, 5):
        clip_prompts.add_point(owner, frame, PointPrompt(10.0 * frame, 20.5), *clip.size)
    _propagated(clip)
    _draw(clip, 5, 0.05)
    for photo in photos(folder)[3:]:
        photo.unlink()
    assert load_again(folder).endswith(
        "Photos at the end, from frame 4 on, are gone. Clicks and drawn masks went along"
        " (2 clicks and 1 drawn mask were on photos that are gone). Propagate again"
    )
    width, height = clip.size
    count = len(footage_clip.footage_of(clip))
    found = clip_prompts.collect(clip).checked(PhotoSizes(width, height), count)
    assert [one.frame for one in found.objects[0].frames] == [1]
    assert matte_cache.matte_of(clip, 1, "chair", 3, None, "bundled") is not None


def test_the_search_for_drawn_masks_leaves_the_window_alive(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import loading
    from sam2_splat_addon.blender.clip.footage import Place
    from sam2_splat_addon.blender.context import preferences
    from sam2_splat_addon.blender.masks import edit_search

    folder = make_photos(count=8)
    clip = masked_clip(folder, ("chair",))
    count = clip.sam2_splat.frame_count
    photos(folder)[0].unlink()
    staged = loading.read_and_stage(Place(folder), preferences.cache_folder())
    opening = loading.open_staged(*staged)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edit_search, "_STEP", 0.0)
        steps = 0
        for _ in opening:
            steps += 1
            assert clip.sam2_splat.frame_count == count, "only the last step changes it"
    assert steps >= count
    assert clip.sam2_splat.frame_count == count - 1


def test_a_clip_of_an_older_file_is_loaded_as_it_was_and_remembers_its_photos_from_then_on(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip

    folder = make_photos(count=5)
    clip = clicked(folder, (3,))
    clip.sam2_splat.photos = ""
    footage_clip.footage_of(clip)
    assert "IMG_2041.JPG" in clip.sam2_splat.photos
    clip.sam2_splat.photos = ""
    photos(folder)[0].unlink()
    load_again(folder)
    assert places(clip) == {3: [30.0]}
    photos(folder)[0].unlink()
    load_again(folder)
    assert places(clip) == {2: [30.0]}


def test_an_undo_of_the_load_brings_clicks_back_and_asks_for_a_load(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip

    folder = make_photos(count=4)
    clicked(folder, (1, 2))
    bpy.ops.ed.undo_push(message="clicks")
    photos(folder)[0].unlink()
    load_again(folder)
    bpy.ops.ed.undo_push(message="load")
    bpy.ops.ed.undo()
    (clip,) = bpy.data.movieclips
    assert places(clip) == {1: [10.0], 2: [20.0]}
    with pytest.raises(FootageError, match="Load the photos again: clicks and drawn masks go"):
        footage_clip.footage_of(clip)
    load_again(folder)
    assert places(clip) == {1: [20.0]}
