# SPDX-License-Identifier: GPL-3.0-or-later
"""Load, click, propagate, look, bake: what a user does first; played inside Blender."""

from __future__ import annotations

import bpy

from tools.window.driver import Play, Until, Window

# On the chair's seat, back and leg, in pixels of the photo.
CLICKS = ((304, 444), (183, 261), (241, 643))


def scenario(window: Window) -> Play:
    yield from window.load(window.folder / "photos")
    window.note(frames=window.clip.sam2_splat.frame_count)
    window.run("object_add", name="chair")
    yield from window.picture("loaded")

    def tracks() -> list[bpy.types.MovieTrackingTrack]:
        return list(window.clip.tracking.objects.active.tracks)

    for number, (x, y) in enumerate(CLICKS, start=1):
        yield from window.click(x, y, ctrl=True)
        yield Until(lambda wanted=number: len(tracks()) == wanted, f"click {number} makes a track")
    width, height = window.clip.size
    markers = [track.markers[0].co for track in tracks()]
    window.note(clicked=[(co[0] * width, (1 - co[1]) * height) for co in markers])
    yield from window.picture("clicked")

    window.run("propagate")
    running = window.addon("running")
    yield Until(lambda: running.current() is not None, "propagation begins")
    yield Until(lambda: running.current().fraction > 0.3, "frames come in", 120)
    yield from window.picture("propagating")
    yield from window.idle()
    window.note(layers=window.clip.sam2_splat.mask.layers.keys())
    yield from window.picture("propagated")

    window.run("bake")
    yield Until(lambda: running.current() is not None, "the bake begins")
    yield from window.idle()
    yield from window.picture("baked")
    window.note(output=window.clip.sam2_splat.output_folder)
