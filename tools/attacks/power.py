# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut the power of a real disk: an image behind a loop device, copied at that moment.

Data that the system has only in memory is not in the copy, as after a power cut. Then the file system on
the copy is mounted, which replays its journal.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import Outcome, attack
from .capture import Capture, Host, bake_faults, images, matte_faults, mattes

_FRAMES = 8
_MEGABYTES = 64
_LETS_GO = 60.0  # s


@attack("cut the power while it propagates", group="power", count=20)
def propagating(count: int, folder: Path, seed: int) -> Outcome:
    reason = _reason()
    if reason:
        return Outcome(skipped=reason)
    rng, capture, outcome = random.Random(seed), Capture(folder, _FRAMES), Outcome()
    whole = []
    for which in (0, 1):
        place = folder / f"whole{which}"
        Host.start(capture.propagation(place, which), folder).run_to_end()
        whole.append(mattes(place))
    for number in range(count):
        disk = _Disk(folder / f"disk{number}")
        with disk.mounted() as mount:
            store = mount / "store"
            shutil.copytree(folder / "whole0", store)
            os.sync()
            host = Host.start(capture.propagation(store, 1), folder)
            when = _wait(host, rng)
            copy = disk.cut(host)
        reported = {frame for _, frame in host.done}
        with copy.mounted() as mount:
            found = mattes(mount / "store")
            faults = matte_faults(mount / "store", (whole[0], whole[1]))
            faults += [
                f"frame {frame} was reported finished and is not"
                for frame in sorted(reported)
                if found.get(frame) != whole[1][frame]
            ]
            word = Host.start(capture.propagation(mount / "store", 1), folder).run_to_end()
            if word != "finished" or mattes(mount / "store") != whole[1]:
                faults.append(f"the owner does not get on: {word}")
        outcome.faults += [f"cut {number + 1}, {when}: {fault}" for fault in faults]
        outcome.tried += 1
        shutil.rmtree(disk.folder)
    return outcome


@attack("cut the power while it bakes", group="power", count=20)
def baking(count: int, folder: Path, seed: int) -> Outcome:
    reason = _reason()
    if reason:
        return Outcome(skipped=reason)
    rng, capture, outcome = random.Random(seed), Capture(folder, _FRAMES), Outcome()
    store = folder / "store"
    Host.start(capture.propagation(store, 0), folder).run_to_end()
    Host.start(capture.bake(store, folder / "whole"), folder).run_to_end()
    whole = images(folder / "whole")
    for number in range(count):
        disk = _Disk(folder / f"disk{number}")
        with disk.mounted() as mount:
            host = Host.start(capture.bake(store, mount / "out"), folder)
            when = _wait(host, rng)
            copy = disk.cut(host)
        with copy.mounted() as mount:
            faults = bake_faults(mount / "out", whole, is_over=host.ended == "finished")
        outcome.faults += [f"cut {number + 1}, {when}: {fault}" for fault in faults]
        outcome.tried += 1
        shutil.rmtree(disk.folder)
    return outcome


def _wait(host: Host, rng: random.Random) -> str:
    """Wait for the moment of the cut; returns that moment in words."""
    if rng.random() < 0.5:
        frame = rng.randrange(_FRAMES)
        host.wait_for(frame)
        time.sleep(rng.random() * 0.05)
        return f"after frame {frame}"
    host.run_to_end()
    # By then ext4 has written the names by itself, but not the contents.
    seconds = rng.choice((0, 7))
    time.sleep(seconds)
    return f"{seconds} s after the end"


class _Disk:
    """An ext4 disk in a file, with the strictest settings of ext4."""

    def __init__(self, folder: Path, image: Path | None = None) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._image = image or folder / "image"
        if image is None:
            with self._image.open("wb") as file:
                file.truncate(_MEGABYTES << 20)
            _call("mkfs.ext4", "-q", "-F", str(self._image))

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        place = self.folder / f"{self._image.name}_mounted"
        place.mkdir()
        # Without its help for programs that do not sync, and with the least order.
        options = "loop,noauto_da_alloc,data=writeback"
        _call("mount", "-o", options, str(self._image), str(place))
        try:
            yield place
        finally:
            _unmount(place)

    def cut(self, host: Host) -> _Disk:
        """Copy what is on the disk now to another disk; the host and its worker end."""
        if host.process.poll() is None:
            host.process.send_signal(signal.SIGSTOP)
        host.signal_worker(signal.SIGSTOP)
        copy, again = self.folder / "copy", self.folder / "again"
        while True:  # the system itself may still write: copy until two copies are equal
            shutil.copyfile(self._image, copy)
            shutil.copyfile(self._image, again)
            if _same(copy, again):
                break
        again.unlink()
        host.signal_worker(signal.SIGKILL)
        host.process.kill()
        host.process.wait()
        end = time.monotonic() + _LETS_GO
        while host.worker_lives and time.monotonic() < end:
            time.sleep(0.02)
        return _Disk(self.folder, copy)


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            blocks = first.read(1 << 20), second.read(1 << 20)
            if blocks[0] != blocks[1]:
                return False
            if not blocks[0]:
                return True


def _unmount(place: Path) -> None:
    """Unmount a disk, after the last killed process has released it."""
    end = time.monotonic() + _LETS_GO
    while True:
        try:
            return _call("umount", str(place))
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _reason() -> str:
    """Return why no disk can be cut here; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "wants Linux and root"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]
    return f"{missing[0]} is not installed" if missing else ""
