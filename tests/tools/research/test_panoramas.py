# SPDX-License-Identifier: GPL-3.0-or-later
"""The panoramas to measure on: six pictures in the right places, and clicks that turn with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tools.research.bench.evaluation import panoramas
from tools.research.bench.evaluation.sources import Clip, Subject
from tools.research.capture.orbit import Pose, look_at

_SIDE = panoramas._FACE


def test_six_pictures_lie_ahead_right_behind_left_above_and_below() -> None:
    faces = [
        (np.full((_SIDE, _SIDE, 3), 40 * way, np.uint8), np.full((_SIDE, _SIDE), way, np.uint8))
        for way in range(6)
    ]
    pixels, ids = panoramas._equirectangular(faces)
    height, width = ids.shape
    assert (height, width) == (2 * _SIDE, 4 * _SIDE)
    middle = ids[height // 2]
    assert [int(middle[width * part // 8]) for part in (4, 6, 0, 2)] == [0, 1, 2, 3]
    assert middle[-1] == 2
    assert set(ids[0]) == {4} and set(ids[-1]) == {5}
    assert (pixels[..., 0] == 40 * ids).all()


def test_each_picture_looks_its_own_way_from_one_place() -> None:
    position = np.array([3.0, 1.0, 1.2])
    pose = Pose(position, look_at(position, np.zeros(3), 0.0), 35.0, (8, 8))
    ways = panoramas._six_ways(pose)
    looks = np.stack([-way.axes[:, 2] for way in ways])  # (6, 3)
    assert np.allclose(looks @ looks.T, np.array(
        [[1, 0, -1, 0, 0, 0], [0, 1, 0, -1, 0, 0], [-1, 0, 1, 0, 0, 0],
         [0, -1, 0, 1, 0, 0], [0, 0, 0, 0, 1, -1], [0, 0, 0, 0, -1, 1]]
    ), atol=1e-9)  # fmt: skip
    assert all(np.isclose(np.linalg.det(way.axes), 1.0) for way in ways)  # none is mirrored
    assert looks[4][2] > 0.99
    assert looks[0] @ position < 0  # towards the subject


def test_photos_over_the_seam_are_the_same_ones_turned(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for name in ("0000.png", "0000_truth.png"):
        Image.fromarray(rng.integers(0, 255, (20, 40), np.uint8)).save(tmp_path / name)
    subject = Subject(1, "thing", 1, ((30.5, 4.5),))
    paths = (tmp_path / "0000.png",), (tmp_path / "0000_truth.png",)
    turned = panoramas.over_seam(Clip("x", *paths, (subject,), range(1)), tmp_path / "seam")
    shift = round(panoramas.SEAM_SHIFT * 40)
    before, after = (np.asarray(Image.open(clip)) for clip in (paths[0][0], turned.photos[0]))
    assert (np.roll(before, shift, axis=1) == after).all()
    ((x, y),) = turned.subjects[0].clicks
    assert after[int(y), int(x)] == before[4, 30]
