# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about a frame, from its truth and the subject's shape."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .orbit import Pose
from .scene_file import Click

Bytes = npt.NDArray[np.uint8]


def visible_box(truth: Bytes) -> tuple[int, int, int, int] | None:
    """Return left, top, right, bottom (exclusive, px) of the visible part, or None."""
    rows, columns = np.nonzero(truth > 127)
    if rows.size == 0:
        return None
    return (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


def find_clicks(
    truth: Bytes, anchors: dict[str, tuple[float, float, float]], pose: Pose, count: int = 3
) -> list[Click]:
    """Return up to `count` points well inside the visible subject.

    Each starts at a named anchor and moves to the deepest pixel nearby. It is dropped if the
    subject is not visible there, or if another point is close already.
    """
    inside = (truth >= 250).astype(np.uint8)
    depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 5), dtype=np.float64)
    reach = max(2, round(max(pose.size) * 0.012))
    clicks: list[Click] = []
    for name, anchor in anchors.items():
        px, _ = pose.project(np.array([anchor]))
        x, y = int(px[0, 0]), int(px[0, 1])
        if not (reach <= x < pose.size[0] - reach and reach <= y < pose.size[1] - reach):
            continue
        window = depth[y - reach : y + reach + 1, x - reach : x + reach + 1]
        row, column = np.unravel_index(int(window.argmax()), window.shape)
        if window[row, column] < 1.0:
            continue
        click = Click(name, x - reach + int(column) + 0.5, y - reach + int(row) + 0.5)
        if all(max(abs(click.x - c.x), abs(click.y - c.y)) > 2 * reach for c in clicks):
            clicks.append(click)
        if len(clicks) == count:
            break
    return clicks
