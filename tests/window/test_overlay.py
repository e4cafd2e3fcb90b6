# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay shows exactly the pixels that the bake writes."""

from __future__ import annotations

from tests.window.capture import make_photos
from tests.window.conftest import SCENARIOS
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
