# SPDX-License-Identifier: GPL-3.0-or-later
"""A release on this machine's server is added, installed, updated and removed by Blender."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.packaging.served import live, served
from tests.window.conftest import skip_when_late, skip_without
from tools.build_extension import build
from tools.release import publish
from tools.window.debian import RELEASES, Release, in_use
from tools.window.launcher import InstalledBlender, without_wheels

DRAG = Path(__file__).with_name("drag_link.py")


@pytest.fixture(params=RELEASES, ids=lambda release: release.suite)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[InstalledBlender, Path]]:
    """A Blender without the extension, and the zip that it takes."""
    release: Release = request.param
    skip_when_late()
    skip_without(release)
    whole = build("linux-x64", release.zip_python, tmp_path / "dist")
    # Debian's Python has another version than the wheels, and has msgspec.
    archive = tmp_path / whole.name
    without_wheels(whole, archive)
    session = tmp_path / "session"
    session.mkdir()
    with in_use(release):
        yield InstalledBlender(release, session), archive


def test_release_is_added_installed_updated_and_removed_without_a_trace(
    bare: tuple[InstalledBlender, Path], tmp_path: Path
) -> None:
    blender, archive = bare

    def run(command: str, *arguments: str) -> str:
        how = ("-b", "--python-exit-code", "9", "--python-expr")
        if command != "python":
            how = ("--online-mode", "--command", "extension", command)
        ended = blender.blender(*how, *arguments)
        assert ended.code == 0, f"{command} ended with {ended.code}:\n{ended.said}"
        assert "Traceback" not in ended.said, ended.said
        return ended.said

    live(run, archive, blender.session / "home", tmp_path, has_wheels=False)


def test_link_of_the_page_dragged_onto_the_window_installs_the_extension(
    bare: tuple[InstalledBlender, Path], tmp_path: Path
) -> None:
    blender, archive = bare
    opened = blender.opens_window()
    if opened.code != 0:
        pytest.skip(f"Blender {blender.release.blender} opens no window on this machine.")
    (link,) = publish([archive], tmp_path / "repository")
    with served(tmp_path / "repository") as address:
        url = f"{address}/index.json"
        added = ("repo-add", "--clear-all", "--name", "SAM2 Splat", "--url", url, "sam2")
        ended = blender.blender("--online-mode", "--command", "extension", *added)
        assert ended.code == 0, ended.said
        ended = blender.in_window(
            *("--online-mode", "--enable-event-simulate", "-P", blender.inside(DRAG), "--"),
            *(urljoin(url, link.address), blender.inside(blender.session)),
        )
    assert "INSTALLED True" in ended.said, ended.said[-4000:]
