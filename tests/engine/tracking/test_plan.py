# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames are computed, and in which order."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.errors import PromptError
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.tracking.plan import ObjectPlan, Segment, plan_object, span_of
from sam2_splat_addon.engine.tracking.schedule import schedule_for

_IN = PointPrompt(1.0, 1.0)
_OUT = PointPrompt(2.0, 2.0, include=False)


_MASK = MaskPrompt(2, 1, (1, 1))


def _object(*frames: tuple[int, PointPrompt]) -> ObjectPrompts:
    return ObjectPrompts(
        1, "thing", tuple(FramePrompts(frame, (point,)) for frame, point in frames)
    )


def _starts(plan: ObjectPlan) -> list[int]:
    """Return the frames that are segmented from their prompts alone."""
    return [entry.frame for entry in plan.conditioning]


def _tracked(plan: ObjectPlan, direction: str) -> tuple[int, ...]:
    """Return the frames of a pass, in the order of tracking."""
    segments = [segment for segment in plan.segments if segment.direction == direction]
    return tuple(frame for segment in segments for frame in segment.frames)


def _passes(plan: ObjectPlan) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _tracked(plan, "forward"), _tracked(plan, "backward")


def test_both_directions_start_at_the_first_including_prompt() -> None:
    plan = plan_object(_object((2, _OUT), (4, _IN), (6, _IN), (7, _OUT)), range(1, 10), "both")
    assert _starts(plan) == [4]
    assert plan.refined == {6}
    assert _passes(plan) == ((5, 6, 7, 8, 9), (3, 2, 1))
    # The backward pass comes last. It knows the frames that the forward pass refined.
    assert [segment.conditioning for segment in plan.segments] == [(4,), (4, 6)]
    assert plan.results == range(1, 10)
    assert plan.correction(2) is not None
    assert plan.correction(6) is not None
    assert plan.correction(7) is not None
    assert plan.correction(4) is None


def test_masks_and_what_starts_anew_are_segmented_from_their_prompts_wherever_they_come() -> None:
    frames = (
        FramePrompts(1, (_OUT,), anew=True),  # it only excludes, so nothing can start here
        FramePrompts(2, (_IN,)),
        FramePrompts(3, (_IN,), mask=_MASK),
        FramePrompts(5, (_IN,)),
        FramePrompts(6, (_IN, _OUT), anew=True),
        FramePrompts(8, box=BoxPrompt(1.0, 1.0, 2.0, 2.0)),
        FramePrompts(9, mask=_MASK),
    )
    plan = plan_object(ObjectPrompts(1, "thing", frames), range(1, 11), "both")
    assert _starts(plan) == [2, 3, 6, 9]
    assert plan.refined == {5, 8}
    assert _passes(plan) == ((4, 5, 7, 8, 10), (1,))
    assert [segment.conditioning for segment in plan.segments] == [
        (2, 3, 6, 9),
        (2, 3, 5, 6, 8, 9),
    ]
    plan = plan_object(ObjectPrompts(1, "thing", frames), range(1, 11), "backward")
    assert _starts(plan) == [3, 6, 9]
    assert plan.refined == {2, 5, 8}
    assert _passes(plan) == ((), (8, 7, 5, 4, 2, 1))


def test_saying_that_the_first_prompted_frame_starts_anew_says_nothing_new() -> None:
    plain = _object((2, _OUT), (4, _IN), (6, _IN))
    marked = ObjectPrompts(
        1, "thing", tuple(replace(at, anew=at.frame != 6) for at in plain.frames)
    )
    assert plan_object(marked, range(1, 9), "both") == plan_object(plain, range(1, 9), "both")


def test_forward_alone_leaves_earlier_frames_alone() -> None:
    plan = plan_object(_object((4, _IN), (6, _IN)), range(1, 10), "forward")
    assert (plan.results, _passes(plan)) == (range(4, 10), ((5, 6, 7, 8, 9), ()))


def test_backward_alone_starts_at_the_last_including_prompt() -> None:
    plan = plan_object(_object((4, _IN), (6, _IN)), range(1, 10), "backward")
    assert (plan.results, _passes(plan)) == (range(1, 7), ((), (5, 4, 3, 2, 1)))
    assert _starts(plan) == [6]
    assert plan.refined == {4}


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
    assert _starts(plan) == [4]
    assert (plan.results, _passes(plan)) == (span, (forward, backward))


