# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop files from outside onto the Clip Editor. Played inside Blender."""

from __future__ import annotations

from tools.window.session import Play, Until, Window


def scenario(window: Window) -> Play:
    photos = sorted(path for path in (window.folder / "photos").iterdir() if path.is_file())

    for dropped in (photos[2:3], photos[1:4]):
        window.space.clip = None
        yield from window.drawn()
        # Blender itself handles dropped files. It opens what it takes for a sequence.
        yield from window.drop(*dropped)
        yield Until(lambda: window.clip is not None, "the dropped photo is open")
        assert not window.clip.sam2_splat.frame_count, "the add-on took the drop"
        yield from window.picture(f"dropped_{len(dropped)}")
        # The panel has the button for the rest.
        sidebar = window.region("UI")
        yield from window.push("load(filepath=", near=sidebar.y + sidebar.height - 100)
        yield from window.loaded(photos[0].parent)
    window.note(frames=window.clip.sam2_splat.frame_count)

    # Blender does not know these, so it gives them to the add-on, which loads their folder at once.
    further = sorted((window.folder / "further photos").iterdir())
    window.space.clip = None
    yield from window.drawn()
    yield from window.drop(*further[:1])
    yield from window.loaded(further[0].parent)
    window.note(further=window.clip.sam2_splat.frame_count)
