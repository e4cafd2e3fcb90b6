# SPDX-License-Identifier: GPL-3.0-or-later
"""A command inside a Debian leaves nothing on the machine."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tools.window.chroot import Bind, command_inside
from tools.window.debian import RELEASES, is_ready, root_of
from tools.window.machine import obstacle


@pytest.fixture
def root() -> Path:
    if problem := obstacle():
        pytest.skip(problem)
    ready = [release for release in RELEASES if is_ready(release)]
    if not ready:
        pytest.skip("No Debian is ready: python tools/test.py --window makes it.")
    return root_of(ready[0])


def test_mounts_and_processes_end_with_the_command(root: Path, tmp_path: Path) -> None:
    # End the command from outside. It has a process in the background that keeps writing.
    script = "while :; do date >> /shared/ticks; sleep 0.05; done & sleep 60"
    command = command_inside(root, ["sh", "-c", script], binds=(Bind(tmp_path, "/shared", True),))
    before = Path("/proc/mounts").read_text()
    with subprocess.Popen(command) as process:
        ticks = tmp_path / "ticks"
        give_up = time.monotonic() + 30
        while not (ticks.exists() and ticks.stat().st_size) and time.monotonic() < give_up:
            time.sleep(0.05)
        process.kill()
    assert Path("/proc/mounts").read_text() == before
    time.sleep(0.5)
    size = ticks.stat().st_size
    time.sleep(0.5)
    assert ticks.stat().st_size == size > 0, "a process inside goes on"
    assert not any((root / "proc").iterdir())


def test_folder_that_is_not_writable_can_only_be_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("seen")
    command = command_inside(
        root,
        ["sh", "-c", "cat /shared/there; touch /shared/more"],
        binds=(Bind(tmp_path, "/shared"),),
    )
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout == "seen"
    assert ended.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
