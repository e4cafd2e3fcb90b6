# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare mask layers with Blender's own compositor, and read outlines back from layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_splat_addon.blender.masks import edit_search, keys, layers, written_layers
from sam2_splat_addon.core.errors import SplatError
from sam2_splat_addon.core.geometry.rasterize import fill
from sam2_splat_addon.core.geometry.spline_slots import SlotPlan
from sam2_splat_addon.core.geometry.trace import from_outlines, trace
from tests.blender.compositor import MaskRenderer
from tests.core.shapes import (
    HARD_SHAPES,
    disc,
    intersection_over_union,
    logits_of,
    matte_of,
    nothing,
    plan_slots,
)

Logits = NDArray[np.float64]
MakeClip = Callable[[int, int], bpy.types.MovieClip]


def _plan(frames: list[Logits], width: int, height: int) -> SlotPlan:
    return plan_slots(trace(logits, width, height) for logits in frames)


def write_object_layer(
    mask: bpy.types.Mask,
    clip: bpy.types.MovieClip,
    name: str,
    plan: SlotPlan,
    scene_frames: Sequence[int],
    size: tuple[int, int],
    **options: Any,
) -> Iterator[Sequence[int]]:
    """Write the layer of one object in steps."""
    one = layers.LayerPlan(name, plan, scene_frames, **options)
    return layers.write_object_layers(mask, clip, [one], size)


def _write(
    clip: bpy.types.MovieClip,
    frames: list[Logits],
    *,
    first: int = 1,
    name: str = "chair",
    **options: Any,
) -> bpy.types.Mask:
    size = (int(clip.size[0]), int(clip.size[1]))
    mask = layers.get_mask(clip)
    plan = _plan(frames, *size)
    scene_frames = range(first, first + len(frames))
    for _ in write_object_layer(mask, clip, name, plan, scene_frames, size, **options):
        pass
    return mask


