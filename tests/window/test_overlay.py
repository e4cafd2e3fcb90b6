# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay shows what the bake writes, to the pixel."""

from __future__ import annotations

from tools.window.play import Played


def test_overlay_pixels(played: Played) -> None:
    """At any zoom, pan and pixel aspect, white is where the matte's own pixels are inside."""
    assert len(played.seen["results"]) == 8
    for aspect, ratio, looked_at, wrong in played.seen["results"]:
        assert looked_at > 50000, f"too little of the photo is seen at {ratio}"
        assert wrong == 0, f"{wrong} pixels of {looked_at} at {ratio}, aspect {aspect}"
