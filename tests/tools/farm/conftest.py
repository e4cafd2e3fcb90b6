# SPDX-License-Identifier: GPL-3.0-or-later
"""What farms find on their workers: the command `sam2-splat`, in a folder whose name has a space."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the command, and write each of its calls into a file beside it."""
    monkeypatch.setenv("SAM2_SPLAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of the farm's own files
    folder = tmp_path / "programs here"
    folder.mkdir()
    script = folder / "sam2_splat.py"
    script.write_text(
        f"import json, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"with open({str(folder / 'calls')!r}, 'a') as file: print(json.dumps(sys.argv[1:]), file=file)\n"
        "from sam2_splat_addon.client.command.main import main\nsys.exit(main())\n",
        encoding="utf-8",
    )
    if os.name == "nt":
        starter = folder / "sam2-splat.cmd"
        starter.write_text(f'@"{sys.executable}" "{script}" %*\n')
    else:
        starter = folder / "sam2-splat"
        starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        starter.chmod(0o755)
    return starter
