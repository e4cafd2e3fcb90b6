# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender in a real window for each Debian that is ready, the built zip installed in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.window.capture import Capture, make_capture
from tools.build_extension import build
from tools.window.debian import RELEASES, Release, is_ready
from tools.window.play import InstalledBlender, Played

SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.fixture(scope="session", params=RELEASES, ids=lambda release: release.suite)
def blender(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> InstalledBlender:
    """A Blender with the extension installed from its zip."""
    release: Release = request.param
    if not is_ready(release):
        pytest.skip(
            f"No Debian {release.suite} with Blender {release.blender} is ready: "
            "python tools/test.py --window makes it."
        )
    archive = build("linux-x64", release.zip_python, tmp_path_factory.mktemp("dist"))
    installed = InstalledBlender(release, tmp_path_factory.mktemp(release.suite))
    ended = installed.install(archive)
    assert ended.code == 0, ended.said
    return installed


@pytest.fixture
def capture(blender: InstalledBlender, request: pytest.FixtureRequest) -> Capture:
    """Photos in a folder of the test's own, which its play finds: test_cancel_..., cancel."""
    return make_capture(blender.session / request.node.originalname.removeprefix("test_"))


@pytest.fixture
def played(blender: InstalledBlender, capture: Capture, request: pytest.FixtureRequest) -> Played:
    """The play that has the test's name, played: test_first_try plays scenarios/first_try.py."""
    name = request.node.originalname.removeprefix("test_")
    return blender.play(SCENARIOS / f"{name}.py")
