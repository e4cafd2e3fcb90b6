# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of docs/guide.md and README.md can be taken again, and show what the texts say.

To put them into the docs:

    SAM2_SPLAT_GUIDE_PICTURES=docs/images python tools/test.py --window -k "guide and sid"
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.window.capture import make_capture
from tests.window.conftest import SCENARIOS
from tools.window.debian import RELEASES
from tools.window.launcher import InstalledBlender, Played

# Enough photos of the sample, so that somebody walks past.
FRAMES = 24
VARIABLE = "SAM2_SPLAT_GUIDE_PICTURES"
# Parts of Blender's window: the Clip Editor, and the part of an empty one with text.
CUT = (0, 27, 1313, 906)
CUT_EMPTY = (600, 27, 1313, 360)
WIDTH = 1000
FILM_WIDTH = 800


def test_guide(blender: InstalledBlender, tmp_path: Path) -> None:
    if blender.release is not RELEASES[0]:
        pytest.skip("The guide shows one Blender.")
    make_capture(blender.session / "guide", FRAMES)
    played = blender.play(SCENARIOS / "guide.py")
    folder = Path(os.environ.get(VARIABLE) or tmp_path)
    names = sorted(name for name in played.seen["pictures"] if not name.startswith("film_"))
    assert [int(name[0]) for name in names] == list(range(1, 9))
    size = 0
    for name in names:
        with Image.open(played.folder / f"{name}.png") as picture:
            cut = picture.convert("RGB").crop(CUT_EMPTY if name == "1_empty" else CUT)
        assert np.asarray(cut).std() > 10, f"{name} shows nothing"
        cut.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
        target = folder / f"guide_{name}.jpg"
        cut.save(target, quality=84, optimize=True)
        size += target.stat().st_size
    assert size < 1_000_000, "the guide's pictures are too large"
    _make_film(played, folder / "film.webp")


def _make_film(played: Played, target: Path) -> None:
    """Join the pictures of the README's moving picture."""
    shots: list[tuple[str, int]] = played.seen["film"]
    assert len(shots) >= 12
    frames = []
    for name, _ in shots:
        with Image.open(played.folder / f"{name}.png") as picture:
            cut = picture.convert("RGB").crop(CUT)
        cut.thumbnail((FILM_WIDTH, FILM_WIDTH), Image.Resampling.LANCZOS)
        frames.append(cut)
    durations = [milliseconds for _, milliseconds in shots]
    frames[0].save(
        target, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=70
    )
    with Image.open(target) as film:
        assert getattr(film, "n_frames", 1) >= 12
    assert target.stat().st_size < 1_500_000, "the moving picture is too large"
