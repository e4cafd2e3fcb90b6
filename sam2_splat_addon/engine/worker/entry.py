# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the worker. This script is run by its path under ``python -I``.

    python -I entry.py --addon FOLDER [--host PROCESS] [--site FOLDER ...]

``--addon`` is the add-on's folder. It may have any name: ``sam2_splat_addon`` in the source tree,
``sam2_splat`` below Blender's extensions. In the worker the package always has the same name. Its
own ``__init__`` is for Blender and is never run. ``--host`` is a process id: the worker ends when
that process ends. ``-I`` ignores PYTHONPATH, so ``--site`` gives the folders with torch and the
other packages.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import importlib.machinery
import importlib.util
import io
import os
import site
import sys
from pathlib import Path
from typing import BinaryIO

PACKAGE = "sam2_splat_addon"


def take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for the protocol alone; returns (requests, events).

    After this, descriptor 1 is standard error. So a print of a library, in Python or in C, can't
    break the stream of events. Descriptor 0 is empty, so no library or child process reads
    requests.
    """
    requests = os.fdopen(os.dup(0), "rb")
    events = os.fdopen(os.dup(1), "wb")
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(requests.fileno(), os.O_BINARY)
        msvcrt.setmode(events.fileno(), os.O_BINARY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return requests, events


def put_first(folders: list[str]) -> None:
    """Put the site folders before this Python's own packages, and obey their ``.pth`` files.

    Blender has its own numpy, but the worker's must be used. The standard library stays before
    both, so that no backport hides a part of it.
    """
    own = list(sys.path)
    for folder in folders:
        site.addsitedir(folder)
    wanted = [str(Path(folder).resolve()) for folder in folders]
    added = [
        entry for entry in sys.path if entry not in own or str(Path(entry).resolve()) in wanted
    ]
    rest = [entry for entry in sys.path if entry not in added]
    packages = [
        index
        for index, entry in enumerate(rest)
        if Path(entry).name in ("site-packages", "dist-packages")
    ]
    at = packages[0] if packages else len(rest)
    sys.path[:] = rest[:at] + added + rest[at:]


def volunteer_for_out_of_memory() -> None:
    """Ask Linux to end this process, not Blender, when memory runs out."""
    with contextlib.suppress(OSError):  # other systems lack this file, and some forbid writing it
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def make_package(addon: Path) -> None:
    """Make the add-on's folder importable as ``PACKAGE`` without running its ``__init__``."""
    spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(addon)]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)


def main() -> None:
    """Set up the process and answer requests until their stream ends."""
    parser = argparse.ArgumentParser(description="The worker process of SAM2 Splat.")
    parser.add_argument("--addon", type=Path, required=True)
    parser.add_argument("--host", type=int, default=0)
    parser.add_argument("--site", action="append", default=[])
    arguments = parser.parse_args()
    make_package(arguments.addon)
    importlib.import_module(f"{PACKAGE}.core.system.parent_death").end_with_host(arguments.host)
    requests, events = take_streams()
    faulthandler.enable()  # after a crash in C the Python stack is on standard error
    volunteer_for_out_of_memory()
    # sam2 uses a few operations that MPS lacks. torch reads this at its import.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # Every run on an NVIDIA GPU must give the same sums. cuBLAS reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    put_first(arguments.site)
    worker = importlib.import_module(f"{PACKAGE}.engine.worker.loop")
    worker.serve(requests, events)


if __name__ == "__main__":
    main()
