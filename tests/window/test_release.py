# SPDX-License-Identifier: GPL-3.0-or-later
"""A release served on this machine lives its whole life in Blender's own command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.served import live
from tests.window.conftest import skip_when_late, skip_without
from tools.build_extension import build
from tools.window.debian import RELEASES, Release, in_use
from tools.window.launcher import InstalledBlender, without_wheels


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.suite)
def test_release_is_added_installed_updated_and_removed_without_a_trace(
    release: Release, tmp_path: Path
) -> None:
    skip_when_late()
    skip_without(release)
    whole = build("linux-x64", release.zip_python, tmp_path / "dist")
    # Debian's Python is another than the wheels', and has msgspec.
    archive = tmp_path / whole.name
    without_wheels(whole, archive)
    session = tmp_path / "session"
    session.mkdir()
    blender = InstalledBlender(release, session)

    def run(command: str, *arguments: str) -> str:
        how = ("-b", "--python-exit-code", "9", "--python-expr")
        if command != "python":
            how = ("--online-mode", "--command", "extension", command)
        ended = blender.blender(*how, *arguments)
        assert ended.code == 0, f"{command} ended with {ended.code}:\n{ended.said}"
        assert "Traceback" not in ended.said, ended.said
        return ended.said

    with in_use(release):
        live(run, archive, session / "home", tmp_path, has_wheels=False)
