# SPDX-License-Identifier: GPL-3.0-or-later
"""One owner of a folder among computers: it is named while it lives, and replaced when it is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.core.mattes import lease
from sam2_splat_addon.core.mattes.run_lock import no_run, only_run

ROOT = Path(__file__).parents[3]
HOUR = 3600
# Another computer: another machine, another name, a clock of its own, and no locks of the system.
_OWNER = """
import sys, time, platform
from pathlib import Path
from sam2_splat_addon.core.mattes import lease
from sam2_splat_addon.core.errors import StoreError
folder, host, beat, ahead = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
lease.BEAT, lease.LAPSE, lease._LOOK = beat, 8 * beat, beat / 2
if host:
    lease.this_machine = lambda: host
    platform.node = lambda: host
real = time.time
time.time = lambda: real() + ahead
try:
    with lease.leased(folder, lambda host: None) as held:
        print("held", flush=True)
        while True:
            time.sleep(beat / 2)
            held.check()
except StoreError as error:
    print(error, flush=True)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends signals")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "LAPSE", 0.8)
    monkeypatch.setattr(lease, "_LOOK", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of masks on a drive without locks."""
    found = tmp_path / "photos" / "masks"
    (found / "run.lock").mkdir(parents=True)
    return found


def owner(
    folder: Path, host: str = "render-7", *, ahead: float = 0.0, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", _OWNER, str(folder), host, "0.1", str(ahead)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = owner(folder)
    yield process
    process.kill()
    process.wait()


def test_a_run_leaves_no_lease(folder: Path) -> None:
    with only_run(folder) as held:
        held.check()
        assert (folder / "run.lease").stat().st_size == 512
        time.sleep(0.3)
        assert lease._owner((folder / "run.lease").read_bytes()).beat >= 1  # type: ignore[union-attr]
    assert [path.name for path in folder.iterdir()] == ["run.lock"]


@pytest.mark.parametrize("ahead", [-HOUR, 0, HOUR])
def test_an_owner_that_lives_is_named_whatever_its_clock_says(folder: Path, ahead: int) -> None:
    with owner(folder, ahead=ahead) as living:
        for _ in range(3):
            os.utime(folder / "run.lease", (time.time() + ahead,) * 2)
            wanted = (
                r"Another computer, render-7, is propagating over the photos of .*photos\. Wait"
            )
            with pytest.raises(StoreError, match=wanted), only_run(folder):
                pass
            with pytest.raises(StoreError, match="render-7"), no_run(folder):
                pass
        living.kill()


@pytest.mark.parametrize("ahead", [-HOUR, HOUR])
def test_a_killed_owner_is_replaced_after_it_gave_no_sign_of_life(
    folder: Path, other: subprocess.Popen[str], ahead: int
) -> None:
    other.kill()
    other.wait()
    os.utime(folder / "run.lease", (time.time() + ahead,) * 2)
    with pytest.raises(StoreError, match="If render-7 is gone, propagate here"), no_run(folder):
        pass
    told: list[str] = []
    began = time.monotonic()
    with only_run(folder, told.append):
        assert time.monotonic() - began >= lease.LAPSE
    assert set(told) == {"render-7"}
    assert [path.name for path in folder.iterdir()] == ["run.lock"]


def test_a_killed_owner_of_this_machine_is_replaced_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LAPSE", 600.0)
    killed = owner(folder, host="")
    killed.kill()
    killed.wait()
    with no_run(folder), only_run(folder):
        pass


def test_an_owner_that_slept_too_long_stops_when_it_wakes(
    folder: Path, other: subprocess.Popen[str]
) -> None:
    other.send_signal(signal.SIGSTOP)
    with only_run(folder) as held:
        other.send_signal(signal.SIGCONT)
        said, _ = other.communicate(timeout=20)
        assert "has taken over the run" in said
        held.check()
        assert (folder / "run.lease").is_file()


def test_of_many_that_wait_for_a_dead_owner_one_gets_its_place(
    folder: Path, other: subprocess.Popen[str]
) -> None:
    other.kill()
    other.wait()
    at_once, most, got = 0, 0, 0
    counting = threading.Lock()

    def wait_and_work() -> None:
        nonlocal at_once, most, got
        try:
            with lease.leased(folder, lambda host: None) as held:
                with counting:
                    at_once, got = at_once + 1, got + 1
                    most = max(most, at_once)
                time.sleep(1.5)
                held.check()
                with counting:
                    at_once -= 1
        except StoreError:
            pass

    threads = [threading.Thread(target=wait_and_work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, got >= 1) == (1, True)


def test_a_file_that_is_not_ours_stays(folder: Path) -> None:
    file = folder / "run.lease"
    for content in (b"mine", b'{"made_by":"others"}'):
        file.write_bytes(content)
        with pytest.raises(StoreError, match="SAM2 Splat did not make it"), only_run(folder):
            pass
        assert file.read_bytes() == content
    file.write_bytes(b'{"made_by":"SAM2')  # a power cut in its first moment
    with only_run(folder):
        pass
    (folder / "elsewhere").write_text("mine")
    file.symlink_to(folder / "elsewhere")
    with pytest.raises(StoreError, match="is a link"), only_run(folder):
        pass
    assert (folder / "elsewhere").read_text() == "mine"


def test_a_cancel_ends_the_wait(folder: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()

    def cancelled(host: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), only_run(folder, cancelled):
        pass
    assert (folder / "run.lease").is_file()


def test_two_hosts_in_namespaces_share_a_folder(folder: Path) -> None:
    """Real ones: each with its own name, network and process ids, and the folder bound elsewhere."""
    tool = shutil.which("unshare")
    script = 'hostname node-b && mount --bind "$1" /mnt && shift && exec "$@"'
    if tool is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare")
    before = (tool, "--uts", "--net", "--pid", "--fork", "--mount", "--kill-child")
    command = (*before, "sh", "-c", script, "sh", str(folder))
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no namespaces")
    with owner(Path("/mnt"), host="", before=command) as living:
        with pytest.raises(StoreError, match="Another computer, node-b, is"), only_run(folder):
            pass
        living.kill()
    with only_run(folder):
        pass


@pytest.mark.parametrize("left", ["a run of this machine", "nothing readable", "nothing"])
def test_what_a_power_cut_left_is_taken_away_soon_by_who_has_the_lock(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process number may belong to another program by now: here, to this one."""
    content = {
        "a run of this machine": lease._bytes(lease._me()),
        "nothing readable": lease._bytes(lease._me())[:40],
        "nothing": b"",
    }[left]
    (tmp_path / lease.LEASE_NAME).write_bytes(content)
    monkeypatch.setattr(lease, "LAPSE", 600.0)
    began = time.monotonic()
    with only_run(tmp_path) as held:
        held.check()
        assert (tmp_path / lease.LEASE_NAME).is_file()
    assert time.monotonic() - began < 30
    assert not (tmp_path / lease.LEASE_NAME).exists()


def _file_of(folder: Path, host: str = "render-7", beat: int = 0) -> Path:
    """Write the lease of another computer, and return its path."""
    path = folder / lease.LEASE_NAME
    path.write_bytes(lease._bytes(lease.Owner("SAM2 Splat", host, host, 1, f"of {host}", beat)))
    return path


def test_who_finds_anothers_name_in_its_lease_has_lost_it_and_leaves_it_there(
    tmp_path: Path,
) -> None:
    with lease.leased(tmp_path, lambda host: None) as held:
        held.check()
        path = _file_of(tmp_path)
        taken = path.read_bytes()
        end = time.monotonic() + 20
        while held._lost_to is None and time.monotonic() < end:
            time.sleep(0.02)
        with pytest.raises(StoreError, match=r"render-7 has taken over the run in .*kept\."):
            held.check()
    assert path.read_bytes() == taken


def test_a_lease_that_somebody_removed_by_mistake_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / lease.LEASE_NAME
    with lease.leased(tmp_path, lambda host: None) as held:
        first = lease._owner(path.read_bytes())
        path.unlink()
        end = time.monotonic() + 20
        while not path.is_file() and time.monotonic() < end:
            time.sleep(0.02)
        again = lease._owner(path.read_bytes())
        assert first is not None and again is not None
        assert again.token == first.token and again.beat > first.beat
        held.check()
    assert list(tmp_path.iterdir()) == []


def test_who_takes_a_lease_away_too_late_puts_it_back_and_names_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = _file_of(tmp_path, "dead").read_bytes()
    path = _file_of(tmp_path, "alive")
    content, looked = path.read_bytes(), list[Path]()

    def read(file: Path) -> bytes:
        looked.append(file)
        return (
            dead if len(looked) == 1 else file.read_bytes()
        )  # the other was faster after this look

    monkeypatch.setattr(lease, "read_plain", read)
    with pytest.raises(StoreError, match="Another computer, alive, is"):
        lease._remove(path, dead, lease._me())
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    lease._remove(path, dead, lease._me())  # seen in time: it stays without a word
    assert path.read_bytes() == content
    lease._remove(path, content, lease._me())
    lease._remove(path, content, lease._me())  # gone already
    assert list(tmp_path.iterdir()) == []


def test_a_watched_lease_that_changes_to_nothing_readable_is_watched_from_then_on(
    tmp_path: Path,
) -> None:
    path, told = _file_of(tmp_path), list[str]()
    seen = path.read_bytes()

    def change(host: str) -> None:
        told.append(host)
        if len(told) == 3:
            path.write_bytes(seen[:30])

    began = time.monotonic()
    assert lease._watch(path, seen, change, lease.LAPSE) == seen[:30]
    assert time.monotonic() - began > lease.LAPSE + lease._LOOK
    assert lease._watch(path, seen[:30], lambda host: told.append(host), 0.1) == seen[:30]
    assert told[0] == "render-7" and told[-1] == "another computer"
    assert lease._watch(path, seen[:30], lambda host: path.unlink(missing_ok=True), 9.0) is None


def test_a_lease_where_no_file_can_be_made_holds_nothing_and_stops_nobody(tmp_path: Path) -> None:
    with lease.leased(tmp_path / "not there", lambda host: None) as held:
        held._lost_to = "render-7"
        held.check()
    assert list(tmp_path.iterdir()) == []
    lease.require_free(tmp_path)
    _file_of(tmp_path)
    with pytest.raises(StoreError, match="If render-7 is gone, propagate here first"):
        lease.require_free(tmp_path)
