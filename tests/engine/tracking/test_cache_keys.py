# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys are made from what attention reaches, and the time grows with the number of frames."""

from __future__ import annotations

import random
import time

import pytest
from sam2.modeling.sam2_utils import select_closest_cond_frames

from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.tracking.cache_keys import NEAR, _hash, _ShownFrames, matte_keys
from sam2_splat_addon.engine.tracking.plan import ObjectPlan, Step, plan_object
from sam2_splat_addon.engine.tracking.session import MAX_CONDITIONING


def test_the_frames_shown_are_those_that_sam2_selects_among_all() -> None:
    draw = random.Random(3)
    for _ in range(300):
        count = draw.choice([1, 10, MAX_CONDITIONING, MAX_CONDITIONING + 1, 40, 90])
        frames = draw.sample(range(1, 120), min(count, 110))
        every = {at: f"key {at}" for at in frames}
        shown = _ShownFrames()
        for at, key in every.items():
            shown.add(at, key)
        for frame in draw.sample(range(1, 120), 10):
            selected, others = select_closest_cond_frames(frame, every, MAX_CONDITIONING)
            near = [key for at, key in others.items() if abs(at - frame) <= NEAR]
            assert shown.shown(frame) == [*selected.values(), "near", *near]


def test_thousands_of_prompted_frames_take_no_longer_each() -> None:
    def seconds(count: int) -> float:
        frames = tuple(
            FramePrompts(at, (PointPrompt(1, 1, include=at % 4 == 1),))
            for at in range(1, 2 * count, 2)
        )
        began = time.process_time()
        prompts = ObjectPrompts(1, "chair", frames)
        matte_keys(plan_object(prompts, range(1, 2 * count + 1), "both", both_sides=True), "run")
        return time.process_time() - began

    seconds(100)
    assert seconds(4000) < 30 * seconds(400)


_OUT = PointPrompt(9, 9, include=False)


def _click(frame: int, *more: PointPrompt, anew: bool = False) -> FramePrompts:
    return FramePrompts(frame, (PointPrompt(1, 1), *more), anew=anew)


def _plan(*frames: FramePrompts, both_sides: bool = False, near: bool = False) -> ObjectPlan:
    prompts = ObjectPrompts(1, "chair", frames)
    return plan_object(prompts, range(1, 11), "both", both_sides=both_sides, near=near)


def _changed(before: ObjectPlan, after: ObjectPlan) -> list[int]:
    """Return the frames whose mattes have another key."""
    one, other = (matte_keys(plan, "run").mattes for plan in (before, after))
    assert sorted(one) == sorted(other) == list(range(1, 11))
    return [frame for frame in sorted(one) if one[frame] != other[frame]]


def test_every_matte_has_a_key_of_its_own_and_the_same_each_time() -> None:
    plan = _plan(_click(3), _click(6))
    keys = matte_keys(plan, "run")
    assert len(set(keys.mattes.values())) == 10
    assert {len(key) for key in keys.mattes.values()} == {32}
    assert matte_keys(plan, "run") == keys
    assert sorted(keys.steps) == sorted(
        [Step("forward", at) for at in range(4, 11)] + [Step("backward", at) for at in (1, 2)]
    )
    assert all(keys.mattes[step.frame] == key for step, key in keys.steps.items())


def test_other_footage_settings_or_another_view_change_every_key() -> None:
    plan = _plan(_click(3), _click(6))
    one, other = (matte_keys(plan, run).mattes for run in ("run", "other run"))
    assert not set(one.values()) & set(other.values())
    near = matte_keys(_plan(_click(3), _click(6), near=True), "run").mattes
    assert not set(one.values()) & set(near.values())


@pytest.mark.parametrize(
    ("frame", "reached"),
    [
        (_click(6, _OUT), [1, 2, 6, 7, 8, 9, 10]),  # refined forwards, then known to the pass back
        (
            FramePrompts(6, (_OUT,)),
            [1, 2, 6, 7, 8, 9, 10],
        ),  # it says no longer where the subject is
        (_click(6, anew=True), [1, 2, 4, 5, 6, 7, 8, 9, 10]),
        (_click(6), []),
    ],
)
def test_a_changed_prompt_changes_exactly_the_keys_that_it_reaches(
    frame: FramePrompts, reached: list[int]
) -> None:
    assert _changed(_plan(_click(3), _click(6)), _plan(_click(3), frame)) == reached


def test_what_only_excludes_reaches_the_rest_of_its_own_pass_alone() -> None:
    before = _plan(_click(5))
    assert _changed(before, _plan(_click(5), FramePrompts(8, (_OUT,)))) == [8, 9, 10]
    assert _changed(before, _plan(FramePrompts(3, (_OUT,)), _click(5))) == [1, 2, 3]
    assert _changed(before, _plan(_click(5, _OUT))) == list(range(1, 11))


def test_the_key_of_a_frame_tracked_from_both_sides_is_made_from_both() -> None:
    start, end = _click(3, anew=True), _click(8, anew=True)
    plan = _plan(start, end, both_sides=True)
    keys = matte_keys(plan, "run")
    for frame in range(4, 8):
        sides = [keys.steps[Step(way, frame)] for way in ("forward", "backward")]
        assert len({*sides, keys.mattes[frame]}) == 3
    excluded = FramePrompts(6, (_OUT,))
    changed = matte_keys(_plan(start, excluded, end, both_sides=True), "run")
    # The forward pass brings it to frames 6 and 7, the backward pass to 6, 5 and 4, and on to 1.
    reached = {step for step in keys.steps if keys.steps[step] != changed.steps[step]}
    assert reached == {
        *(Step("forward", at) for at in (6, 7, 9, 10)),
        *(Step("backward", at) for at in (6, 5, 4, 2, 1)),
    }
    mattes = [at for at in range(1, 11) if keys.mattes[at] != changed.mattes[at]]
    assert mattes == [1, 2, 4, 5, 6, 7, 9, 10]


def test_the_two_sides_of_a_single_frame_between_have_keys_of_their_own() -> None:
    plan = _plan(_click(3, anew=True), _click(5, anew=True), both_sides=True)
    keys = matte_keys(plan, "run")
    assert keys.steps[Step("forward", 4)] != keys.steps[Step("backward", 4)]


def test_parts_of_a_key_are_kept_apart() -> None:
    assert len({_hash("a", "bc"), _hash("ab", "c"), _hash("abc"), _hash("bc", "a")}) == 4
