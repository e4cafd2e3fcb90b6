# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user does in Blender's window, played there with mouse and keys and looked at after.

Each test plays the scenario of its own name (scenarios/), which fails by itself where Blender's answer is
wrong; what is left to the test is to look at the pictures and files.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.window.capture import FRAMES, SIZE, Capture
from tests.window.pictures import iou
from tools.window.play import Played


def test_first_try(played: Played, capture: Capture) -> None:
    """Load, three clicks, propagate, bake: PNGs that keep the chair and the photo's own pixels."""
    assert played.seen["frames"] == FRAMES
    assert played.seen["layers"] == ["chair"]
    clicked = np.array(played.seen["clicked"])
    assert np.abs(clicked - [(304, 444), (183, 261), (241, 643)]).max() < 2.0
    output = capture.photos / "postshot_v001"
    assert sorted(path.stem for path in output.glob("*.png")) == capture.stems()
    overlaps = []
    for stem in capture.stems():
        with (
            Image.open(output / f"{stem}.png") as baked,
            Image.open(capture.photos / f"{stem}.JPG") as photo,
        ):
            assert baked.mode == "RGBA"
            assert baked.size == SIZE
            pixels = np.asarray(baked)
            assert np.array_equal(pixels[..., :3], np.asarray(photo))
            overlaps.append(iou(pixels[..., 3] > 127, capture.truth_of(stem)))
    assert np.mean(overlaps) > 0.7, overlaps


def test_cancel(played: Played) -> None:
    """ESC stops a propagation; what was finished stays, and the next one does the rest."""
    assert 2 <= played.seen["kept"] < FRAMES
    assert played.seen["finished"] == FRAMES


def test_meanwhile(played: Played) -> None:
    """Undo, a deleted clip and a new file during a propagation do no harm."""
    assert played.seen["frames"] == FRAMES
