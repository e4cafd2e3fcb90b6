# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts pip: a script run by its path under ``python -I``; standard library only.

    python -I pip_start.py FROM ARGUMENT ...

``FROM`` is a folder or a wheel that holds pip; empty for the pip that this Python has. ``-I`` leaves
out the working folder, the user's own packages and PYTHONPATH: nothing that happens to lie somewhere
runs in pip's place. What pip starts, to build packages, has the environment as it is.

Its standard input is a pipe that nobody writes to. When that ends, so has the process that asked for
pip, and pip ends with all that it started.
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
    """Run pip as if it had been called itself."""
    source, *arguments = sys.argv[1:]
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    host = _host()
    if sys.platform == "linux":  # a stopped pip wakes, and sees that its input has ended
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
    """Wait for the end of a pipe, then end this process and what it started."""
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