def test_refined_frames_outside_the_span_are_tracked_for_those_that_attend_to_them() -> None:
    thing = _object((2, _IN), (4, _IN), (9, _IN))
    plan = plan_object(thing, range(6, 8), "both")
    assert (plan.results, _passes(plan)) == (range(6, 8), ((4, 6, 7, 9), ()))
    (part,) = schedule_for(plan, plan.results).parts
    assert part.frames == (4, 6, 7)  # nothing attends to 9
    plan = plan_object(_object((4, _IN), (9, _IN)), range(1, 4), "both")
    parts = schedule_for(plan, plan.results).parts
    assert [part.frames for part in parts] == [(9,), (3, 2, 1)]
    parts = schedule_for(plan, plan.results, conditioned=lambda frame: frame == 9).parts
    assert [part.frames for part in parts] == [(3, 2, 1)]


def test_a_span_behind_the_direction_has_no_results() -> None:
    assert not len(plan_object(_object((8, _IN)), range(1, 5), "forward").results)
    assert not len(plan_object(_object((2, _IN)), range(5, 9), "backward").results)


def test_nearby_prompts_cut_the_passes_at_prompted_frames() -> None:
    thing = _object((4, _IN), (6, _IN), (7, _IN), (9, _IN))
    plan = plan_object(thing, range(2, 12), "both", 1)
    assert plan.segments == (
        Segment("forward", (5, 6), (4,)),
        Segment("forward", (7,), (6,)),
        Segment("forward", (8, 9), (7,)),
        Segment("forward", (10, 11), (9,)),
        Segment("backward", (3, 2), (4,)),
    )
    plan = plan_object(thing, range(2, 12), "backward", 2)
    assert plan.segments == (
        Segment("backward", (8, 7), (9,)),
        Segment("backward", (6,), (7, 9)),
        Segment("backward", (5, 4), (6, 7)),
        Segment("backward", (3, 2), (4, 6)),
    )
    anew = ObjectPrompts(1, "thing", tuple(replace(at, anew=True) for at in thing.frames))
    plan = plan_object(anew, range(2, 12), "both", 1)
    assert plan.segments == (
        Segment("forward", (5,), (4, 6)),
        Segment("forward", (8,), (7, 9)),
        Segment("forward", (10, 11), (9,)),
        Segment("backward", (3, 2), (4,)),
    )


@pytest.mark.parametrize(
    ("direction", "results", "forward", "backward"),
    [
        ("both", range(1, 10), (5, 6, 7, 8, 9), (5, 3, 2, 1)),
        ("forward", range(4, 10), (5, 6, 7, 8, 9), (5,)),
        ("backward", range(1, 7), (5, 6), (5, 3, 2, 1)),
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
    assert plan.segments == (
        Segment("forward", (4, 5, 6), (3,)),
        Segment("forward", (7, 8), (6,)),
        Segment("backward", (5, 4), (3, 6)),
        Segment("backward", (2, 1), (3,)),
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
    assert span_of(RunSettings(first_frame=3, last_frame=3), 5) == range(3, 4)
    assert span_of(RunSettings(first_frame=5), 5) == range(5, 6)
    with pytest.raises(PromptError, match="Frames 7 to 9 lie outside the footage's 5 frames"):
        span_of(RunSettings(first_frame=7, last_frame=9), 5)


def _spans(plan: ObjectPlan) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(one.direction, one.frames, one.conditioning) for one in plan.segments]


def test_a_pass_is_cut_where_another_part_of_the_capture_begins() -> None:
    clicks = tuple(FramePrompts(at, points=(PointPrompt(1, 1),)) for at in (3, 6))
    plan = plan_object(ObjectPrompts(1, "a", clicks), range(1, 11), "both", cuts=(2, 5, 8))
    assert _spans(plan) == [
        ("forward", (4,), (3,)),
        ("forward", (5, 6, 7), (3,)),  # frame 6 is refined on the way
        ("forward", (8, 9, 10), (3, 6)),
        ("backward", (2,), (3, 6)),
        ("backward", (1,), (3, 6)),
    ]


def test_cuts_and_nearby_prompts_go_together() -> None:
    clicks = tuple(FramePrompts(at, points=(PointPrompt(1, 1),), anew=True) for at in (2, 6))
    plan = plan_object(ObjectPrompts(1, "a", clicks), range(1, 9), "forward", 1, cuts=(4, 8))
    assert _spans(plan) == [
        ("forward", (3,), (2, 6)),
        ("forward", (4, 5), (2, 6)),
        ("forward", (7,), (6,)),
        ("forward", (8,), (6,)),
    ]
