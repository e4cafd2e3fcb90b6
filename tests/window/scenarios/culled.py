# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete a photo after clicks and masks were made, and load the folder again. Played inside Blender."""

from __future__ import annotations

import bpy

from tools.window.session import Play, Until, Window


def small_copies(window: Window) -> Until:
    """Wait until the editor shows small copies of large photos."""
    return Until(
        lambda: window.space.clip_user.proxy_render_size == "PROXY_25",
        "the editor shows small copies of large photos",
        120,
    )


def frames_clicked(window: Window) -> list[int]:
    """Return the frames of the active object's clicks."""
    return [m.frame for track in window.tracks() for m in track.markers if not m.mute]


def scenario(window: Window) -> Play:
    photos = window.folder / "photos"
    yield from window.load(photos)
    yield small_copies(window)
    window.run("object_add", name="chair")
    yield from window.go_to(3)
    width, height = window.clip.size
    yield from window.ctrl_click(width * 0.5, height * 0.5)
    yield from window.settled_preview()
    yield from window.to_end("propagate")
    yield from window.go_to(2)
    yield Until(window.has_mask, "the masks are shown")

    min(photos.glob("*.*")).unlink()
    yield from window.load(photos)
    assert frames_clicked(window) == [2], "the click did not go along with its photo"
    yield from window.go_to(1)
    assert not window.has_mask(), "a mask is shown over the wrong photo"
    yield small_copies(window)
    window.look.show_clicks = False
    yield from window.picture("first")

    yield from window.to_end("propagate")
    yield Until(window.has_mask, "the masks are shown again")
    window.note(frames=window.clip.sam2_splat.frame_count)

    for _ in range(2):  # the propagation, then the load
        bpy.ops.ed.undo()
        yield from window.drawn()
    assert frames_clicked(window) == [3], "undo does not undo the load"
