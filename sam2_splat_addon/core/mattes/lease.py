# SPDX-License-Identifier: GPL-3.0-or-later
"""Allow one run at a time in a folder, among all computers that see it.

Locks of the system do not reach every network drive. So a run also has a lease: a file that only one can
create, with the name of its owner and a number that the owner raises every few seconds. No clock of
another computer counts, since clocks differ. Whoever finds a lease watches it by its own clock. If the
number rises, the owner lives. If it does not rise for `LAPSE` seconds, the owner is gone, and its lease is
taken away.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from ..errors import StoreError
from ..system.atomic_file import is_running, sync_file, this_machine
from ..system.links import is_link
from ..system.safe_read import UNREADABLE, read_plain

LEASE_NAME: Final = "run.lease"
BEAT: Final = 5.0
"""Seconds between two signs of life."""
LAPSE: Final = 60.0
"""Seconds without a sign of life after which an owner is gone."""

_CUT_OFF: Final = 2.0  # s in which a lease that is just being made gets its content
_LOOK: Final = 0.5  # s between two looks at another's lease
_MADE_BY: Final = "SAM2 Splat"
_BEGIN: Final = b'{"made_by":"SAM2 Splat"'
_SIZE: Final = 512  # bytes, always: so each sign of life is written in one piece over the last one
_LONGEST_HOST: Final = 100  # letters


class Owner(msgspec.Struct, frozen=True):
    """Who has a lease.

    Attributes
    ----------
    machine
        A digest that differs between machines and containers.
    host
        The name of the machine, for people.
    process
        Its process id there.
    token
        Differs for each run.
    beat
        Rises as long as the run lives.
    """

    made_by: str
    machine: str
    host: str
    process: int
    token: str
    beat: int = 0


class Lease:
    """A lease that this process holds. Without a file it holds nothing, and never loses it."""

    def __init__(self, path: Path | None, me: Owner) -> None:
        self._path = path
        self._me = me
        self._lost_to: str | None = None
        self._ends = threading.Event()
        if path is not None:
            threading.Thread(target=self._live, name="sam2_splat lease", daemon=True).start()

    def check(self) -> None:
        """Raise StoreError if another computer has taken the folder, since this one gave no sign of life."""
        if self._lost_to is not None and self._path is not None:
            raise StoreError(
                f"{self._lost_to} has taken over the run in {self._path.parent}, because this computer gave"
                " no sign of life for a while.",
                "Let it finish there. What was finished here is kept.",
            )

    def release(self) -> None:
        """Give the lease back."""
        self._ends.set()
        if self._path is not None and self._lost_to is None:
            with contextlib.suppress(OSError):
                found = _owner(read_plain(self._path))
                if found is not None and found.token == self._me.token:
                    self._path.unlink()

    def _live(self) -> None:
        """Give signs of life until the end. A drive that does not answer is tried again."""
        while not self._ends.wait(BEAT):
            with contextlib.suppress(OSError):
                self._beat()

    def _beat(self) -> None:
        assert self._path is not None
        self._me = msgspec.structs.replace(self._me, beat=self._me.beat + 1)
        try:
            with self._path.open("r+b", buffering=0) as file:
                found = _owner(file.read(_SIZE))
                if found is not None and found.token != self._me.token:
                    self._lost_to = found.host
                    self._ends.set()
                    return
                file.seek(0)
                file.write(_bytes(self._me))
                sync_file(file.fileno())
        except FileNotFoundError:  # somebody took it by mistake and could not put it back
            if not self._ends.is_set():
                _create(self._path, self._me)


def _me() -> Owner:
    host = platform.node()[:_LONGEST_HOST] or "another computer"
    return Owner(_MADE_BY, this_machine(), host, os.getpid(), secrets.token_hex(8))


@contextlib.contextmanager
def leased(folder: Path, waits: Callable[[str], None], *, locked: bool = False) -> Iterator[Lease]:
    """Hold the lease of a folder.

    Parameters
    ----------
    locked
        Whether this process holds the system's lock of the folder. Then no other process of this
        machine can, so what a power cut has left of one is taken away at once.
    waits
        Called now and then while an owner is watched that may be gone, with its host; may raise.

    Raises
    ------
    StoreError
        Another owner lives, or a file that is not ours has the name of the lease.
    """
    me, path = _me(), folder / LEASE_NAME
    held: Path | None = path
    try:
        _take(path, me, waits, locked=locked)
    except OSError:  # if no file can be made, nothing is leased
        held = None
    lease = Lease(held, me)
    try:
        yield lease
    finally:
        lease.release()


def require_free(folder: Path) -> None:
    """Raise StoreError if a run has the lease of a folder. Never waits: a lapsed lease counts too."""
    path = folder / LEASE_NAME
    try:
        owner = _owner(read_plain(path))
    except OSError:
        return
    if owner is not None and not _is_dead(owner):
        raise _refusal(
            path,
            owner,
            f"Wait until it has finished. If {owner.host} is gone, propagate here first.",
        )


def _take(path: Path, me: Owner, waits: Callable[[str], None], *, locked: bool) -> None:
    """Create the lease, if need be after its owner is gone. Raises StoreError and OSError."""
    has_met = False
    while not (_create(path, me) and (not has_met or _is_still(path, me))):
        has_met = True
        try:
            seen = read_plain(path)
        except FileNotFoundError:
            continue
        _require_ours(path, seen)
        owner = _owner(seen)
        gone = owner is not None and (
            _is_dead(owner) or (locked and owner.machine == this_machine())
        )
        lapse = _CUT_OFF if owner is None and locked else LAPSE
        lapsed = seen if gone else _watch(path, seen, waits, lapse)
        if lapsed is not None:
            _remove(path, lapsed, me)


def _is_still(path: Path, me: Owner) -> bool:
    """Whether a lease is ours a moment after others may have tried to take the same one away."""
    time.sleep(2 * _LOOK)
    try:
        owner = _owner(read_plain(path))
    except FileNotFoundError:
        return False
    return owner is not None and owner.token == me.token


def _create(path: Path, me: Owner) -> bool:
    """Create the file with an owner. Return False if it is there. Raises OSError."""
    if is_link(path):
        raise StoreError(f"{path} is a link, and could lead to anything.", "Remove it.")
    try:
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0))
    except FileExistsError:
        return False
    try:
        os.write(number, _bytes(me))
        sync_file(number)
    finally:
        os.close(number)
    return True


def _watch(path: Path, seen: bytes, waits: Callable[[str], None], lapse: float) -> bytes | None:
    """Return the content that has not changed for a while; None if the owner has finished.

    Raises StoreError if the owner lives.
    """
    began = time.monotonic()
    owner = _owner(seen)
    while time.monotonic() - began < lapse:
        waits(owner.host if owner is not None else "another computer")
        time.sleep(_LOOK)
        try:
            now = read_plain(path)
        except FileNotFoundError:
            return None
        if now != seen:
            living = _owner(now)
            if living is not None:
                raise _refusal(
                    path, living, "Wait until it has finished, or cancel it there; then try again."
                )
            seen, began, lapse = now, time.monotonic(), LAPSE
    return seen


def _remove(path: Path, lapsed: bytes, me: Owner) -> None:
    """Take a lapsed lease away. If somebody was faster, put back what is there now, and raise StoreError."""
    aside = path.with_name(f"{path.name}.{me.token}")
    try:
        if read_plain(path) != lapsed:
            return
        path.rename(aside)
    except FileNotFoundError:
        return
    taken = read_plain(aside)
    owner = _owner(taken)
    if taken != lapsed:
        with contextlib.suppress(OSError):  # then it is put back by its owner
            os.link(aside, path)
    aside.unlink()
    if taken != lapsed and owner is not None:
        raise _refusal(path, owner, "Wait until it has finished; then try again.")


def _require_ours(path: Path, data: bytes) -> None:
    if data[: len(_BEGIN)] != _BEGIN[: len(data)]:
        raise StoreError(f"{path} is there, and SAM2 Splat did not make it.", "Move it away.")


def _is_dead(owner: Owner) -> bool:
    """Whether an owner of this machine has ended."""
    is_elsewhere = owner.machine != this_machine() or owner.process == os.getpid()
    return not is_elsewhere and not is_running(str(owner.process))


def _owner(data: bytes) -> Owner | None:
    """Return who has a lease with this content. None if it is cut off."""
    try:
        return msgspec.json.decode(data, type=Owner)
    except UNREADABLE:
        return None


def _bytes(owner: Owner) -> bytes:
    return msgspec.json.encode(owner).ljust(_SIZE)


def _refusal(path: Path, owner: Owner, fix: str) -> StoreError:
    photos = path.parent.parent
    if owner.machine == this_machine():
        return StoreError(f"Another Blender is propagating over the photos of {photos}.", fix)
    return StoreError(
        f"Another computer, {owner.host}, is propagating over the photos of {photos}.", fix
    )
