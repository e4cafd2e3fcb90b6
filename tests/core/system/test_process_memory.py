# SPDX-License-Identifier: GPL-3.0-or-later
"""The peak memory is that of this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sam2_splat_addon.core.system.process_memory import peak_memory_mb

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
from sam2_splat_addon.core.system.process_memory import peak_memory_mb
before = peak_memory_mb()
block = bytearray(b"x" * int(sys.argv[1]))
del block
print(before, peak_memory_mb())
"""


def peaks(size: int) -> tuple[float, float]:
    command = [sys.executable, "-c", SCRIPT, str(size)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = map(float, run.stdout.split())
    return before, after


def test_memory_that_was_given_back_still_counts() -> None:
    before, after = peaks(200_000_000)
    assert after - before > 150


def test_a_child_does_not_report_what_its_parent_used() -> None:
    block = bytearray(b"x" * 300_000_000)
    assert peak_memory_mb() > 300
    before, _ = peaks(1)
    del block
    assert 1 < before < 200
