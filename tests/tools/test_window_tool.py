# SPDX-License-Identifier: GPL-3.0-or-later
"""The window tests' tool says why it can't make a Debian, and takes only the wheels out of a zip."""

from __future__ import annotations

import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("Window tests are for Linux.", allow_module_level=True)

from tools.window import debian, machine
from tools.window.launcher import without_wheels


def test_unreachable_mirror_is_one_sentence_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(debian.CACHE_VARIABLE, str(tmp_path))
    # Nothing listens on port 1.
    monkeypatch.setenv(machine.MIRROR_VARIABLE, "http://127.0.0.1:1/debian")
    release = debian.RELEASES[0]
    with pytest.raises(machine.NoWindowError) as raised:
        debian.make(release, time.monotonic() + 60)
    # Which of the two it is depends on the machine.
    reasons = ("Window tests need ", "The Debian mirror http://127.0.0.1:1/debian could not be")
    assert str(raised.value).startswith(reasons)
    assert not debian.is_ready(release)
    assert not debian.root_of(release).exists()


def test_zip_loses_its_wheels_and_nothing_else(tmp_path: Path) -> None:
    archive, copy = tmp_path / "whole.zip", tmp_path / "copy.zip"
    manifest = (
        'id = "x"\nwheels = [\n    "./wheels/a.whl",\n]\nname = "X"\n\n[permissions]\nfiles = "Y"\n'
    )
    with zipfile.ZipFile(archive, "w") as whole:
        whole.writestr("blender_manifest.toml", manifest)
        whole.writestr("wheels/a.whl", b"wheel")
        whole.writestr("core/plan.py", "pass\n")
    without_wheels(archive, copy)
    with zipfile.ZipFile(copy) as less:
        assert sorted(less.namelist()) == ["blender_manifest.toml", "core/plan.py"]
        left = tomllib.loads(less.read("blender_manifest.toml").decode())
        assert left == {"id": "x", "name": "X", "permissions": {"files": "Y"}}
