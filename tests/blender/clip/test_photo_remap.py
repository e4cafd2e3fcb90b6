# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks stay on their photos when other photos are removed, added or renamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from sam2_splat_addon.core.system.steps import at_once
from tests.blender.masked_clip import build_layers, masked_clip, write_mattes

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]
Loaded = tuple[bpy.types.MovieClip, list[Path]]


@pytest.fixture
def loaded(make_photos: MakePhotos) -> Loaded:
    """Six photos, with prompts of every kind on the second, fourth and fifth photo."""
    from sam2_splat_addon.blender.clip import markers

    folder = make_photos(count=6)
    bpy.ops.sam2_splat.load(filepath=str(folder))
    clip = present(bpy.context.scene.active_clip)
    width, height = clip.size
    mask = np.zeros((height, width), dtype=bool)
    mask[20:40, 30:50] = True
    frames = (
        FramePrompts(2, (PointPrompt(60.5, 80.5), PointPrompt(5.5, 6.5, False))),
        FramePrompts(4, (PointPrompt(33.5, 44.5),), BoxPrompt(10, 20, 100, 110)),
        FramePrompts(5, mask=MaskPrompt.from_array(mask)),
    )
    markers.apply(clip, PromptSet((ObjectPrompts(1, "chair", frames),), width, height))
    return clip, sorted(folder.glob("*.JPG"))


def _prompts(clip: bpy.types.MovieClip) -> dict[int, tuple[int, bool, bool]]:
    """Frame -> number of points, whether there is a box, whether there is a mask."""
    from sam2_splat_addon.blender.clip import markers

    (entry,) = markers.collect(clip).objects
    return {
        at.frame: (len(at.points), at.box is not None, at.mask is not None) for at in entry.frames
    }


def _load(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.load(filepath=clip.sam2_splat.footage_folder)
    assert len(bpy.data.movieclips) == 1


def test_prompts_go_along_when_photos_before_them_go_and_come(loaded: Loaded) -> None:
    clip, photos = loaded
    everything = {2: (2, False, False), 4: (1, True, False), 5: (0, False, True)}
    assert _prompts(clip) == everything
    data = photos[0].read_bytes()
    photos[0].unlink()
    photos[2].unlink()
    _load(clip)
    assert _prompts(clip) == {1: (2, False, False), 2: (1, True, False), 3: (0, False, True)}
    photos[0].write_bytes(data)
    photos[2].write_bytes(data)
    _load(clip)
    assert _prompts(clip) == everything
    for track in clip.tracking.objects["chair"].tracks:
        (frame,) = [marker.frame for marker in track.markers if not marker.mute]
        beside = [marker.frame for marker in track.markers if marker.mute]
        assert beside == [frame - 1, frame + 1]


def test_where_a_subject_starts_anew_goes_along_with_the_photo(loaded: Loaded) -> None:
    from sam2_splat_addon.blender.clip import anew_frames, markers

    clip, photos = loaded
    for frame in (2, 4):
        anew_frames.mark(clip, 1, frame, anew=True)
    photos[0].unlink()
    photos[1].unlink()
    _load(clip)
    (entry,) = markers.collect(clip).objects
    assert [at.frame for at in entry.frames if at.anew] == [2]
    assert anew_frames.of_object(clip, 1) == {2}


def test_what_was_on_photos_that_are_gone_is_told_and_counts_no_more(
    loaded: Loaded, capfd: pytest.CaptureFixture[str]
) -> None:
    clip, photos = loaded
    photos[1].unlink()
    photos[4].unlink()
    _load(clip)
    assert _prompts(clip) == {3: (1, True, False)}
    said = capfd.readouterr().out
    assert "The photos from frame 2 on are not the same as before" in said
    assert "(3 clicks were on photos that are gone)" in said


def test_masks_that_the_user_drew_go_along_with_their_curves(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import user_masks
    from sam2_splat_addon.blender.masks import edit_search, key_macro, keys

    folder = make_photos(count=5)
    clip = masked_clip(folder, ["chair", "lamp"])
    mask = clip.sam2_splat.mask
    layer = mask.layers["chair"]
    with keys.scratch_scene() as scene:
        for frame in (2, 4, 5):
            points = keys.stacked(keys.keyed_state(scene, mask, "chair", frame))
            points = points * np.float32(1 - frame / 50)
            points[1:] += np.float32(0.01)  # these handles make curves
            with keys.mask_editor(mask, layer, clip):
                key_macro.insert_keys(layer, scene, [(frame, points)])
    assert edit_search.edited_frames(mask, "chair") == (2, 4, 5)
    before = at_once(user_masks.everything(clip.session_uid))["chair"]
    _, second, third, *_ = sorted(folder.glob("*.JPG"))
    second.unlink()
    third.unlink()
    _load(clip)
    found = at_once(user_masks.everything(clip.session_uid))
    assert {name: sorted(frames) for name, frames in found.items()} == {"chair": [2, 3], "lamp": []}
    for old, new in ((4, 2), (5, 3)):
        for one, other in zip(before[old], found["chair"][new], strict=True):
            assert np.array_equal(one, other)
    write_mattes(clip)
    build_layers(clip)
    assert edit_search.edited_frames(mask, "chair") == (2, 3)


def test_photos_that_are_all_renamed_keep_the_clicks_of_their_numbers(loaded: Loaded) -> None:
    clip, photos = loaded
    before = _prompts(clip)
    for at, photo in enumerate(photos):
        photo.rename(photo.with_name(f"renamed_{at}.JPG"))
    _load(clip)
    assert _prompts(clip) == before


def test_a_track_that_blender_tracked_stays_where_it_is(loaded: Loaded) -> None:
    clip, photos = loaded
    track = clip.tracking.objects["chair"].tracks.new(name="tracked", frame=3)
    track.markers.insert_frame(4, co=(0.5, 0.5)).is_keyed = False
    before = [marker.frame for marker in track.markers]
    photos[0].unlink()
    _load(clip)
    assert [marker.frame for marker in track.markers] == before
