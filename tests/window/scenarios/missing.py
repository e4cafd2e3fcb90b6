# SPDX-License-Identifier: GPL-3.0-or-later
"""Click while SAM 2 is not installed and Blender is offline: the click says so. Played inside Blender."""

from __future__ import annotations

import os
import time

import bpy

from tests.window.scenarios.found import AS_STARTED, tab
from tests.window.scenarios.search import pause
from tools.window.session import Play, Until, Window

__all__ = ["AS_STARTED"]

SEAT, BACK, LEG = (304, 444), (183, 261), (241, 643)
_SITE = "SAM2_SPLAT_SITE"


def scenario(window: Window) -> Play:
    site = os.environ.pop(_SITE)
    sign = window.addon("ui.click_sign")
    window.run("load", filepath=str(window.folder / "photos"))
    yield Until(lambda: window.area.type == "CLIP_EDITOR", "the Masking workspace opens")
    yield from window.loaded(window.folder / "photos")
    yield Until(lambda: tab(window) == "SAM2 Splat", "the add-on's tab is in front")
    assert not bpy.app.online_access
    yield from window.picture("offline")

    yield from window.click(*SEAT)
    yield Until(lambda: len(window.tracks()) == 1, "the click is there")
    assert sign.text_for(window.clip, 1) == "SAM 2 is not installed yet"
    yield pause(1.5)
    yield from window.picture("clicked")
    # The popover has opened with Blender's own button under the mouse.
    at = window._at
    assert at is not None
    window.send("MOUSEMOVE", "NOTHING", (at[0] + 3, at[1]))
    yield from window.drawn()
    yield from window.strike("LEFTMOUSE", at)
    yield Until(lambda: bpy.app.online_access, "the popover's button allows online access")
    yield pause(1.0)
    yield from window.picture("allowed")
    yield from window.press("ESC")

    # As after the installation.
    os.environ[_SITE] = site
    texts: set[str] = set()

    def has_mask() -> bool:
        texts.add(sign.text_for(window.clip, 1))
        return bool(window.has_mask())

    yield Until(has_mask, "the preview shows a mask", 120)
    assert "Starting SAM 2 ..." in texts, texts
    yield Until(lambda: not sign.text_for(window.clip, 1), "the sign goes")

    seconds, live = [], window.addon("tasks.live_preview")
    for number, place in enumerate((BACK, LEG), start=2):
        at = yield from window.point_at(*place)
        window.send("LEFTMOUSE", "PRESS", at)
        window.send("LEFTMOUSE", "RELEASE", at)
        began = time.monotonic()

        def answered(wanted: int = number) -> bool:
            return len(window.tracks()) == wanted and not live.is_busy() and bool(window.has_mask())

        yield Until(answered, "the next click is answered", 60)
        seconds.append(round(time.monotonic() - began, 2))
    window.note(later_clicks=seconds)

    window.clip.sam2_splat.model = "sam2.1_hiera_tiny"
    yield Until(
        lambda: "not downloaded" in sign.text_for(window.clip, 1), "the click needs a model"
    )
    yield from window.picture("model")
