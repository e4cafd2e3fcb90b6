# SPDX-License-Identifier: GPL-3.0-or-later
"""Markers become prompts and prompts become markers, to the pixel."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from sam2_splat_addon.core.errors import PromptError
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture(params=[(120, 180), (180, 120)], ids=["portrait", "landscape"])
def clip(request: pytest.FixtureRequest, make_photos: Callable[..., Path]) -> bpy.types.MovieClip:
    from sam2_splat_addon.blender.clip import loading

    return loading.load(make_photos(size=request.param))


def collect(clip: bpy.types.MovieClip) -> PromptSet:
    from sam2_splat_addon.blender.clip import markers

    return markers.collect(clip)


def click(
    owner: bpy.types.MovieTrackingObject, frame: int, co: tuple[float, float], name: str = "Track"
) -> bpy.types.MovieTrackingTrack:
    """Make what a Ctrl+click makes."""
    track = owner.tracks.new(name=name, frame=frame)
    track.markers.insert_frame(frame, co=co)
    return track


def test_a_marker_on_a_pixels_center_is_a_point_on_that_center(clip: bpy.types.MovieClip) -> None:
    width, height = clip.size
    owner = clip.tracking.objects.new("chair")
    click(owner, 2, (10.5 / width, 1.0 - 20.5 / height))
    (entry,) = collect(clip).objects
    (frame,) = entry.frames
    assert (entry.name, frame.frame) == ("chair", 2)
    assert frame.points[0].include
    assert (frame.points[0].x, frame.points[0].y) == pytest.approx((10.5, 20.5), abs=1e-4)


def test_a_name_with_a_minus_excludes(clip: bpy.types.MovieClip) -> None:
    owner = clip.tracking.objects.new("chair")
    click(owner, 1, (0.5, 0.5))
    click(owner, 1, (0.1, 0.1), name="-floor")
    points = collect(clip).objects[0].frames[0].points
    assert [point.include for point in points] == [True, False]


def test_muted_and_tracked_markers_are_no_clicks(clip: bpy.types.MovieClip) -> None:
    owner = clip.tracking.objects.new("chair")
    track = click(owner, 1, (0.5, 0.5))
    track.markers.insert_frame(3, co=(0.4, 0.4)).mute = True
    track.markers.insert_frame(4, co=(0.3, 0.3)).is_keyed = False
    assert [frame.frame for frame in collect(clip).objects[0].frames] == [1]


def test_one_track_with_two_markers_prompts_two_frames(clip: bpy.types.MovieClip) -> None:
    track = click(clip.tracking.objects.new("chair"), 1, (0.5, 0.5))
    track.markers.insert_frame(3, co=(0.4, 0.4))
    assert [frame.frame for frame in collect(clip).objects[0].frames] == [1, 3]


def test_plain_clicks_without_an_object_are_the_subject(clip: bpy.types.MovieClip) -> None:
    click(clip.tracking.objects["Camera"], 1, (0.5, 0.5))
    assert [entry.name for entry in collect(clip).objects] == ["Subject"]


def test_the_cameras_tracks_do_not_count_beside_an_object(clip: bpy.types.MovieClip) -> None:
    click(clip.tracking.objects["Camera"], 1, (0.5, 0.5))
    click(clip.tracking.objects.new("chair"), 1, (0.5, 0.5))
    assert [entry.name for entry in collect(clip).objects] == ["chair"]


def test_a_second_subject_does_not_take_the_place_of_the_first(clip: bpy.types.MovieClip) -> None:
    click(clip.tracking.objects["Camera"], 1, (0.5, 0.5))
    assert {e.name: e.id for e in collect(clip).objects} == {"Subject": 1}
    click(clip.tracking.objects.new("lamp"), 1, (0.25, 0.5))
    assert {e.name: e.id for e in collect(clip).objects} == {"Subject": 1, "lamp": 2}


def test_no_click_is_an_error_that_says_what_to_do(clip: bpy.types.MovieClip) -> None:
    clip.tracking.objects.new("chair")
    with pytest.raises(PromptError, match=r"Ctrl\+click"):
        collect(clip)


def test_ids_stay_when_an_object_is_renamed_or_another_removed(clip: bpy.types.MovieClip) -> None:
    objects = clip.tracking.objects
    for name in ("one", "two", "three"):
        click(objects.new(name), 1, (0.5, 0.5))
    assert {e.name: e.id for e in collect(clip).objects} == {"one": 1, "two": 2, "three": 3}
    objects["two"].name = "second"
    assert {e.name: e.id for e in collect(clip).objects} == {"one": 1, "second": 2, "three": 3}
    objects.remove(objects["one"])
    assert {e.name: e.id for e in collect(clip).objects} == {"second": 2, "three": 3}


def test_two_objects_renamed_at_once_keep_their_ids(clip: bpy.types.MovieClip) -> None:
    objects = clip.tracking.objects
    for name in ("one", "two", "three"):
        click(objects.new(name), 1, (0.5, 0.5))
    collect(clip)
    objects["one"].name, objects["three"].name = "first", "third"
    assert {e.name: e.id for e in collect(clip).objects} == {"first": 1, "two": 2, "third": 3}


def test_an_object_in_a_deleted_ones_place_gets_an_id_of_its_own(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import markers

    objects = clip.tracking.objects
    for name in ("one", "two"):
        click(objects.new(name), 1, (0.5, 0.5))
    collect(clip)
    objects.remove(objects["two"])
    objects.new("other")
    assert markers.sync_objects(clip) == {"one": 1, "other": 3}
    objects.remove(objects["one"])
    click(objects.new("another"), 1, (0.5, 0.5))
    assert markers.sync_objects(clip) == {"other": 3, "another": 4}


def test_prompts_survive_the_way_through_markers(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import markers

    width, height = clip.size
    mask = np.zeros((height, width), dtype=bool)
    mask[20:40, 30:50] = True
    wanted = PromptSet(
        (
            ObjectPrompts(
                2,
                "chair",
                (
                    FramePrompts(1, (PointPrompt(60.5, 80.25), PointPrompt(5.5, 6.5, False))),
                    FramePrompts(
                        4, (PointPrompt(33.0, 44.0),), BoxPrompt(10, 20, 100, 110), anew=True
                    ),
                ),
            ),
            ObjectPrompts(
                5,
                "lamp",
                (FramePrompts(2, (PointPrompt(1.5, 1.5),), mask=MaskPrompt.from_array(mask)),),
            ),
        ),
        width,
        height,
    )
    markers.apply(clip, wanted)
    found = collect(clip)
    assert [(e.id, e.name) for e in found.objects] == [(2, "chair"), (5, "lamp")]
    for expected, actual in zip(wanted.objects, found.objects, strict=True):
        for left, right in zip(expected.frames, actual.frames, strict=True):
            assert (left.frame, left.mask, left.anew) == (right.frame, right.mask, right.anew)
            assert [p.include for p in left.points] == [p.include for p in right.points]
            assert [(p.x, p.y) for p in right.points] == [
                pytest.approx((p.x, p.y), abs=1e-3) for p in left.points
            ]
            assert (left.box is None) == (right.box is None)
            if left.box is not None and right.box is not None:
                corners = (right.box.x0, right.box.y0, right.box.x1, right.box.y1)
                assert corners == pytest.approx((10, 20, 100, 110), abs=1e-3)


def test_added_prompts_keep_what_the_user_said_of_a_photo(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import markers

    width, height = clip.size
    click(clip.tracking.objects.new("chair"), 1, (0.5, 0.5))
    own = collect(clip).objects[0]
    inside = np.zeros((height // 2, width // 2), bool)
    inside[10:30, 20:40] = True
    mask = FramePrompts(3, mask=MaskPrompt.from_array(inside))
    more = (FramePrompts(1, (PointPrompt(5.5, 6.5),)), FramePrompts(2, (PointPrompt(7.5, 8.5),)))
    for _ in range(2):  # the second time nothing is new
        markers.add(clip, PromptSet((ObjectPrompts(own.id, "chair", (*more, mask)),)))
        (entry,) = collect(clip).objects
        assert [frame.frame for frame in entry.frames] == [1, 2, 3]
        assert entry.frames[0] == own.frames[0]
        assert entry.frames[1].points[0].x == pytest.approx(7.5, abs=1e-4)
        assert entry.frames[2] == mask


def test_applying_twice_replaces(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import markers

    for x in (10.5, 20.5):
        frames = (FramePrompts(1, (PointPrompt(x, 9.5),)),)
        markers.apply(clip, PromptSet((ObjectPrompts(1, "chair", frames),)))
    (entry,) = collect(clip).objects
    assert entry.frames[0].points[0].x == pytest.approx(20.5, abs=1e-4)
    assert len(entry.frames[0].points) == 1


def test_a_marker_lies_where_blender_says_the_pixel_is(clip: bpy.types.MovieClip) -> None:
    """A marker's ``co`` agrees with the pixels of Blender's image, whose row 0 is the bottom row."""
    width, height = clip.size
    image: Any = bpy.data.images.load(bpy.path.abspath(clip.filepath))
    pixels = np.array(image.pixels[:]).reshape(height, width, 4)
    # The bright square begins at (width // 4, height // 3) in stored pixels, top row first.
    x, y = width // 4 + 10.5, height // 3 + 10.5
    click(clip.tracking.objects.new("square"), 1, (x / width, 1.0 - y / height))
    point = collect(clip).objects[0].frames[0].points[0]
    row_from_bottom = height - 1 - int(point.y)
    assert pixels[row_from_bottom, int(point.x), 0] > 0.6
    assert pixels[height - 1 - (height // 3 - 12), int(point.x), 0] < 0.4


def test_four_times_the_clicks_take_about_four_times_as_long(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import markers

    width, height = clip.size
    seconds = {}
    for clicks in (500, 2000):
        points = tuple(
            PointPrompt(0.5 + 7 * at % width, 0.5 + 11 * at % height, at % 3 > 0)
            for at in range(clicks)
        )
        prompts = PromptSet((ObjectPrompts(1, "chair", (FramePrompts(1, points),)),), width, height)
        begin = time.process_time()
        markers.apply(clip, prompts)
        found = markers.collect(clip)
        seconds[clicks] = time.process_time() - begin
        assert len(found.objects[0].frames[0].points) == clicks
    assert seconds[2000] < 9 * seconds[500] + 0.05  # quadratic time would be 16 times
