# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool's operators, called from a script. Real mouse clicks are in tests/window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.prompts import BoxPrompt, FramePrompts

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def clip(make_photos: Callable[..., Path]) -> bpy.types.MovieClip:
    """Three photos that were loaded with the button."""
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=3)))
    return present(bpy.context.scene.active_clip)


def prompts(clip: bpy.types.MovieClip, frame: int) -> dict[str, FramePrompts]:
    from sam2_splat_addon.blender.clip import markers

    return markers.on_frame(clip, frame)


def test_the_first_click_makes_an_object_and_the_second_joins_it(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.click(frame=2, x=50.5, y=90.5)
    bpy.ops.sam2_splat.click(frame=2, x=10.5, y=12.5, include=False)
    assert [entry.name for entry in clip.sam2_splat.objects] == ["Subject"]
    first, second = prompts(clip, 2)["Subject"].points
    assert (first.include, second.include) == (True, False)
    assert (first.x, first.y) == pytest.approx((50.5, 90.5), abs=1e-3)
    assert (second.x, second.y) == pytest.approx((10.5, 12.5), abs=1e-3)
    assert prompts(clip, 1) == prompts(clip, 3) == {}


def test_a_click_goes_to_the_active_object(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.object_add(name="chair")
    bpy.ops.sam2_splat.object_add(name="lamp")
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    assert list(prompts(clip, 1)) == ["lamp"]


def test_clicks_join_those_that_were_made_without_an_object(clip: bpy.types.MovieClip) -> None:
    track = clip.tracking.objects["Camera"].tracks.new(name="Track", frame=1)
    track.markers.insert_frame(1, co=(0.5, 0.5))
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    assert {name: len(p.points) for name, p in prompts(clip, 1).items()} == {"Subject": 2}


def test_a_box_is_a_box_whichever_way_it_was_dragged_and_a_new_one_replaces_it(
    clip: bpy.types.MovieClip,
) -> None:
    bpy.ops.sam2_splat.click(frame=1, use_box=True, x=5.0, y=6.0, x1=50.0, y1=60.0)
    bpy.ops.sam2_splat.click(frame=1, use_box=True, x=100.0, y=150.0, x1=20.0, y1=30.0)
    box = prompts(clip, 1)["Subject"].box
    assert isinstance(box, BoxPrompt)
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((20, 30, 100, 150), abs=1e-2)


def test_a_click_beside_the_photo_or_the_footage_makes_nothing(clip: bpy.types.MovieClip) -> None:
    assert bpy.ops.sam2_splat.click(frame=1, x=clip.size[0] + 1.0, y=5.0) == {"CANCELLED"}
    assert bpy.ops.sam2_splat.click(frame=4, x=5.0, y=5.0) == {"CANCELLED"}
    assert bpy.ops.sam2_splat.click(frame=1, use_box=True, x=5.0, y=5.0, x1=5.5, y1=9.0) == {
        "CANCELLED"
    }
    assert len(clip.sam2_splat.objects) == 0
    assert all(not len(entry.tracks) for entry in clip.tracking.objects)


def test_include_and_exclude_have_different_colours_and_neither_is_red(
    clip: bpy.types.MovieClip,
) -> None:
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    bpy.ops.sam2_splat.click(frame=1, x=10.5, y=12.5, include=False)
    include, exclude = clip.tracking.objects["Subject"].tracks
    assert include.use_custom_color and exclude.use_custom_color
    assert include.color[:] != exclude.color[:]
    for track in (include, exclude):
        red, green, blue = track.color[:]
        assert red < max(green, blue)


def test_a_removed_objects_id_is_not_given_again(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.object_add(name="chair")
    bpy.ops.sam2_splat.object_add(name="lamp")
    assert clip.sam2_splat.objects["lamp"].object_id == 2
    bpy.ops.sam2_splat.object_remove()
    bpy.ops.sam2_splat.object_add(name="table")
    assert clip.sam2_splat.objects["table"].object_id == 3


def test_the_photo_of_a_frame_is_found_by_its_number(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import footage

    paths = footage.footage_of(clip).paths
    for frame, path in enumerate(paths, start=1):
        photo = footage.photo_of(clip, frame)
        assert photo is not None and photo.resolve() == path
    assert footage.photo_of(clip, 0) is None
    assert footage.photo_of(clip, len(paths) + 1) is None


def test_the_views_follow_each_other_in_a_circle() -> None:
    look = bpy.context.scene.sam2_splat
    seen = []
    for _ in range(5):
        seen.append(look.overlay_mode)
        bpy.ops.sam2_splat.next_view()
    assert seen == ["color", "matte", "cutout", "trainer", "color"]
    bpy.ops.sam2_splat.toggle_masks()
    assert not look.show_overlay
    bpy.ops.sam2_splat.toggle_masks()
    assert look.show_overlay


def test_in_mask_mode_the_tool_is_off_and_choosing_it_goes_back_to_clicks(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.ui.operators import click_targets

    state = bpy.context.window_manager.sam2_splat
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.type = "CLIP_EDITOR"
    space = area.spaces.active
    space.clip = clip
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(area=area, region=region, space_data=space):
        for was_on in (True, False):
            state.use_tool, space.mode = was_on, "MASK"
            assert not click_targets.tool_on(bpy.context)
            bpy.ops.sam2_splat.tool()
            assert state.use_tool
            assert space.mode == "TRACKING"
            assert click_targets.tool_on(bpy.context)
        bpy.ops.sam2_splat.tool()
        assert not state.use_tool
        space.mode = "MASK"
        bpy.ops.sam2_splat.click(frame=1, x=20.0, y=20.0)
        assert space.mode == "TRACKING", "a click of the tool shows the clicks"


def test_a_stroke_is_a_few_clicks_along_its_line(clip: bpy.types.MovieClip) -> None:
    bpy.ops.sam2_splat.click(frame=1, path="10,10 30,10 50,20", include=False)
    bpy.ops.sam2_splat.click(frame=1, path="60,60 nonsense 70,x 999,10 80,90")
    (found,) = prompts(clip, 1).values()
    points = found.points
    assert [point.include for point in points] == [False] * 3 + [True] * 2
    assert [round(point.x) for point in points] == [10, 30, 50, 60, 80]


def test_clicks_of_a_stroke_are_even_and_few() -> None:
    from sam2_splat_addon.blender.ui.operators.click_targets import along

    line = [(0.0, 0.0), (0.0, 30.0), (40.0, 30.0), (40.0, 60.0)]
    assert np.allclose(along(line, 50.0), [(0.0, 25.0), (40.0, 35.0)])
    assert len(along(line, 1.0)) == 5 and len(along(line[:2], 500.0)) == 2


def test_numbers_choose_subjects_while_the_tool_is_on(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import markers

    assert not bpy.ops.sam2_splat.choose_subject.poll(), "the tool is off"
    bpy.ops.sam2_splat.object_add(name="chair")
    bpy.ops.sam2_splat.object_add(name="lamp")
    assert [markers.subject_name(one) for one in markers.subjects(clip)] == ["chair", "lamp"]