@pytest.fixture
def a_key_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step of writing set one key."""
    monkeypatch.setattr(layers, "_SLICE", 0.0)


def _next_frame(writing: Iterator[Sequence[int]]) -> int:
    """Return the next frame that is written, and skip steps that write none."""
    (frame,) = next(frames for frames in writing if frames)
    return frame


def _points(mask: bpy.types.Mask, frame: int, name: str = "chair") -> list[list[float]]:
    bpy.context.scene.frame_set(frame)
    return [spline.co.ravel().tolist() for spline in keys.layer_state(mask.layers[name])]


def _straight(points: NDArray[np.float32]) -> keys.SplineState:
    return keys.SplineState(points, points, points, cyclic=True)


def _edit_point(mask: bpy.types.Mask, clip: bpy.types.MovieClip, frame: int, by: float) -> None:
    """Move one point and set a key, as a user would."""
    layer = mask.layers["chair"]
    bpy.context.scene.frame_set(frame)
    point = layer.splines[0].points[0]
    point.co = (point.co[0] + by, point.co[1] + by)
    with keys.mask_editor(mask, layer, clip):
        assert bpy.ops.mask.shape_key_insert() == {"FINISHED"}


@pytest.mark.parametrize("size", [(300, 450), (450, 300)], ids=["portrait", "landscape"])
def test_layer_rendered_by_blender_agrees_with_the_matte_on_every_hard_shape(
    make_clip: MakeClip, tmp_path: Path, size: tuple[int, int]
) -> None:
    frames = [logits_of(shape) for shape in HARD_SHAPES.values()]
    mask = _write(make_clip(*size), frames, first=10)
    renderer = MaskRenderer(mask, *size, tmp_path)
    for frame, (name, logits) in enumerate(zip(HARD_SHAPES, frames, strict=True), start=10):
        rendered, matte = renderer.matte(frame), matte_of(logits, *size)
        if not matte.any():
            assert renderer.values(frame).max() == 0.0, name
        assert intersection_over_union(rendered, matte) >= 0.99, name


def test_frames_without_the_object_and_outside_the_tracked_range_render_nothing(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip(90, 60)
    frames = [logits_of(shape) for shape in (disc(0.5, 0.5, 0.3), nothing, disc(0.4, 0.5, 0.3))]
    mask = layers.get_mask(clip)
    plan = _plan(frames, 90, 60)
    for _ in write_object_layer(mask, clip, "chair", plan, [5, 6, 9], (90, 60)):
        pass
    renderer = MaskRenderer(mask, 90, 60, tmp_path)
    covered = [frame for frame in (-20, 4, 5, 6, 7, 8, 9, 10, 200) if renderer.values(frame).any()]
    assert covered == [5, 9]


def test_object_that_is_nowhere_gives_an_empty_layer(make_clip: MakeClip, tmp_path: Path) -> None:
    mask = _write(make_clip(60, 90), [logits_of(nothing)] * 3)
    assert len(mask.layers["chair"].splines) == 0
    assert MaskRenderer(mask, 60, 90, tmp_path).values(2).max() == 0.0
    assert edit_search.edited_frames(mask, "chair") == ()


def test_reading_back_gives_what_was_written(make_clip: MakeClip) -> None:
    size = (300, 450)
    shapes = ["ring", "two_parts", "nested"]
    frames = [logits_of(HARD_SHAPES[name]) for name in shapes]
    clip = make_clip(*size)
    mask = _write(clip, frames, first=3)
    plan = _plan(frames, *size)
    for index, frame in enumerate((3, 4, 5)):
        outlines = layers.read_object_layer(mask, "chair", frame, size)
        assert len(outlines) == int(plan.present(index).sum())
        stops = np.cumsum([slot.count for slot in plan.slots])[:-1]
        written = fill(np.split(plan.points(index, *size), stops), *size)
        assert intersection_over_union(fill(outlines, *size), written) > 0.9999
    assert layers.read_object_layer(mask, "chair", 6, size) == []
    assert layers.read_object_layer(mask, "table", 3, size) == []


def test_reading_back_curved_edges_agrees_with_the_compositor(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    size = (300, 200)
    clip = make_clip(*size)
    mask = layers.get_mask(clip)
    layer = mask.layers.new(name="chair")
    layer.use_fill_holes = True
    for radius, turn in ((0.3, 1), (0.1, -1)):
        spline = layer.splines.new()
        spline.points.add(3)
        spline.use_cyclic = True
        for point, (x, y) in zip(spline.points, [(0, 1), (-1, 0), (0, -1), (1, 0)], strict=True):
            point.handle_type = "FREE"
            point.co = (0.5 + radius * x * turn, 0.5 + radius * y)
            ahead = (-radius * y * 0.5 * turn, radius * x * 0.5)
            point.handle_left = (point.co[0] - ahead[0], point.co[1] - ahead[1])
            point.handle_right = (point.co[0] + ahead[0], point.co[1] + ahead[1])
    outlines = layers.read_object_layer(mask, "chair", 1, size)
    rendered = MaskRenderer(mask, *size, tmp_path).matte(1)
    assert intersection_over_union(fill(outlines, *size), rendered) > 0.999


def test_one_edited_point_makes_that_frame_alone_an_edited_one(make_clip: MakeClip) -> None:
    clip = make_clip(300, 200)
    frames = [logits_of(disc(0.4 + 0.02 * step, 0.5, 0.2)) for step in range(6)]
    mask = _write(clip, frames)
    assert edit_search.edited_frames(mask, "chair") == ()
    before = [layers.read_object_layer(mask, "chair", f, (300, 200)) for f in (3, 4, 5)]
    _edit_point(mask, clip, 4, 0.05)
    assert edit_search.edited_frames(mask, "chair") == (4,)
    after = [layers.read_object_layer(mask, "chair", f, (300, 200)) for f in (3, 4, 5)]
    assert np.array_equal(before[0][0], after[0][0])
    assert not np.array_equal(before[1][0], after[1][0])
    assert np.array_equal(before[2][0], after[2][0])


def test_smallest_edit_that_blender_stores_is_found(make_clip: MakeClip) -> None:
    clip = make_clip(300, 200)
    mask = _write(clip, [logits_of(disc(0.5, 0.5, 0.2))] * 2)
    _edit_point(mask, clip, 2, 1e-6)
    assert edit_search.edited_frames(mask, "chair") == (2,)


def test_edits_survive_saving_and_loading(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip(120, 80)
    mask = _write(clip, [logits_of(disc(0.5, 0.5, 0.2))] * 3)
    _edit_point(mask, clip, 2, 0.05)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    mask = bpy.data.movieclips[0].sam2_splat.mask
    assert edit_search.edited_frames(mask, "chair") == (2,)


def test_frames_written_as_edited_stay_edited(make_clip: MakeClip) -> None:
    mask = _write(make_clip(120, 80), [logits_of(disc(0.5, 0.5, 0.2))] * 3, edited=[3])
    assert edit_search.edited_frames(mask, "chair") == (3,)


def test_point_added_on_an_edge_is_no_edit_until_it_is_moved() -> None:
    corners = np.array([[0.2, 0.3], [0.7, 0.35], [0.6, 0.8], [0.25, 0.7]], dtype=np.float32)
    middle = ((corners[1] + corners[2]) / 2).astype(np.float32)
    written = written_layers.signature([_straight(corners)])
    added = np.insert(corners, 2, middle, axis=0)
    assert not written_layers.differs([_straight(added)], written)
    added[2] += 0.001
    assert written_layers.differs([_straight(added)], written)


def test_writing_twice_gives_the_same_and_leaves_nothing_behind(make_clip: MakeClip) -> None:
    clip = make_clip(300, 450)
    frames = [logits_of(HARD_SHAPES[name]) for name in ("ring", "nothing", "two_parts")]
    mask = _write(clip, frames)
    first = [_points(mask, frame) for frame in (0, 1, 2, 3, 4)]
    remembered = mask["sam2_splat_written"]["chair"]
    _write(clip, frames)
    assert [_points(mask, frame) for frame in (0, 1, 2, 3, 4)] == first
    assert mask["sam2_splat_written"]["chair"] == remembered
    assert [layer.name for layer in mask.layers] == ["chair"]
    assert len(bpy.data.masks) == 1
    assert len(bpy.data.scenes) == 1


def test_rewritten_layer_keeps_its_place_and_settings_and_others_keep_theirs(
    make_clip: MakeClip,
) -> None:
    clip = make_clip(120, 80)
    frames = [logits_of(disc(0.5, 0.5, 0.2))] * 3
    for name in ("seat", "chair", "table"):
        _write(clip, frames, name=name)
    mask = layers.get_mask(clip)
    mask.layers["chair"].alpha = 0.5
    mask.layers["chair"].blend = "SUBTRACT"
    mask.active_layer_index = 0
    table = _points(mask, 2, "table")
    _write(clip, [logits_of(disc(0.3, 0.5, 0.1))] * 3)
    assert [layer.name for layer in mask.layers] == ["seat", "chair", "table"]
    assert mask.layers["chair"].alpha == 0.5
    assert mask.layers["chair"].blend == "SUBTRACT"
    assert mask.active_layer_index == 0
    assert _points(mask, 2, "table") == table
    assert edit_search.edited_frames(mask, "table") == ()


def test_writing_and_reading_leave_playhead_editors_and_unkeyed_edits_alone(
    make_clip: MakeClip,
) -> None:
    clip = make_clip(120, 80)
    frames = [logits_of(disc(0.4 + 0.05 * step, 0.5, 0.2)) for step in range(4)]
    _write(clip, frames, name="table")
    mask = layers.get_mask(clip)
    scene = bpy.context.scene
    scene.frame_set(3)
    point = mask.layers["table"].splines[0].points[0]
    point.co = (0.125, 0.25)
    areas = [area.ui_type for area in bpy.context.window.screen.areas]
    writing = write_object_layer(
        mask, clip, "chair", _plan(frames, 120, 80), [1, 2, 3, 4], (120, 80)
    )
    for _ in writing:
        # Between two frames the user always sees the frame of the playhead.
        assert scene.frame_current == 3
        assert [area.ui_type for area in bpy.context.window.screen.areas] == areas
        assert mask.layers["table"].splines[0].points[0].co[:] == (0.125, 0.25)
    shown = [spline.co for spline in keys.layer_state(mask.layers["chair"])]
    layers.read_object_layer(mask, "chair", 1, (120, 80))
    edit_search.edited_frames(mask, "chair")
    assert mask.layers["table"].splines[0].points[0].co[:] == (0.125, 0.25)
    again = [spline.co for spline in keys.layer_state(mask.layers["chair"])]
    assert all(np.array_equal(a, b) for a, b in zip(shown, again, strict=True))
    assert scene.frame_current == 3
    scene.frame_set(3)
    keyed = [spline.co for spline in keys.layer_state(mask.layers["chair"])]
    assert all(np.array_equal(a, b) for a, b in zip(shown, keyed, strict=True))


@pytest.mark.usefixtures("a_key_a_step")
def test_writing_that_is_stopped_leaves_the_frames_so_far_and_nothing_after(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip(90, 60)
    frames = [logits_of(disc(0.5, 0.5, 0.3))] * 6
    mask = layers.get_mask(clip)
    writing = write_object_layer(mask, clip, "chair", _plan(frames, 90, 60), range(1, 7), (90, 60))
    assert [_next_frame(writing), _next_frame(writing)] == [1, 2]
    writing.close()
    renderer = MaskRenderer(mask, 90, 60, tmp_path)
    assert [frame for frame in range(8) if renderer.values(frame).any()] == [1, 2]
    assert edit_search.edited_frames(mask, "chair") == ()
    assert bpy.data.scenes.get(".sam2_splat_keys") is None


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.usefixtures("a_key_a_step")
def test_writing_that_is_stopped_before_its_first_frame_leaves_nothing_to_see(
    make_clip: MakeClip, tmp_path: Path, steps: int
) -> None:
    clip = make_clip(90, 60)
    frames = [logits_of(disc(0.5, 0.5, 0.3))] * 3
    mask = layers.get_mask(clip)
    writing = write_object_layer(mask, clip, "chair", _plan(frames, 90, 60), range(1, 4), (90, 60))
    assert [next(writing) for _ in range(steps)] == [(), [], []][:steps]
    writing.close()
    renderer = MaskRenderer(mask, 90, 60, tmp_path)
    assert not any(renderer.values(frame).any() for frame in range(5))
    assert edit_search.edited_frames(mask, "chair") == ()


@pytest.mark.usefixtures("a_key_a_step")
def test_stopped_writing_has_kept_what_the_user_drew(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip(90, 60)
    frames = [logits_of(disc(0.5, 0.5, 0.3))] * 8
    mask = layers.get_mask(clip)
    writing = write_object_layer(
        mask, clip, "chair", _plan(frames, 90, 60), range(1, 9), (90, 60), edited=[5]
    )
    assert [_next_frame(writing), _next_frame(writing)] == [5, 1]
    writing.close()
    renderer = MaskRenderer(mask, 90, 60, tmp_path)
    assert [frame for frame in range(10) if renderer.values(frame).any()] == [1, 5]
    assert edit_search.edited_frames(mask, "chair") == (5,)


@pytest.mark.usefixtures("a_key_a_step")
def test_writing_dropped_after_another_file_was_opened_leaves_that_file_alone(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip(90, 60)
    frames = [logits_of(disc(0.4 + 0.02 * step, 0.5, 0.2)) for step in range(4)]
    _write(clip, frames)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    writing = write_object_layer(
        layers.get_mask(clip), clip, "chair", _plan(frames, 90, 60), range(1, 5), (90, 60)
    )
    _next_frame(writing)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    writing.close()
    mask = bpy.data.movieclips[0].sam2_splat.mask
    assert edit_search.edited_frames(mask, "chair") == ()
    assert all(layers.read_object_layer(mask, "chair", f, (90, 60)) for f in (1, 2, 3, 4))


@pytest.mark.usefixtures("a_key_a_step")
def test_layer_removed_while_it_is_written_is_a_clear_error(make_clip: MakeClip) -> None:
    clip = make_clip(90, 60)
    mask = layers.get_mask(clip)
    plan = _plan([logits_of(disc(0.5, 0.5, 0.3))] * 3, 90, 60)
    writing = write_object_layer(mask, clip, "chair", plan, [1, 2, 3], (90, 60))
    next(writing)
    layers.remove_object_layer(mask, "chair")
    with pytest.raises(SplatError, match="removed while it was being written"):
        next(writing)


@pytest.mark.parametrize("frames_in", [0, 1, 3])
@pytest.mark.usefixtures("a_key_a_step")
def test_an_undo_while_a_layer_is_written_brings_back_the_old_one_with_its_edits(
    make_clip: MakeClip, frames_in: int
) -> None:
    clip = make_clip(90, 60)
    frames = [logits_of(disc(0.5, 0.5, 0.3))] * 4
    mask = _write(clip, frames)
    _edit_point(mask, clip, 2, 0.05)
    bpy.ops.ed.undo_push(message="as it was")
    plan = _plan(frames, 90, 60)
    writing = write_object_layer(mask, clip, "chair", plan, range(1, 5), (90, 60), edited=[2])
    next(writing)
    for _ in range(frames_in):
        _next_frame(writing)
    bpy.ops.ed.undo_push(message="something else")
    bpy.ops.ed.undo()
    with pytest.raises(SplatError, match="changed while it was being written"):
        list(writing)
    assert edit_search.edited_frames(bpy.data.masks[0], "chair") == (2,)


@pytest.mark.usefixtures("a_key_a_step")
def test_a_file_saved_while_a_layer_is_written_takes_nothing_for_the_users(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip(90, 60)
    _write(clip, [logits_of(disc(0.5, 0.5, 0.3))] * 6)
    mask = layers.get_mask(clip)
    _edit_point(mask, clip, 4, 0.05)
    other = [logits_of(disc(0.4, 0.5, 0.2))] * 6
    writing = write_object_layer(
        mask, clip, "chair", _plan(other, 90, 60), range(1, 7), (90, 60), edited=[4]
    )
    assert [_next_frame(writing), _next_frame(writing)] == [4, 1]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "half.blend"), copy=True)
    writing.close()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "half.blend"))
    mask = bpy.data.movieclips[0].sam2_splat.mask
    assert edit_search.edited_frames(mask, "chair") == (4,)


def test_removing_and_renaming_a_layer_take_what_is_remembered_along(make_clip: MakeClip) -> None:
    clip = make_clip(120, 80)
    mask = _write(clip, [logits_of(disc(0.5, 0.5, 0.2))] * 3)
    _edit_point(mask, clip, 2, 0.05)
    layers.rename_object_layer(mask, "chair", "stool")
    assert edit_search.edited_frames(mask, "stool") == (2,)
    layers.remove_object_layer(mask, "stool")
    assert len(mask.layers) == 0
    assert edit_search.edited_frames(mask, "stool") == ()
    layers.remove_object_layer(mask, "stool")


def test_clip_has_one_mask(make_clip: MakeClip) -> None:
    clip = make_clip(120, 80)
    assert layers.get_mask(clip) == layers.get_mask(clip)
    assert len(bpy.data.masks) == 1


def test_a_layer_takes_no_more_memory_than_blender_keeps_of_its_keys(make_clip: MakeClip) -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("This system does not tell how much memory is held.")

    def held() -> int:
        lines = status.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])

    frames, clip = 120, make_clip(300, 200)
    turning = [
        np.stack([150 + 90 * np.cos(angle), 100 - 90 * np.sin(angle)], axis=1)
        for angle in np.linspace(0, 2 * np.pi, frames)[:, None] + np.arange(1000) * 2 * np.pi / 1000
    ]
    plan = plan_slots((from_outlines([one]) for one in turning), max_points=1000)
    mask = layers.get_mask(clip)
    before = held()
    for _ in write_object_layer(mask, clip, "chair", plan, range(1, frames + 1), (300, 200)):
        pass
    points = plan.point_count * frames
    # The keys, the copy that Blender evaluates, and one or two temporary copies.
    assert held() - before < 5 * 32 * points + 20_000_000


def test_blender_copies_a_mask_anew_whose_layers_came_or_went(make_clip: MakeClip) -> None:
    """Else Blender writes the points of the old copy past the end of the new layers' memory."""
    clip = make_clip(120, 90)

    def shapes(mask: bpy.types.Mask) -> list[tuple[str, list[int]]]:
        return [
            (layer.name, [len(spline.points) for spline in layer.splines]) for layer in mask.layers
        ]

    def evaluated(mask: bpy.types.Mask) -> list[tuple[str, list[int]]]:
        bpy.context.view_layer.update()
        return shapes(mask.evaluated_get(bpy.context.evaluated_depsgraph_get()))

    mask = _write(clip, [logits_of(disc(0.5, 0.5, 0.4))] * 2, name="large")
    _write(clip, [logits_of(disc(0.5, 0.5, 0.1))] * 2, name="small")
    assert evaluated(mask) == shapes(mask)
    layers.remove_object_layer(mask, "large")
    assert [name for name, _ in shapes(mask)] == ["small"]
    assert evaluated(mask) == shapes(mask)
    bpy.context.scene.frame_set(2)
    _write(clip, [logits_of(nothing)], name="none")
    assert [name for name, _ in shapes(mask)] == ["small", "none"]
    assert evaluated(mask) == shapes(mask)
    bpy.context.scene.frame_set(1)
    keys.add_splines(keys.add_layer(mask, "one"), (1,))
    assert evaluated(mask) == shapes(mask)
