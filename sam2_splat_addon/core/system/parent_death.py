# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends this process when the one that started it ends, however that ends; standard library only.

Its input ends then too, and it should end by that; but a process that was stopped, or whose threads
are all busy, does not look at its input.
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
"""What of the environment tells what a process of ours has started: they inherit it."""

_PR_SET_PDEATHSIG: Final = 1  # from Linux's <sys/prctl.h>
_ROUNDS: Final = 5
_LOOK: Final = 1.0  # s between two looks at the host, where no system call tells of its end


def end_with_host(host: int = 0, sign: int = 0) -> None:
    """Have this process ended with its host; to be called early, in the main thread.

    On Linux the system does it, when the *thread* that started this process ends: that should be one
    which lives as long as this process is wanted. On Windows the host sees to it
    (`client.children`). Elsewhere a thread looks every second.

    Parameters
    ----------
    host
        The host's process id; 0: whoever is this process's parent now.
    sign
        Which signal Linux sends; 0: SIGKILL, which nothing can refuse.
    """
    if sys.platform == "win32":
        return
    host = host or os.getppid()
    if not (sys.platform == "linux" and _ask_linux(sign or signal.SIGKILL)):
        threading.Thread(target=watch, args=(host,), name="host", daemon=True).start()
    if os.getppid() != host:  # it ended before it was asked for
        os._exit(0)


def watch(host: int, look: float = _LOOK) -> None:
    """Look for the host again and again, and end this process once it is gone."""
    while os.getppid() == host:
        time.sleep(look)
    os._exit(0)


def end_strays(mark: str) -> None:
    """End all other processes that have a mark in their environment, on Linux.

    A program that has made a session of its own is in no group of ours any more. One that takes the
    mark out of its environment is not found.
    """
    if sys.platform != "linux":
        return
    wanted = f"{MARK}={mark}".encode()
    for _ in range(_ROUNDS):  # one may have started another meanwhile
        there = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]
        if not sum(_end_if(number, wanted) for number in there):
            return


def _end_if(number: int, wanted: bytes) -> bool:
    """End a process if it has these words in its environment, and return whether it had."""
    if sys.platform != "linux" or number == os.getpid():
        return False
    try:
        # What is told to end is what was looked at, even if its number is another's by then.
        handle = os.pidfd_open(number)
    except OSError:
        return False
    try:
        if wanted not in Path(f"/proc/{number}/environ").read_bytes().split(b"\0"):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:  # another user's, or it has just ended
        return False
    finally:
        os.close(handle)
    return True


def _ask_linux(sign: int) -> bool:
    """Ask for a signal at the end of the thread that started this process; whether that went well."""
    import ctypes

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
