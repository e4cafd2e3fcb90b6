# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys are made from what attention reaches, and the time grows with the number of frames."""

from __future__ import annotations

import random
import time

from sam2.modeling.sam2_utils import select_closest_cond_frames

from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.engine.tracking.cache_keys import NEAR, _ShownFrames, matte_keys
from sam2_splat_addon.engine.tracking.plan import plan_object
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
