# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the worker: a script run by its path under ``python -I``; standard library only.

    python -I entry.py --addon FOLDER [--host PROCESS] [--site FOLDER ...]

``--addon`` is the folder of the add-on, whatever it is called there: ``sam2_splat_addon`` in the
source tree, ``sam2_splat`` below Blender's extensions. Here its package always has the same name,
and its own ``__init__`` (Blender's business) is never run. ``--host`` is the process that it ends
with. ``-I`` ignores PYTHONPATH, so the
folders that hold torch and the rest come as ``--site``.
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
    """Take standard input and output for the protocol alone; gives (requests, events).

    From then on descriptor 1 is standard error, so that a print of a library, in Python or in C,
    can't break the stream of events, and descriptor 0 is empty, so that no library or child process
    eats requests.
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
    """Add the site folders, their ``.pth`` files obeyed, before this Python's own packages.

    Blender brings a numpy of its own; the worker's must win. The standard library stays ahead of
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
    """Ask Linux to end this process rather than Blender when memory runs out."""
    with contextlib.suppress(OSError):  # other systems have no such file, and some forbid it
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def make_package(addon: Path) -> None:
    """Make the add-on's folder importable as ``PACKAGE`` without running its ``__init__``."""
    spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(addon)]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)


def main() -> None:
    """Set the process up and serve until the requests end."""
    parser = argparse.ArgumentParser(description="The worker process of SAM2 Splat.")
    parser.add_argument("--addon", type=Path, required=True)
    parser.add_argument("--host", type=int, default=0)
    parser.add_argument("--site", action="append", default=[])
    arguments = parser.parse_args()
    make_package(arguments.addon)
    importlib.import_module(f"{PACKAGE}.core.system.parent_death").end_with_host(arguments.host)
    requests, events = take_streams()
    faulthandler.enable()  # a crash in C leaves its Python lines on standard error
    volunteer_for_out_of_memory()
    # sam2 uses a few operations that MPS lacks; torch reads this when it is imported.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # The same sums from run to run on NVIDIA's GPUs; cuBLAS reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    put_first(arguments.site)
    worker = importlib.import_module(f"{PACKAGE}.engine.worker.loop")
    worker.serve(requests, events)


if __name__ == "__main__":
    main()
