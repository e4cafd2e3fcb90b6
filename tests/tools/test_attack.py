# SPDX-License-Identifier: GPL-3.0-or-later
"""Short campaigns of `tools/attack.py`, which runs the long ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.attacks import Outcome
from tools.attacks.kills import Ground, Victim, kill_bakes, kill_propagations

KILLS = 10


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """One capture for all campaigns: none of them writes into it."""
    return Ground.made(tmp_path_factory.mktemp("ground") / "work")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by signals")
@pytest.mark.parametrize("victim", ["worker", "host"])
@pytest.mark.parametrize("campaign", [kill_propagations, kill_bakes])
def test_kills_leave_no_torn_file_lose_no_matte_and_cost_no_byte_in_the_end(
    campaign: Callable[[Victim, int, Path, int, Ground], Outcome],
    victim: Victim,
    ground: Ground,
    tmp_path: Path,
) -> None:
    outcome = campaign(victim, KILLS, tmp_path / "work", 7, ground)
    assert len(ground.whole[0]) == len(ground.whole[1]) == len(ground.images) == 8
    assert outcome.tried == KILLS
    assert outcome.faults == []
