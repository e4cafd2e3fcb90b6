# SPDX-License-Identifier: GPL-3.0-or-later
"""Propagate two subjects on a small screen, and look at the list of photos. Played inside Blender."""

from __future__ import annotations

from typing import Any

from tools.window.session import Play, Until, Window

# On the chair and on the wall, in px of the photo.
CHAIR, WALL = (304, 444), (100, 60)


def scenario(window: Window) -> Play:
    review, search = window.addon("review.live_review"), window.addon("masks.edit_search")
    yield from window.load(window.folder / "photos")
    for name, at in (("chair", CHAIR), ("wall", WALL)):
        window.run("object_add", name=name)
        yield from window.ctrl_click(*at)
    yield from window.to_end("propagate")

    def found() -> Any:
        return review.of_clip(window.clip)

    yield Until(lambda: found() is not None and found().reviews, "the masks are reviewed", 60)
    mask = window.clip.sam2_splat.mask
    changed = [
        layer.name for layer in mask.layers if search.shown_edit(mask, layer.name, 1) is not None
    ]
    assert not changed, f"these masks look edited: {changed}"
    assert "corrected" not in found().states().values()
    yield from window.scroll("UI", 12)
    yield from window.picture("listed")
    window.note(listed=[(one.frame, one.summary) for one in found().listed()])
