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
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # from Linux's <sys/prctl.h>
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


def _ask_linux(sign: int) -> bool:
    """Ask for a signal at the end of the thread that started this process; whether that went well."""
    import ctypes

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
