# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of docs/guide.md can be taken again, and show what the guide says.

To put them into the guide:

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
from tools.window.launcher import InstalledBlender

# Enough photos of the sample, so that somebody walks past.
FRAMES = 24
VARIABLE = "SAM2_SPLAT_GUIDE_PICTURES"
# Parts of Blender's window: the Clip Editor, and the part of an empty one with text.
CUT = (0, 27, 1313, 906)
CUT_EMPTY = (600, 27, 1313, 360)
WIDTH = 1000


def test_guide(blender: InstalledBlender, tmp_path: Path) -> None:
    if blender.release is not RELEASES[0]:
        pytest.skip("The guide shows one Blender.")
    make_capture(blender.session / "guide", FRAMES)
    played = blender.play(SCENARIOS / "guide.py")
    folder = Path(os.environ.get(VARIABLE) or tmp_path)
    names = sorted(played.seen["pictures"])
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
