# SPDX-License-Identifier: GPL-3.0-or-later
"""Load a video: see which frames are taken, take fewer, and make the photos. Played inside Blender."""

from __future__ import annotations

from typing import Any

from tools.window.editor import manager
from tools.window.session import Play, Until, Window


def scenario(window: Window) -> Play:
    preview = window.addon("overlay.video_preview")
    video = window.folder / "walk.mp4"
    window.run("load", filepath=str(video))
    yield Until(lambda: preview.waiting() is not None, "the video was looked at", 120)
    yield from window.idle()
    yield from window.drawn()
    yield from window.picture("chosen")
    settings: Any = manager()
    counts = [len(preview.waiting().choice().chosen)]
    settings.sam2_splat.video_photos = 6
    yield from window.drawn()
    counts.append(len(preview.waiting().choice().chosen))
    yield from window.picture("fewer")
    assert not list(window.folder.glob("walk_photos*")), "photos were made before the user said so"

    sidebar = window.region("UI")
    yield from window.push("make_photos", near=sidebar.y + sidebar.height // 2)
    yield from window.loaded(window.folder / "walk_photos")
    assert preview.waiting() is None
    yield from window.picture("made")
    window.note(counts=counts, frames=window.clip.sam2_splat.frame_count)
