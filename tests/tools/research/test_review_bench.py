# SPDX-License-Identifier: GPL-3.0-or-later
"""The measure of the review: clicks where a person would put them, and honest sums."""

from __future__ import annotations

import numpy as np

from tools.research.bench import review


def test_orbits_are_of_many_kinds_and_were_never_trained_on() -> None:
    plans = review.plans(16)
    assert len({plan.kind for plan in plans}) == 16
    assert all(plan.seed < 1000 for plan in plans)


def test_clicks_lie_inside_and_apart() -> None:
    truth = np.zeros((100, 60), bool)
    truth[10:90, 20:40] = True
    points = review.clicked(truth, 3)
    assert len(points) == 3
    for point in points:
        assert truth[int(point.y), int(point.x)]
    rows = sorted(point.y for point in points)
    assert rows[1] - rows[0] > 15
    assert rows[2] - rows[1] > 15


def test_recall_and_precision_are_summed_over_all_runs() -> None:
    yes, no = True, False
    first = (np.array([yes, yes, no, no]), np.array([yes, no, yes, no]))
    second = (np.array([yes, no]), np.array([yes, no]))
    line = review.summary("check", [first, second])
    assert "6 frames" in line
    assert "recall 0.667, precision 0.667" in line


def test_two_empty_masks_agree() -> None:
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert review.overlap(empty, empty) == 1.0
    assert review.overlap(empty, full) == 0.0
