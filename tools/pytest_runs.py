# SPDX-License-Identifier: GPL-3.0-or-later
"""Run pytest in a process of its own, and count the results."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple, TextIO

ROOT = Path(__file__).resolve().parents[1]
# The property of a test in the report if its first try failed and its second one passed.
SECOND_TRY = "second try"
# Monotonic seconds after which no test in Blender's window begins; no limit if not set.
UNTIL_VARIABLE = "SAM2_SPLAT_WINDOW_UNTIL"


class Count(NamedTuple):
    """The number of tests for each result, and the names of those that passed at the second try."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    again: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return text + (f"; passed at the second try: {', '.join(self.again)}" if self.again else "")

    def plus(self, other: Count) -> Count:
        """Add two results."""
        return Count(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.again + other.again,
        )


def run_pytest(
    arguments: list[str],
    *,
    python: str = sys.executable,
    variables: dict[str, str] | None = None,
    output: TextIO | None = None,
) -> Count:
    """Run pytest once, from the root of the repository. A run that crashed counts as one failure.

    `output` is a file that takes what pytest prints; without it the terminal does.
    """
    environment = dict(os.environ, **(variables or {}))
    # One thread gives the same bits on every machine, and leaves the other core to the worker.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[variable] = "1"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            check=False,
        )
        return _count(ran.returncode, report, output)


def _count(returncode: int, report: Path, output: TextIO | None) -> Count:
    tests = failed = skipped = 0
    again: tuple[str, ...] = ()
    if report.exists():
        root = ElementTree.parse(report).getroot()
        for suite in root.iter("testsuite"):
            tests += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
        again = tuple(
            case.get("name", "")
            for case in root.iter("testcase")
            if any(entry.get("name") == SECOND_TRY for entry in case.iter("property"))
            and case.find("failure") is None
            and case.find("error") is None
        )
    passed = max(tests - failed - skipped, 0)
    # 0: all passed, 1: some failed, 5: none selected. Other codes mean an error of pytest or a crash.
    if returncode not in (0, 1, 5) or (returncode == 1 and not failed):
        print(f"pytest ended with exit code {returncode}.", file=output, flush=True)
        failed += 1
    return Count(passed, failed, skipped, again)
