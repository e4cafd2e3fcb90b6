# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender in a real window, with the built zip installed, for each Debian that is ready."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.window.capture import Capture, make_capture
from tools.build_extension import build
from tools.pytest_runs import SECOND_TRY, UNTIL_VARIABLE
from tools.window.debian import RELEASES, Release, in_use, is_ready
from tools.window.launcher import InstalledBlender, Played
from tools.window.machine import obstacle

SCENARIOS = Path(__file__).parent / "scenarios"
# The first errors of tests that passed at the second try.
_FIRST_TRIES = pytest.StashKey[dict[str, str]]()
_FIRST_TRY = pytest.StashKey[str]()


@pytest.fixture(scope="session", params=RELEASES, ids=lambda release: release.suite)
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InstalledBlender]:
    """A Blender with the extension, installed from its zip."""
    release: Release = request.param
    skip_without(release)
    with in_use(release):
        found = InstalledBlender(release, tmp_path_factory.mktemp(release.suite))
        opened = found.opens_window()
        if opened.code != 0:
            last = (opened.said.strip().splitlines() or [f"it ended with {opened.code}"])[-1]
            pytest.skip(f"Blender {release.blender} opens no window on this machine: {last}")
        archive = build("linux-x64", release.zip_python, tmp_path_factory.mktemp("dist"))
        ended = found.install(archive)
        assert ended.code == 0, ended.said
        yield found


@pytest.fixture
def blender(installed: InstalledBlender) -> InstalledBlender:
    """This Blender, if there is time for another test."""
    skip_when_late()
    return installed


@pytest.fixture
def capture(blender: InstalledBlender, request: pytest.FixtureRequest) -> Capture:
    """Photos in the test's own folder, where its play finds them."""
    return make_capture(blender.session / request.node.originalname.removeprefix("test_"))


@pytest.fixture
def played(blender: InstalledBlender, capture: Capture, request: pytest.FixtureRequest) -> Played:
    """Play the scenario with the test's name. So test_first_try plays scenarios/first_try.py."""
    name = request.node.originalname.removeprefix("test_")
    return blender.play(SCENARIOS / f"{name}.py")


def skip_when_late() -> None:
    """Skip the test if no time is left for another one."""
    until = os.environ.get(UNTIL_VARIABLE)
    if until and time.monotonic() > float(until):
        pytest.skip("No time is left for another test in a window.")


def skip_without(release: Release) -> None:
    """Skip the test if a release's Debian can't be used."""
    if problem := obstacle():
        pytest.skip(problem)
    if not is_ready(release):
        pytest.skip(
            f"No Debian {release.suite} with Blender {release.blender} is ready: "
            "python tools/test.py --window makes it."
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try a play that failed again, because on a busy machine a window can miss an event."""
    for item in items:
        if "blender" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a second try in the report, and keep the error of the first."""
    report = yield
    tries = getattr(item, "execution_count", 1)
    if tries > 1 and call.when == "setup":
        item.user_properties.append((SECOND_TRY, ""))
    if tries == 1 and report.failed:
        item.stash[_FIRST_TRY] = report.longreprtext
    if tries > 1 and call.when == "call" and report.passed:
        item.config.stash.setdefault(_FIRST_TRIES, {})[item.name] = item.stash[_FIRST_TRY]
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which tests passed at the second try, with their first error."""
    for name, text in config.stash.get(_FIRST_TRIES, {}).items():
        terminalreporter.section(f"{name} passed at the second try; the first")
        terminalreporter.write_line(text[-4000:])
