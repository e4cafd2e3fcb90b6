# SPDX-License-Identifier: GPL-3.0-or-later
"""Load, click, propagate, look and bake, as a user does first. Played inside Blender."""

from __future__ import annotations

from tools.window.session import Play, Until, Window

# On the chair's seat, back and leg, in px of the photo.
CLICKS = ((304, 444), (183, 261), (241, 643))


def scenario(window: Window) -> Play:
    yield from window.load(window.folder / "photos")
    window.note(frames=window.clip.sam2_splat.frame_count)
    window.clip.tracking.objects.active.name = "chair"
    yield from window.picture("loaded")

    for at in CLICKS:
        yield from window.ctrl_click(*at)
    width, height = window.clip.size
    markers = [track.markers[0].co for track in window.tracks()]
    window.note(clicked=[(co[0] * width, (1 - co[1]) * height) for co in markers])
    yield Until(window.has_mask, "the preview shows a mask", 120)
    yield from window.picture("clicked")
    window.note(color=list(window.clip.sam2_splat.objects["chair"].color))

    window.run("propagate")
    running = window.addon("context.task_runner")
    yield Until(lambda: running.current().fraction > 0.3, "frames come in", 120)
    yield from window.picture("propagating")
    yield from window.idle()
    window.note(layers=window.clip.sam2_splat.mask.layers.keys())

    yield from window.go_to(4)
    window.look.show_clicks = False
    yield from window.press("Z", shift=True)
    assert not window.look.show_overlay, "the key hides no masks"
    yield from window.picture("plain")
    yield from window.press("Z", shift=True)
    yield from window.picture("color")
    yield from window.press("Z")
    yield from window.picture("matte")
    yield from window.press("Z")
    yield from window.picture("cutout")
    window.look.overlay_mode = "matte"
    # Close to the chair's seat, with several px of the screen for one px of the photo.
    window.run("clip.view_zoom_ratio", ratio=4.0)
    window.run("clip.view_pan", offset=(-200.0, 500.0))
    yield from window.picture("matte_close")

    yield from window.to_end("bake")
    window.note(output=window.clip.sam2_splat.output_folder)
