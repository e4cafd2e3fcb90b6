# SPDX-License-Identifier: GPL-3.0-or-later
"""End this process when the process that started it ends, for whatever reason.

Its input ends then too, which should end it. But a process that is stopped, or whose threads are all
busy, does not read its input.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

MARK: Final = "SAM2_SPLAT_STARTED_BY"
"""An environment variable of our processes. All that they start inherits it, so it can be found."""

_PR_SET_PDEATHSIG: Final = 1  # from Linux's <sys/prctl.h>
_ROUNDS: Final = 5
_LOOK: Final = 1.0  # s between two looks at the host, on systems without a call for this


def end_with_host(host: int = 0, sign: int = 0) -> None:
    """End this process together with its host. Call it early, in the main thread.

    On Linux the system does it when the *thread* that started this process ends. On Windows the host
    does it (`core.system.child_processes`). On other systems a thread looks every second.

    Parameters
    ----------
    host
        Process id of the host; 0 takes the present parent of this process.
    sign
        The signal that Linux sends; 0 takes SIGKILL, which no process can refuse.
    """
    if sys.platform == "win32":
        return
    host = host or os.getppid()
    if not (sys.platform == "linux" and _ask_linux(sign or signal.SIGKILL)):
        threading.Thread(target=watch, args=(host,), name="host", daemon=True).start()
    if os.getppid() != host:  # the host ended before the system was asked
        os._exit(0)


def watch(host: int, look: float = _LOOK) -> None:
    """Look for the host every ``look`` seconds, and end this process once it is gone."""
    while os.getppid() == host:
        time.sleep(look)
    os._exit(0)


def end_strays(mark: str) -> None:
    """End all other processes that have a mark in their environment; only on Linux.

    This finds programs that left our process group by starting a session of their own. A program that
    removes the mark from its environment is not found.
    """
    if sys.platform != "linux":
        return
    wanted = f"{MARK}={mark}".encode()
    for _ in range(_ROUNDS):  # a program may have started another one in between
        there = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]
        if not sum(_end_if(number, wanted) for number in there):
            return


def _end_if(number: int, wanted: bytes) -> bool:
    """End a process if its environment has these words. Returns whether it had them."""
    if sys.platform != "linux" or number == os.getpid():
        return False
    try:
        # The handle stays with this process, even if its number goes to another one.
        handle = os.pidfd_open(number)
    except OSError:
        return False
    try:
        if wanted not in Path(f"/proc/{number}/environ").read_bytes().split(b"\0"):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:  # it belongs to another user, or has just ended
        return False
    finally:
        os.close(handle)
    return True


def _ask_linux(sign: int) -> bool:
    """Ask for a signal when the thread that started this process ends. Returns whether that worked."""
    import ctypes

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
