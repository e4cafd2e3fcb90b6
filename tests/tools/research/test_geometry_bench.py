# SPDX-License-Identifier: GPL-3.0-or-later
"""The measure of agreement in 3D: circles that no training has seen, and honest sums."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from tools.research.bench import geometry, hull
from tools.research.bench.evaluation import circles
from tools.research.bench.geometry import Figures


def test_circles_were_never_trained_on() -> None:
    assert circles.FIRST_SEED + len(circles.KINDS) <= 1000
    assert {sort for sort, _ in geometry.ORDER} == set(circles.SORTS)
    assert {kind for _, kind in geometry.ORDER} <= set(circles.KINDS)


def test_each_order_has_every_photo_once() -> None:
    for order in get_args(circles.Order):
        frames = circles.frames_in(order, 11)
        assert frames[0] == 1 or order == "unordered"
        assert sorted(frames) == list(range(1, 12))
    assert circles.frames_in("passes", 12) == [1, 3, 5, 7, 9, 11, 6, 4, 2, 12, 10, 8]


def figures(masks: tuple[float, ...], listed: tuple[int, ...]) -> Figures:
    return Figures("one", masks, masks, masks, masks, (), listed, 1.0, 2.0)


def test_recall_and_precision_are_summed_over_all_captures() -> None:
    every = [figures((0.9, 0.5, 0.7), (2,)), figures((0.95, 0.4), (1, 2))]
    assert geometry.found(every, in_space=True) == "recall 0.67, precision 0.67 (3 wrong photos)"
    assert geometry.found(every, in_space=False).startswith("recall 0.00")


def test_a_row_has_the_means_and_what_was_not_measured() -> None:
    row = geometry.line(Figures("one", (0.9, 0.7), (0.9, 0.8), (-1.0,), (-1.0,), (), (), 3, 0))
    assert row.startswith("| one | .800 | .850 | - | - | 1 | 3 | 0 |")


def test_spoilt_masks_differ_and_the_clicked_photo_stays(tmp_path: Path) -> None:
    store = MatteStore.open(tmp_path / "store", create=True)
    logits = np.full((32, 32), -8, np.float16)
    logits[10:25, 14:28] = 8
    for frame in range(1, 9):
        store.write(MatteRecord(1, frame, 64, 64, logits, MatteScores(5, 0.9, 0.2), key=str(frame)))
    geometry.spoiled(store, 5)
    same = [np.array_equal(store.read(1, frame).logits, logits) for frame in range(1, 9)]
    assert same[0]
    assert same.count(False) == 5


def test_the_hull_of_drawn_photos_looks_like_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--photos", "12", "--size", "320x240", "--store", str(tmp_path / "store")]
    monkeypatch.setattr("sys.argv", ["hull.py", *options])
    assert hull.main() == 0
    said = capsys.readouterr().out
    assert float(said.split("IoU with the truth ")[1].split(";")[0]) > 0.75
