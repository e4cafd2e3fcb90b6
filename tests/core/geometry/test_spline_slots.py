# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots follow their parts through the frames, and together they show the matte."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sam2_splat_addon.core.geometry.rasterize import fill
from sam2_splat_addon.core.geometry.spline_slots import SlotPlan
from sam2_splat_addon.core.geometry.trace import Contour, trace
from tests.core.shapes import (
    HARD_SHAPES,
    Shape,
    disc,
    intersection_over_union,
    logits_of,
    matte_of,
    nothing,
    plan_slots,
    union,
    without,
)

SIZE = (300, 200)


def _trace(shape: Shape, size: tuple[int, int] = SIZE) -> list[Contour]:
    return trace(logits_of(shape), *size)


def _slot_points(plan: SlotPlan, index: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    stops = np.cumsum([slot.count for slot in plan.slots])[:-1]
    return np.split(plan.points(index, *size), stops)


def _middle(points: np.ndarray) -> np.ndarray:
    return (points.min(axis=0) + points.max(axis=0)) / 2


@pytest.mark.parametrize("size", [(300, 450), (450, 300), (1200, 1800)], ids=str)
def test_slots_together_show_the_matte_on_every_frame(size: tuple[int, int]) -> None:
    frames = [logits_of(shape) for shape in HARD_SHAPES.values()]
    plan = plan_slots(trace(logits, *size) for logits in frames)
    assert len(plan) == len(frames)
    for index, logits in enumerate(frames):
        points = _slot_points(plan, index, size)
        filled = fill(points, *size)
        assert intersection_over_union(filled, matte_of(logits, *size)) >= 0.99
        assert [len(part) for part in points] == [slot.count for slot in plan.slots]


def test_parts_that_move_past_each_other_keep_their_slots() -> None:
    frames = [
        union(disc(0.2 + 0.06 * step, 0.35, 0.1), disc(0.8 - 0.06 * step, 0.65, 0.1))
        for step in range(11)
    ]
    plan = plan_slots(_trace(shape) for shape in frames)
    assert len(plan.slots) == 2
    paths = [[_middle(_slot_points(plan, index)[slot]) for index in range(11)] for slot in (0, 1)]
    upper, lower = sorted(paths, key=lambda path: path[0][1])
    for step in range(11):
        assert np.allclose(upper[step], [300 * (0.2 + 0.06 * step), 70], atol=3)
        assert np.allclose(lower[step], [300 * (0.8 - 0.06 * step), 130], atol=3)


def test_equal_parts_that_meet_head_on_keep_their_direction() -> None:
    frames = [
        union(disc(0.2 + 0.06 * step, 0.44, 0.05), disc(0.8 - 0.06 * step, 0.56, 0.05))
        for step in range(11)
    ]
    plan = plan_slots(_trace(shape) for shape in frames)
    xs = np.array([[_middle(part)[0] for part in _slot_points(plan, i)] for i in range(11)])
    moves = np.sign(np.diff(xs, axis=0))
    assert len(plan.slots) == 2
    assert (moves == moves[0]).all()


def test_holes_and_parts_never_share_a_slot() -> None:
    ring = without(disc(0.5, 0.5, 0.3), disc(0.5, 0.5, 0.2))
    plan = plan_slots(_trace(shape) for shape in (ring, disc(0.5, 0.5, 0.2), ring))
    assert [slot.is_hole for slot in plan.slots] == [False, True]
    assert [plan.present(index).tolist() for index in range(3)] == [
        [True, True],
        [True, False],
        [True, True],
    ]


def test_part_that_comes_and_goes_is_parked_outside_the_picture_meanwhile() -> None:
    both, one = union(disc(0.3, 0.5, 0.2), disc(0.8, 0.5, 0.1)), disc(0.3, 0.5, 0.2)
    plan = plan_slots(_trace(shape) for shape in (one, both, one, both))
    assert len(plan.slots) == 2
    assert [plan.present(index).tolist() for index in range(4)] == [
        [True, False],
        [True, True],
        [True, False],
        [True, True],
    ]
    for index in (0, 2):
        away = _slot_points(plan, index)[1]
        assert (away[:, 1] < -1).all()
        assert len(np.unique(away, axis=0)) == len(away)


def test_parked_slots_lie_apart_from_each_other() -> None:
    plan = plan_slots([_trace(HARD_SHAPES["specks"]), _trace(nothing)])
    parts = sorted(_slot_points(plan, 1), key=lambda part: float(part[0, 0]))
    assert len(parts) > 8
    for left, right in pairwise(parts):
        assert left[:, 0].max() < right[:, 0].min()
    # All together they look like one dot, so nobody takes them for outlines of the subject.
    assert np.ptp(np.concatenate(parts), axis=0).max() < 0.01 * max(SIZE)


def test_smallest_specks_are_dropped_beyond_the_limit_and_reported() -> None:
    specks = union(
        disc(0.5, 0.5, 0.45), *(disc(0.04 + 0.08 * step, 0.02, 0.01) for step in range(12))
    )
    contours = trace(logits_of(specks, 512), 1500, 1000)
    plan = plan_slots([contours], max_slots=5)
    assert len(contours) == 13
    assert len(plan.slots) == 5
    assert plan.dropped[0] == pytest.approx(sum(one.area for one in contours[5:]), rel=0.05)
    assert plan.slots[0].count == max(slot.count for slot in plan.slots)


def test_parts_that_would_be_missed_get_slots_beyond_the_limit() -> None:
    equal = union(*(disc(0.1 + 0.2 * x, 0.1 + 0.2 * y, 0.06) for x in range(5) for y in range(5)))
    plan = plan_slots([_trace(equal)], max_slots=10)
    assert len(plan.slots) == 25
    assert plan.dropped[0] == 0.0


def test_without_its_part_a_hole_is_dropped_too() -> None:
    # 36 rings of rising size: more outlines than a layer can have, and holes larger than some parts.
    rings = []
    for step in range(36):
        x, y, radius = (step % 6 + 0.5) / 6, (step // 6 + 0.5) / 6, 0.04 + 0.001 * step
        rings.append(without(disc(x, y, radius), disc(x, y, radius * 0.8)))
    contours = trace(logits_of(union(*rings), 300), 600, 600)
    plan = plan_slots([contours])
    assert len(contours) == 72
    assert plan.dropped[0] > 0
    parts = _slot_points(plan, 0, (600, 600))
    shown = [
        (slot.is_hole, _middle(part))
        for slot, part, there in zip(plan.slots, parts, plan.present(0), strict=True)
        if there
    ]
    outer = [middle for is_hole, middle in shown if not is_hole]
    holes = [middle for is_hole, middle in shown if is_hole]
    assert holes
    for hole in holes:
        assert min(np.hypot(*(hole - middle)) for middle in outer) < 3


def test_points_keep_their_number_near_the_same_place_of_the_part() -> None:
    frames = [disc(0.4 + 0.01 * step, 0.5, 0.2 + 0.005 * step) for step in range(8)]
    plan = plan_slots(_trace(shape) for shape in frames)
    first = np.array([_slot_points(plan, index)[0][0] for index in range(8)])
    assert np.abs(np.diff(first, axis=0)).max() < 15


def test_object_that_is_nowhere_has_no_slots() -> None:
    plan = plan_slots([[], []])
    assert plan.slots == ()
    assert plan.points(1, 300, 200).shape == (0, 2)
    assert plan.parked(300, 200).shape == (0, 2)


def test_planning_twice_gives_the_same() -> None:
    frames = [_trace(shape) for shape in HARD_SHAPES.values()]
    one, two = plan_slots(frames), plan_slots(frames)
    assert one.slots == two.slots
    for index in range(len(frames)):
        assert np.array_equal(one.points(index, *SIZE), two.points(index, *SIZE))


@pytest.mark.parametrize("together", [1, 2, 5, 100])
def test_frames_weighed_together_give_the_same_plan(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [_trace(disc(0.3 + 0.02 * at, 0.5, 0.1 + 0.01 * at)) for at in range(12)]
    frames[4] = []  # nothing there
    expected = plan_slots(frames)
    monkeypatch.setattr("sam2_splat_addon.core.geometry.spline_slots._TOGETHER", together)
    plan = plan_slots(frames)
    assert plan.slots == expected.slots
    for index in range(len(frames)):
        assert np.array_equal(plan.points(index, *SIZE), expected.points(index, *SIZE))
