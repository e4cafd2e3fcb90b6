# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay shows exactly the pixels that the bake writes."""

from __future__ import annotations

import numpy as np

from tests.window.capture import make_photos
from tests.window.conftest import SCENARIOS
from tests.window.pictures import photo_on
from tools.window.launcher import InstalledBlender

SIZES = {"portrait": (600, 900), "landscape": (900, 600), "panorama": (1200, 600)}


def test_overlay_pixels(blender: InstalledBlender) -> None:
    """At any zoom, pan, shape and pixel aspect, the pixels inside the matte are white."""
    for name, size in SIZES.items():
        make_photos(blender.session / "overlay_pixels" / name, size)
    seen = blender.play(SCENARIOS / "overlay_pixels.py").seen
    results = seen["results"]
    assert len(results) == 24
    for name, aspect, ratio, looked_at, wrong in results:
        width, height = SIZES[name]
        enough = min(50000, 0.5 * width * aspect * height * ratio**2)
        assert looked_at > enough, f"too little of the {name} is seen at {ratio}"
        assert wrong == 0, f"{wrong} pixels of {looked_at} of the {name} at {ratio}, {aspect}"
    # With small holes filled and specks dropped, and with a soft edge.
    looked_at, wrong = seen["tidied"]
    assert seen["moved"] > 0
    assert looked_at > 50000
    assert wrong == 0
    between, error = seen["soft"]
    assert between > 500
    assert error < 0.02


def test_trainer_view(blender: InstalledBlender) -> None:
    """Kept parts are the photo's, removed ones black, and ignored ones hatched, as each trainer has it."""
    size = (600, 900)
    make_photos(blender.session / "trainer_view" / "photos", size)
    played = blender.play(SCENARIOS / "trainer_view.py")
    plain = photo_on(played, "plain", size)

    def kind(name: str, left: int, right: int) -> str:
        """Say what a part between two columns of the photo looks like."""
        part = np.s_[300:600, left + 8 : right - 8]
        now, before = photo_on(played, name, size)[part], plain[part]
        if np.nanmax(np.abs(now - before)) < 4:
            return "photo"
        if np.nanmax(now) < 4:
            return "black"
        stripes = np.nanstd(now.mean(axis=2), axis=1).mean()
        assert stripes > 20, f"{name} has neither photo, black nor stripes at {left}"
        return "hatched"

    parts = ((100, 200), (200, 300), (300, 360), (360, 440), (440, 500), (500, 600))
    seen = {
        name: [kind(name, *part) for part in parts]
        for name in ("lichtfeld", "colmap", "postshot", "scene")
    }
    assert seen == {
        "lichtfeld": ["photo", "black", "photo", "hatched", "photo", "black"],
        "colmap": ["photo", "hatched", "photo", "hatched", "photo", "hatched"],
        "postshot": ["photo", "black", "photo", "black", "photo", "black"],
        "scene": ["photo", "black", "photo", "hatched", "photo", "photo"],
    }
