# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of corrected frames need no more memory than a few, and give the same mattes."""

from __future__ import annotations

import pytest

from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.models.architectures import BUNDLED
from sam2_splat_addon.engine.tracking.memory_bank import FrameMemory, MemoryBank

from ..random_models import propagated, random_frames, random_model

_FRAMES = 60
_START = 30


def _corrected_nearly_everywhere() -> ObjectPrompts:
    excluding = PointPrompt(20.0, 20.0, include=False)
    frames = [
        FramePrompts(frame, (PointPrompt(70.0, 40.0) if frame == _START else excluding,))
        for frame in range(1, _FRAMES + 1)
        if frame == _START or frame % 7
    ]
    return ObjectPrompts(1, "thing", tuple(frames))


def test_mattes_are_those_of_a_run_that_forgets_no_corrected_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model(BUNDLED, always_seen=True)
    frames, things = random_frames(_FRAMES), [_corrected_nearly_everywhere()]
    held: list[int] = []
    forgets = MemoryBank.add_corrected

    def noted(bank: MemoryBank, index: int, memory: FrameMemory) -> None:
        forgets(bank, index, memory)
        held.append(len(bank.corrected))

    monkeypatch.setattr(MemoryBank, "add_corrected", noted)
    ours = propagated(model, frames, things, RunSettings(), max_conditioning=4)
    assert max(held) <= 16  # the reach of pointers, here larger than 4
    assert held.count(max(held)) > 5

    def keeps_all(bank: MemoryBank, index: int, memory: FrameMemory) -> None:
        bank._corrected[index] = memory
        held.append(len(bank.corrected))

    monkeypatch.setattr(MemoryBank, "add_corrected", keeps_all)
    theirs = propagated(model, frames, things, RunSettings(), max_conditioning=4)
    assert max(held) > 20
    assert len(ours) == len(theirs) == _FRAMES
    for one, other in zip(ours, theirs, strict=True):
        assert one.frame == other.frame
        assert one.logits.tobytes() == other.logits.tobytes()
