# SPDX-License-Identifier: GPL-3.0-or-later
"""The least work that gives the wanted frames: what is tracked, from which memory, and what is left out."""

from __future__ import annotations

import pytest

from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.tracking.memory_bank import BankState
from sam2_splat_addon.engine.tracking.plan import ObjectPlan, Step, plan_object
from sam2_splat_addon.engine.tracking.schedule import ObjectSchedule, schedule_for


def _plan(*frames: int, anew: bool = False, both_sides: bool = False) -> ObjectPlan:
    """A plan for twelve frames with a click on each of these."""
    prompts = tuple(FramePrompts(at, (PointPrompt(1, 1),), anew=anew) for at in frames)
    return plan_object(
        ObjectPrompts(1, "chair", prompts), range(1, 13), "both", both_sides=both_sides
    )


def _parts(schedule: ObjectSchedule) -> list[tuple[str, tuple[int, ...], bool]]:
    """The pass of each part, its frames, and whether it goes on from a saved memory."""
    return [
        (part.segment.direction, part.frames, part.state is not None) for part in schedule.parts
    ]


def test_what_nobody_wants_is_not_computed() -> None:
    plan = _plan(5)
    assert _parts(schedule_for(plan, {3, 7})) == [
        ("forward", (6, 7), False),
        ("backward", (4, 3), False),
    ]
    assert schedule_for(plan, {3, 7}).conditioning == {5}
    nothing = schedule_for(plan, ())
    assert not nothing.conditioning and not nothing.parts and nothing.size == 0
    alone = schedule_for(plan, {5})
    assert alone.conditioning == {5} and not alone.parts and alone.size == 1


@pytest.mark.parametrize(
    ("saved", "frames", "goes_on"),
    [
        ({7}, (8, 9, 10), True),
        ({6, 7}, (8, 9, 10), True),  # the nearest before the first wanted frame
        ({8, 9, 12}, (9, 10), True),  # 9 is wanted, so its memory comes too late
        ({9, 10, 12}, (6, 7, 8, 9, 10), False),
        ((), (6, 7, 8, 9, 10), False),
    ],
)
def test_a_pass_goes_on_from_the_nearest_saved_memory_before_the_first_wanted_frame(
    saved: set[int], frames: tuple[int, ...], goes_on: bool
) -> None:
    states = {Step("forward", at): BankState({}, {}) for at in saved}
    schedule = schedule_for(_plan(5), {9, 10}, states.get)
    assert _parts(schedule) == [("forward", frames, goes_on)]
    (part,) = schedule.parts
    if goes_on:
        assert part.state is states[Step("forward", frames[0] - 1)]
    assert schedule.size == len(frames) + 1  # and the prompted frame


def test_a_memory_of_the_other_pass_is_of_no_use() -> None:
    states = {Step("backward", at): BankState({}, {}) for at in range(1, 13)}
    assert _parts(schedule_for(_plan(5), {9}, states.get)) == [
        ("forward", (6, 7, 8, 9), False),
    ]


def test_a_prompted_frame_whose_memory_was_kept_is_not_segmented_again() -> None:
    plan = _plan(3, 8, anew=True)
    assert schedule_for(plan, {5}).conditioning == {3, 8}
    assert schedule_for(plan, {5}, conditioned=lambda at: at == 8).conditioning == {3}
    kept = schedule_for(plan, {5, 8}, conditioned=lambda at: True)
    assert kept.conditioning == {8}  # it needs its matte all the same
    assert kept.size == 3


def test_a_refined_frame_is_tracked_first_for_those_that_attend_to_it() -> None:
    plan = _plan(5, 8)
    assert _parts(schedule_for(plan, {3})) == [
        ("forward", (6, 7, 8), False),
        ("backward", (4, 3), False),
    ]
    assert _parts(schedule_for(plan, {3}, conditioned=lambda at: at == 8)) == [
        ("backward", (4, 3), False)
    ]
    # The frames of its own pass are tracked with it anyway, and the ones after it are not wanted.
    assert _parts(schedule_for(plan, {6})) == [("forward", (6,), False)]


def test_of_a_frame_tracked_from_both_sides_only_the_unknown_side_is_computed() -> None:
    plan = _plan(3, 8, anew=True, both_sides=True)
    assert plan.twice == {4, 5, 6, 7}
    asked: list[Step] = []

    def known(step: Step) -> bool:
        asked.append(step)
        return step.direction == "backward"

    schedule = schedule_for(plan, {2, 5}, known=known)
    assert _parts(schedule) == [("forward", (4, 5), False), ("backward", (7, 6, 5, 4, 2), False)]
    assert set(asked) == {Step("forward", 5), Step("backward", 5)}  # and of no other frame
    schedule = schedule_for(plan, {5, 10}, known=lambda step: step.direction == "forward")
    assert _parts(schedule) == [
        ("forward", (4, 5, 6, 7, 9, 10), False),
        ("backward", (7, 6, 5), False),
    ]
    assert _parts(schedule_for(plan, {5}, known=lambda step: True)) == []


def test_the_results_are_the_wanted_frames_each_with_its_pass() -> None:
    schedule = schedule_for(_plan(3, 8, anew=True, both_sides=True), range(1, 13))
    assert schedule.results({1, 3, 5, 12}) == {
        (1, "backward"),
        (3, None),
        (5, "forward"),
        (5, "backward"),
        (12, "forward"),
    }
    assert schedule_for(_plan(5), {9}).results({8, 10}) == {(8, "forward")}
