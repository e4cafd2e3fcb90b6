# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run puts on disk, and when."""

from __future__ import annotations

from pathlib import Path

import torch

from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.engine.jobs.run_store import MemorySaver, StoredObject
from sam2_splat_addon.engine.tracking.cache_keys import matte_keys
from sam2_splat_addon.engine.tracking.memory_bank import FrameMemory, MemoryBank, MemoryReach
from sam2_splat_addon.engine.tracking.plan import Step, plan_object

from ..photo_footage import clicked


def _memory(value: float) -> FrameMemory:
    return FrameMemory(
        torch.full((1, 2, 2, 2), value, dtype=torch.bfloat16), torch.full((1, 4), value)
    )


def test_a_run_that_stops_while_a_result_is_taken_saves_what_was_remembered_before_it(
    tmp_path: Path,
) -> None:
    """The bank holds a frame before its result is taken, and a closer look at it may be cancelled."""
    plan = plan_object(clicked(1, 1, 70.0, 40.0), range(1, 6), "both")
    stored = StoredObject(plan, matte_keys(plan, "run"), MatteStore.open(tmp_path, create=True))
    bank = MemoryBank(MemoryReach(2, 2, 16), torch.zeros(1, 2, 2, 2), {0: _memory(0.0)})
    saver = MemorySaver([stored])
    bank.add(1, _memory(1.0))
    saver.remembered(1, Step("forward", 2), bank)
    bank.add(2, _memory(2.0))
    bank.add_corrected(3, _memory(3.0))
    saver.save()
    state = stored.saved(Step("forward", 2))
    assert state is not None
    assert list(state.recent) == [1]
    assert not state.corrected


def test_where_a_run_has_passed_it_leaves_no_memories(tmp_path: Path) -> None:
    """Only the run's last place and the permanent ones stay. The disk does not fill with memories."""
    plan = plan_object(clicked(1, 1, 70.0, 40.0), range(1, 30), "both")
    stored = StoredObject(plan, matte_keys(plan, "run"), MatteStore.open(tmp_path, create=True))
    bank = MemoryBank(MemoryReach(2, 2, 16), torch.zeros(1, 2, 2, 2), {0: _memory(0.0)})
    saver = MemorySaver([stored])
    steps = [Step("forward", frame) for frame in range(2, 30)]
    for at, step in enumerate(steps, 1):
        bank.add(at, _memory(float(at)))
        saver.remembered(1, step, bank)
        saver.save()
    kept = [step for step in steps if stored.saved(step) is not None]
    assert kept == [step for step in steps if stored.keeps(step) or step == steps[-1]]
    assert len(kept) < len(steps) / 2
