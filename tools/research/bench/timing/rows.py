# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a measurement, and how to run one in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

ROOT = Path(__file__).resolve().parents[4]

OURS = "ours"


class Row(msgspec.Struct, frozen=True):
    """One program at one task.

    Attributes
    ----------
    task
        The same for all programs that are compared.
    program
        `OURS` (perhaps with a setting), or the alternative.
    cpu_s, wall_s
        CPU and wall seconds. On a busy machine only the first means anything.
    memory_mb
        The process's peak, MB. 0 if it was not measured.
    size_mb
        Size of the file written, MB. 0 if there is none.
    note
        Anything else, such as the distance of the results.
    """

    task: str
    program: str
    cpu_s: float
    wall_s: float
    memory_mb: float = 0.0
    size_mb: float = 0.0
    note: str = ""


class Stopwatch:
    """CPU and wall time since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def row(self, task: str, program: str, **more: float | str) -> Row:
        """Return the row with the time until now."""
        cpu_s, wall_s = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return msgspec.convert(
            {"task": task, "program": program, "cpu_s": cpu_s, "wall_s": wall_s, **more}, Row
        )


_Result = TypeVar("_Result")


def in_process_of_its_own(
    module: str, case: msgspec.Struct, result: type[_Result], threads: int
) -> _Result:
    """Run ``python -m module`` with the case on its standard input. Its last line is the result.

    A memory peak counts from a process's start. And what one program leaves in caches and pools
    must not help the next one.
    """
    part, program = module.rpartition(".")[2], getattr(case, "program", "")
    print(f"measuring {part} {program}".rstrip(), file=sys.stderr, flush=True)
    environment = dict(os.environ, TQDM_DISABLE="1")  # no progress bars from sam2
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[variable] = str(threads)
    ran = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=environment,
        input=msgspec.json.encode(case),
        stdout=subprocess.PIPE,
        check=False,
    )
    if ran.returncode != 0:
        raise SystemExit(f"{module} failed on {case}.")
    return msgspec.json.decode(ran.stdout.splitlines()[-1], type=result)


def table(rows: Sequence[Row]) -> str:
    """Return rows by task, each with its ratio to the first row of its task."""
    lines = [
        f"{'task':<34} {'program':<26} {'CPU s':>8} {'wall s':>8} {'faster':>6}"
        f" {'peak MB':>8} {'MB':>6}  note"
    ]
    first: dict[str, Row] = {}
    for row in rows:
        base = first.setdefault(row.task, row)
        ratio = base.cpu_s / row.cpu_s if row.cpu_s else 0.0
        memory = f"{row.memory_mb:8.0f}" if row.memory_mb else " " * 8
        size = f"{row.size_mb:6.1f}" if row.size_mb else " " * 6
        lines.append(
            f"{row.task:<34} {row.program:<26} {row.cpu_s:8.2f} {row.wall_s:8.2f} {ratio:6.2f}"
            f" {memory} {size}  {row.note}".rstrip()
        )
    return "\n".join(lines)
