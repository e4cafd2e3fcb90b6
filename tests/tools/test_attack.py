# SPDX-License-Identifier: GPL-3.0-or-later
"""Short campaigns of `tools/attack.py`, which runs the long ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.attacks import Outcome
from tools.attacks.kills import Victim, kill_bakes, kill_propagations

KILLS = 10


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "host"])
@pytest.mark.parametrize("campaign", [kill_propagations, kill_bakes])
def test_kills_leave_no_torn_file_lose_no_matte_and_cost_no_byte_in_the_end(
    campaign: Callable[[Victim, int, Path, int], Outcome], victim: Victim, tmp_path: Path
) -> None:
    outcome = campaign(victim, KILLS, tmp_path / "work", 7)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.tried == KILLS
    assert outcome.faults == []
