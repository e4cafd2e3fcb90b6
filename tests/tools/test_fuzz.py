# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged bytes from outside end in typed errors; `tools/attack.py --fuzz` tries more of them."""

from __future__ import annotations

from pathlib import Path

from tools.attacks.fuzz import SHARES, fuzz, plan


def test_two_thousand_damaged_inputs_end_in_typed_errors(tmp_path: Path) -> None:
    outcome = fuzz(2000, tmp_path, 1)
    assert outcome.tried == 2000
    assert outcome.faults == []


def test_every_target_has_its_share() -> None:
    chosen = plan(100)
    assert {name: sum(at == name for at, _ in chosen) for name in SHARES} == SHARES
