# SPDX-License-Identifier: GPL-3.0-or-later
"""Only one process at a time runs in a folder, and a dead process holds no lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.core.mattes.run_lock import only_run
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore

_HOLDER = """
import sys
from pathlib import Path
from sam2_splat_addon.core.mattes.run_lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_to_wait_until_the_first_is_done(tmp_path: Path) -> None:
    with _holder(tmp_path) as first:
        with pytest.raises(StoreError, match=r"Another.*Wait until"), only_run(tmp_path):
            pass
        first.communicate("")
    with only_run(tmp_path):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with _holder(tmp_path) as first:
        first.kill()
        first.wait()
        with only_run(tmp_path):
            pass


def test_a_folder_where_nothing_can_be_locked_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run.lock").mkdir()  # a file without locks, as on some network drives
    with only_run(tmp_path):
        pass


def test_a_store_is_neither_cleared_nor_are_its_mattes_moved_while_another_process_runs(
    tmp_path: Path,
) -> None:
    store = MatteStore.open(tmp_path / "store", create=True)
    logits = np.ones((4, 4), np.float16)
    store.write(MatteRecord(1, 1, 40, 40, logits, MatteScores(1.0, 0.5, 1.0)))
    with only_run(store.folder):
        pass  # leaves the lock file behind
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    with _holder(store.folder) as run:
        for change in (store.clear, lambda: store.set_aside(1), lambda: store.put_back(1)):
            with pytest.raises(StoreError, match=r"Another.*Wait until"):
                change()
        run.communicate("")
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before
    store.clear()
    assert store.objects() == []
