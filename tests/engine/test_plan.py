# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames are computed, in which order."""

from __future__ import annotations

import pytest

from sam2_splat_addon.core.errors import PromptError
from sam2_splat_addon.core.manifest import RunSettings
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.plan import ObjectPlan, Stretch, plan_object, span_of

_IN = PointPrompt(1.0, 1.0)
_OUT = PointPrompt(2.0, 2.0, include=False)


def _object(*frames: tuple[int, PointPrompt]) -> ObjectPrompts:
    return ObjectPrompts(
        1, "thing", tuple(FramePrompts(frame, (point,)) for frame, point in frames)
    )


def _tracked(plan: ObjectPlan, direction: str) -> tuple[int, ...]:
    """The frames of a pass, in the order of tracking."""
    stretches = [stretch for stretch in plan.stretches if stretch.direction == direction]
    return tuple(frame for stretch in stretches for frame in stretch.frames)


def _passes(plan: ObjectPlan) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _tracked(plan, "forward"), _tracked(plan, "backward")


def test_both_directions_start_at_the_first_including_prompt() -> None:
    plan = plan_object(_object((2, _OUT), (4, _IN), (6, _IN), (7, _OUT)), range(1, 10), "both")
    assert [entry.frame for entry in plan.conditioning] == [4, 6]
    assert _passes(plan) == ((5, 7, 8, 9), (3, 2, 1))
    assert {stretch.conditioning for stretch in plan.stretches} == {(4, 6)}
    assert plan.results == range(1, 10)
    assert plan.correction(2) is not None
    assert plan.correction(7) is not None
    assert plan.correction(4) is None


def test_forward_alone_leaves_earlier_frames_alone() -> None:
    plan = plan_object(_object((4, _IN), (6, _IN)), range(1, 10), "forward")
    assert (plan.results, _passes(plan)) == (range(4, 10), ((5, 7, 8, 9), ()))


def test_backward_alone_starts_at_the_last_including_prompt() -> None:
    plan = plan_object(_object((4, _IN), (6, _IN)), range(1, 10), "backward")
    assert (plan.results, _passes(plan)) == (range(1, 7), ((), (5, 3, 2, 1)))


@pytest.mark.parametrize(
    ("span", "forward", "backward"),
    [
        (range(6, 9), (6, 7, 8), ()),
        (range(1, 4), (), (3, 2, 1)),
        (range(3, 7), (5, 6), (3,)),
        (range(4, 5), (), ()),
    ],
)
def test_prompts_outside_the_span_still_condition(
    span: range, forward: tuple[int, ...], backward: tuple[int, ...]
) -> None:
    plan = plan_object(_object((4, _IN)), span, "both")
    assert [entry.frame for entry in plan.conditioning] == [4]
    assert (plan.results, _passes(plan)) == (span, (forward, backward))


def test_a_span_behind_the_direction_has_no_results() -> None:
    assert not len(plan_object(_object((8, _IN)), range(1, 5), "forward").results)
    assert not len(plan_object(_object((2, _IN)), range(5, 9), "backward").results)


def test_nearby_prompts_cut_the_passes_at_prompted_frames() -> None:
    thing = _object((4, _IN), (6, _IN), (7, _IN), (9, _IN))
    plan = plan_object(thing, range(2, 12), "both", 1)
    assert plan.stretches == (
        Stretch("forward", (5,), (4, 6)),
        Stretch("forward", (8,), (7, 9)),
        Stretch("forward", (10, 11), (9,)),
        Stretch("backward", (3, 2), (4,)),
    )
    plan = plan_object(thing, range(2, 12), "backward", 2)
    assert plan.stretches == (
        Stretch("backward", (8,), (6, 7, 9)),
        Stretch("backward", (5,), (4, 6, 7)),
        Stretch("backward", (3, 2), (4, 6)),
    )


@pytest.mark.parametrize(
    ("direction", "results", "forward", "backward"),
    [
        ("both", range(1, 10), (5, 7, 8, 9), (5, 3, 2, 1)),
        ("forward", range(4, 10), (5, 7, 8, 9), (5,)),
        ("backward", range(1, 7), (5,), (5, 3, 2, 1)),
    ],
)
def test_from_both_sides_frames_between_the_first_and_last_prompt_are_tracked_twice(
    direction: str, results: range, forward: tuple[int, ...], backward: tuple[int, ...]
) -> None:
    thing = _object((4, _IN), (6, _IN), (7, _OUT))
    plan = plan_object(thing, range(1, 10), direction, both_sides=True)
    assert (plan.results, _passes(plan)) == (results, (forward, backward))
    assert plan.twice == {5}
    one_side = plan_object(thing, range(1, 10), direction)
    assert one_side.twice == frozenset()
    one_prompt = _object((4, _IN), (7, _OUT))
    assert plan_object(one_prompt, range(1, 10), direction, both_sides=True) == plan_object(
        one_prompt, range(1, 10), direction
    )


def test_from_both_sides_with_nearby_prompts_each_gap_is_tracked_from_either_end() -> None:
    plan = plan_object(_object((3, _IN), (6, _IN)), range(1, 9), "both", 1, both_sides=True)
    assert plan.stretches == (
        Stretch("forward", (4, 5), (3, 6)),
        Stretch("forward", (7, 8), (6,)),
        Stretch("backward", (5, 4), (3, 6)),
        Stretch("backward", (2, 1), (3,)),
    )
    assert plan.twice == {4, 5}


def test_a_negative_number_of_prompts_is_a_clear_error() -> None:
    with pytest.raises(PromptError, match="can't attend to -1"):
        plan_object(_object((1, _IN)), range(1, 5), "both", -1)


def test_an_unknown_direction_is_a_clear_error() -> None:
    with pytest.raises(PromptError, match="no direction called 'sideways'"):
        plan_object(_object((1, _IN)), range(1, 5), "sideways")


def test_the_span_is_cut_to_the_footage_and_must_not_be_empty() -> None:
    assert span_of(RunSettings(), 5) == range(1, 6)
    assert span_of(RunSettings(first_frame=2, last_frame=99), 5) == range(2, 6)
    with pytest.raises(PromptError, match="Frames 7 to 9 are none of the footage's 5"):
        span_of(RunSettings(first_frame=7, last_frame=9), 5)
