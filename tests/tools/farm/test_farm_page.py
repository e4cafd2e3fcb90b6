# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts of docs/farm.md do with an exit code what its table says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "farm.md"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="runs scripts of a Unix shell")


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """Write the page's script, and stand-ins for the programs that it starts."""
    (text,) = re.findall(r"```sh\n(#!.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    slurm = tmp_path / "splat.sh"
    slurm.write_text(text)
    slurm.chmod(0o755)
    program(tmp_path / "sam2-splat", 'for word; do echo "$word"; done > told; exit "$CODE"')
    program(tmp_path / "scontrol", 'echo "$@" > requeued')
    return slurm


def code_of(script: Path, *words: str, **variables: str) -> int:
    place = script.parent
    environment = {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}", **variables}
    return subprocess.run([script, *words], cwd=place, env=environment, check=False).returncode


@pytest.mark.parametrize(
    ("code", "starts", "ends", "again"),
    [
        *((0, "0", 0, False), (143, "0", 143, False), (3, "0", 3, False), (5, "0", 5, False)),
        *((6, "", 6, True), (137, "1", 137, True), (1, "2", 1, False), (130, "0", 130, False)),
    ],
)
def test_slurm_does_the_job_of_its_line_and_only_a_crash_again(
    slurm: Path, code: int, starts: str, ends: int, again: bool
) -> None:
    place = slurm.parent
    (place / "jobs.txt").write_text("first.s2s.json\n/é x/two $1.s2s.json\n", encoding="utf-8")
    given = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "2", "SLURM_CPUS_PER_TASK": "4"}
    assert code_of(slurm, CODE=str(code), SLURM_RESTART_COUNT=starts, **given) == ends
    told = (place / "told").read_text(encoding="utf-8").splitlines()
    assert told == ["run", "/é x/two $1.s2s.json", "--allow-damaged", "--once", "--threads", "4"]
    requeued = place / "requeued"
    assert (requeued.read_text() if requeued.exists() else "") == ("requeue 77_2\n" * again)
