# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are written completely or not at all."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sam2_splat_addon.core.system.atomic_file import (
    FolderSync,
    atomic_file,
    is_running,
    make_folder,
    sweep_temporaries,
    this_machine,
    write_atomic,
)

ROOT = Path(__file__).resolve().parents[3]


def test_written_bytes_are_there_and_no_temporary_is_left(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.bin", b"first")
    write_atomic(tmp_path / "a.bin", b"second")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.bin", b"second")]


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_file(target) as stream:
        stream.write(b"half of the new")
        raise RuntimeError("the disk is full")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_until_the_block_ends_the_old_file_is_what_others_read(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic_file(target) as stream:
        stream.write(b"new")
        stream.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "a.bin", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
def test_a_killed_writer_leaves_no_target_and_its_temporary_is_swept(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from sam2_splat_addon.core.system.atomic_file import atomic_file
        with atomic_file(Path(sys.argv[1])) as stream:
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    below = tmp_path / "objects" / "001"
    below.mkdir(parents=True)
    write_atomic(below / "kept.matte", b"whole")
    command = [sys.executable, "-c", script, str(below / "lost.matte")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert not (below / "lost.matte").exists()
    assert len(list(below.iterdir())) == 2
    sweep_temporaries(tmp_path)
    assert [p.name for p in below.iterdir()] == ["kept.matte"]


def _begun(folder: Path, process: int) -> Path:
    """Make a temporary file of another process, with a name such as `atomic_file` gives."""
    with atomic_file(folder / "x") as stream:
        name = Path(stream.name).name
    path = folder / name.replace(f"_{os.getpid()}_", f"_{process}_")
    path.write_bytes(b"half")
    return path


def test_a_process_that_writes_is_neither_swept_nor_disturbed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        being_written = _begun(tmp_path, other.pid)
        sweep_temporaries(tmp_path)
        assert being_written.exists()
        assert other.poll() is None
        other.communicate(b"\n")
    assert other.returncode == 0
    sweep_temporaries(tmp_path)
    assert not being_written.exists()


def test_files_of_earlier_processes_with_our_number_are_swept(tmp_path: Path) -> None:
    """The caller holds the folder's lock, so it writes nothing there itself."""
    for process in (0, os.getpid()):
        left = _begun(tmp_path, process)
        left.write_bytes(b"half")
        sweep_temporaries(tmp_path)
        assert not left.exists()


def test_what_another_process_is_writing_is_not_swept(tmp_path: Path) -> None:
    being_written = _begun(tmp_path, os.getppid())
    sweep_temporaries(tmp_path)
    assert being_written.exists()


@pytest.mark.parametrize("process", [2**31 - 1, 9_999_999_999])
def test_another_machines_processes_are_judged_by_age(tmp_path: Path, process: int) -> None:
    here = _begun(tmp_path, process)
    machine = here.name.split("_")[1]
    there = here.with_name(here.name.replace(machine, "0" * 8))
    there.write_bytes(b"half")
    sweep_temporaries(tmp_path)
    assert not here.exists()
    assert there.exists()
    os.utime(there, (1e9, 1e9))
    sweep_temporaries(tmp_path)
    assert not there.exists()


def test_names_of_others_are_never_swept(tmp_path: Path) -> None:
    names = (".config.tmp", ".~lock.a.odt.tmp", ".a.1.tmp", ".s2s_backup.tmp", "x.matte.1.tmp")
    for name in names:
        (tmp_path / name).write_bytes(b"somebody else's")
        os.utime(tmp_path / name, (1e9, 1e9))
    sweep_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_sweeping_follows_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = _begun(elsewhere, 2**31 - 1)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "objects").symlink_to(elsewhere)
    sweep_temporaries(tmp_path / "store")
    assert kept.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps names by itself")
def test_names_wait_for_each_other_and_are_synced_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(number: int) -> None:
        synced.append(os.fstat(number).st_ino)
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    folder, folders = tmp_path.stat().st_ino, FolderSync()
    for name in ("a", "b", "c"):
        write_atomic(tmp_path / name, b"x", folders=folders)
        assert synced[-1] == (tmp_path / name).stat().st_ino
    assert folder not in synced
    synced.clear()
    folders.flush()
    assert synced == [folder]
    folders.flush()
    assert synced == [folder]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps names by itself")
def test_a_disk_that_fails_while_nobody_waits_is_told_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = FolderSync()
    write_atomic(tmp_path / "a", b"x", folders=folders)

    def fails(number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                folders.flush()
        with pytest.raises(OSError, match="Input/output"):
            write_atomic(tmp_path / "b", b"x")
        assert not (tmp_path / "b").exists()
    folders.flush()


def test_a_drive_that_knows_no_sync_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(number: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unknown)
    write_atomic(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["n" * 255, "写" * 83 + ".png", "." * 3 + "x"])
def test_the_longest_name_has_room_for_its_temporary(name: str, tmp_path: Path) -> None:
    write_atomic(tmp_path / name, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_files_of_one_folder_are_written_at_once_without_meeting(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a") as first, atomic_file(tmp_path / "b") as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert (tmp_path / "b").read_bytes() == b"second"


def test_asking_whether_a_process_runs_does_not_touch_it() -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert is_running(str(other.pid)) is True
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.3)
    finally:
        other.communicate(b"\n")
    assert other.returncode == 0
    assert is_running(str(other.pid)) is False
    assert is_running(str(os.getpid())) is False  # it is this one, not another
    assert is_running("9" * 30) is False


def test_a_machine_has_one_name_of_eight_digits() -> None:
    assert re.fullmatch("[0-9a-f]{8}", this_machine())
    asked = (
        "from sam2_splat_addon.core.system.atomic_file import this_machine; print(this_machine())"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == this_machine()


def test_a_folder_that_another_process_just_made_is_made(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
