# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run puts on disk, and when."""

from __future__ import annotations

from pathlib import Path

import torch
from msgspec.structs import replace

from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.protocol import PropagateRequest
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs.run_store import MemorySaver, StoredObject
from sam2_splat_addon.engine.tracking.cache_keys import matte_keys
from sam2_splat_addon.engine.tracking.memory_bank import FrameMemory, MemoryBank, MemoryReach
from sam2_splat_addon.engine.tracking.plan import Direction, Step, plan_object

from ..photo_footage import clicked, propagated, request, store_bytes, write_checkpoint
from ..photo_footage import write_photos as photo_footage


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


def test_halves_of_two_machines_give_the_bytes_of_one(tmp_path: Path) -> None:
    """One store has the way forward, another one the way back. The whole run takes both."""
    footage = photo_footage(tmp_path / "photos", 7)
    checkpoint = write_checkpoint(tmp_path / "random.safetensors")
    things = clicked(1, 3, 70.0, 40.0), clicked(2, 5, 30.0, 60.0, "other")

    def asked(name: str, direction: Direction | str, *known: str) -> PropagateRequest:
        settings = RunSettings(direction=direction)  # type: ignore[arg-type]
        wish = request(footage, checkpoint, tmp_path / name, *things, settings=settings)
        return replace(wish, known=tuple(str(tmp_path / one) for one in known))

    alone = propagated(asked("alone", "both"))
    propagated(asked("shared", "forward"))
    propagated(asked("back", "backward"))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").rglob("*.matte")}
    shared = propagated(asked("shared", "both", "back"))
    assert {path: path.stat().st_mtime_ns for path in times} == times
    differing = {
        name
        for name, data in store_bytes(alone.folder).items()
        if store_bytes(shared.folder).get(name) != data
    }
    assert not differing
