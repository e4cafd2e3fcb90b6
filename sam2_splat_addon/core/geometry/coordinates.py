# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert between footage pixels, marker space and mask space.

Footage pixels are pixel-edge coordinates in stored order. (0, 0) is the top-left corner of the
top-left pixel, x grows to the right, and y grows downwards. The centre of the first pixel is (0.5,
0.5).

Marker space is that of ``MovieTrackingMarker.co``: (0, 0) is the bottom-left corner of the photo and
(1, 1) its top-right corner.

Mask space is that of mask points: the longer side of the photo has length 1, its centre is (0.5,
0.5), and y grows upwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def marker_to_pixel(x: float, y: float, width: int, height: int) -> tuple[float, float]:
    """Convert marker space (0 to 1) to footage pixels."""
    return x * width, (1.0 - y) * height


def pixel_to_marker(x: float, y: float, width: int, height: int) -> tuple[float, float]:
    """Convert footage pixels to marker space (0 to 1)."""
    return x / width, 1.0 - y / height


def pixels_to_mask(points: Points, width: int, height: int) -> Points:
    """Convert footage pixels, (n, 2), to mask space, (n, 2)."""
    longer = float(max(width, height))
    out = np.empty_like(points, dtype=np.float64)
    out[:, 0] = (points[:, 0] - width / 2.0) / longer + 0.5
    out[:, 1] = (height / 2.0 - points[:, 1]) / longer + 0.5
    return out


def mask_to_pixels(points: Points, width: int, height: int) -> Points:
    """Convert mask space, (n, 2), to footage pixels, (n, 2)."""
    longer = float(max(width, height))
    out = np.empty_like(points, dtype=np.float64)
    out[:, 0] = (points[:, 0] - 0.5) * longer + width / 2.0
    out[:, 1] = height / 2.0 - (points[:, 1] - 0.5) * longer
    return out
