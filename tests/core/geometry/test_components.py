# SPDX-License-Identifier: GPL-3.0-or-later
"""Separate parts of masks are the same as those of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sam2_splat_addon.core.geometry.components import part_sizes, small_parts


def test_parts_are_those_that_opencv_finds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        inside = rng.random(rng.integers(1, 40, 2)) < rng.random()
        _, _, found, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
        assert sorted(part_sizes(inside)) == sorted(found[1:, cv2.CC_STAT_AREA])


def test_a_spiral_is_one_part() -> None:
    angle = np.linspace(0, 12 * np.pi, 20000)
    inside = np.zeros((64, 64), bool)
    rows, columns = 32 + angle * np.sin(angle) * 0.8, 32 + angle * np.cos(angle) * 0.8
    inside[rows.astype(int), columns.astype(int)] = True
    assert len(part_sizes(inside)) == 1


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("enclosed", [True, False])
def test_small_parts_are_those_that_opencv_finds(corners: bool, enclosed: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        rows, columns = rng.integers(1, 40, 2)
        support = rng.random((rows, columns)) < rng.random()
        core = support & (rng.random((rows, columns)) < 0.7)
        limit = int(rng.integers(1, 12))
        _, labels, boxes, _ = cv2.connectedComponentsWithStats(
            support.astype(np.uint8), connectivity=8 if corners else 4
        )
        held = np.bincount(labels[core], minlength=len(boxes))
        left, top, width, height = boxes.T[:4]
        inner = (left > 0) & (top > 0) & (left + width < columns) & (top + height < rows)
        small = (held < limit) & (inner | (not enclosed))
        small[0] = False
        found = small_parts(support, core, limit, corners=corners, enclosed=enclosed)
        assert np.array_equal(found, small[labels])
