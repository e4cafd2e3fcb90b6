# SPDX-License-Identifier: GPL-3.0-or-later
"""Start pip. This script is run by its path under ``python -I``, with the standard library only.

    python -I pip_start.py FROM ARGUMENT ...

``FROM`` is a folder or a wheel with pip in it. If it is empty, the pip of this Python is used. ``-I``
ignores the working folder, the packages of the user and PYTHONPATH, so that no other file can run
instead of pip. Processes that pip starts to build packages have the normal environment.

Nothing is written to the standard input, which is a pipe. It ends when the process that asked for pip
ends. Then pip ends too, with all that it started.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from typing import Any

_HOST = Path(__file__).resolve().parents[2] / "core" / "system" / "parent_death.py"


def main() -> None:
    """Run pip as if it had been called directly."""
    source, *arguments = sys.argv[1:]
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    host = _host()
    if sys.platform == "linux":  # a stopped pip wakes up and sees that its input has ended
        host.end_with_host(sign=signal.SIGCONT)
    threading.Thread(target=_end_with, args=(pipe, host), name="host", daemon=True).start()
    if source:
        sys.path.insert(0, source)
    sys.argv = ["pip", *arguments]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def _host() -> Any:
    """The module about the host, which this script can't import: it is in no package."""
    spec = importlib.util.spec_from_file_location("sam2_splat_host", _HOST)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    host = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(host)
    return host


def _end_with(pipe: int, host: Any) -> None:
    """Wait for the end of a pipe, then end this process and all that it started."""
    try:
        while os.read(pipe, 1 << 10):
            pass
    except OSError:
        pass
    host.end_strays(os.environ.get(host.MARK, ""))
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
