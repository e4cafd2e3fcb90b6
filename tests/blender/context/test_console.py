# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on's log prints to Blender's console."""

from __future__ import annotations

import logging

import pytest

pytestmark = pytest.mark.usefixtures("addon")


def test_the_log_goes_to_the_console_from_its_level_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.context import console

    console.log.log(console.level_of("output"), "torch says something")
    console.log.warning("chair\x1b[31m.jpg can't be read.\nLoad it again.")
    said = capfd.readouterr().out
    assert "SAM2 Splat: torch says something\n" in said
    assert "\x1b" not in said
    assert said.endswith("can't be read.\nLoad it again.\n")
    monkeypatch.setattr(console._to_console, "level", logging.WARNING)
    console.log.log(console.level_of("info"), "Device: CPU")
    console.log.log(console.level_of("warning"), "Left out.")
    assert console.last_lines()[-2:] == ("Device: CPU", "Left out.")
    assert capfd.readouterr().out == "SAM2 Splat: Left out.\n"
