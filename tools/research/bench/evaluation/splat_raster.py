# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled loops that draw gaussians over one another, and lead the loss back to them.

Positions are px from the top left corner, so the first pixel's centre is (0.5, 0.5). The rules are those of
Kerbl et al. 2023: gaussians are sorted by the depth of their middle, an alpha is at most 0.99, alphas under
1/255 draw nothing, and a pixel ends when less than 1/10,000 of its light is left.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

TILE = 16  # px
_LEAST, _MOST, _ENDS = 1 / 255, 0.99, 1e-4


@njit(cache=True, fastmath=True)
def tiles_of(middles, radii, order, width, height):
    """Return where each tile's list begins, and the gaussians of all tiles, near ones first.

    `middles` has the shape (N, 2), `radii` (N,) in px; 0 draws nothing. `order` has all gaussians by depth.
    """
    across, down = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    begins = np.zeros(across * down + 1, np.int64)
    spans = np.empty((len(order), 4), np.int64)
    for place in range(len(order)):
        at = order[place]
        x, y, radius = middles[at, 0], middles[at, 1], radii[at]
        spans[place, 0] = max(int(math.floor((x - radius) / TILE)), 0)
        spans[place, 1] = min(int(math.floor((x + radius) / TILE)) + 1, across)
        spans[place, 2] = max(int(math.floor((y - radius) / TILE)), 0)
        spans[place, 3] = min(int(math.floor((y + radius) / TILE)) + 1, down)
        if radius <= 0:
            spans[place, 1] = spans[place, 0]
        for row in range(spans[place, 2], spans[place, 3]):
            for column in range(spans[place, 0], spans[place, 1]):
                begins[row * across + column + 1] += 1
    for tile in range(across * down):
        begins[tile + 1] += begins[tile]
    filled = begins[:-1].copy()
    listed = np.empty(begins[-1], np.int64)
    for place in range(len(order)):
        for row in range(spans[place, 2], spans[place, 3]):
            for column in range(spans[place, 0], spans[place, 1]):
                tile = row * across + column
                listed[filled[tile]] = order[place]
                filled[tile] += 1
    return begins, listed


@njit(cache=True, fastmath=True)
def draw(middles, conics, colors, opacities, begins, listed, image, left, ends):
    """Draw into `image`, (H, W, 3), colours multiplied by their alpha.

    `conics` has the shape (N, 3): xx, xy and yy of the inverse covariance. `left`, (H, W), gets the light
    that comes through all gaussians. `ends`, (H, W), gets how much of its tile's list each pixel used.
    """
    height, width = left.shape
    across = (width + TILE - 1) // TILE
    for y in range(height):
        for x in range(width):
            tile = (y // TILE) * across + x // TILE
            through, end = 1.0, begins[tile]
            red, green, blue = 0.0, 0.0, 0.0
            for place in range(begins[tile], begins[tile + 1]):
                at = listed[place]
                dx, dy = middles[at, 0] - (x + 0.5), middles[at, 1] - (y + 0.5)
                power = (
                    -0.5 * (conics[at, 0] * dx * dx + conics[at, 2] * dy * dy)
                    - conics[at, 1] * dx * dy
                )
                if power > 0 or power < -5.6:
                    continue
                alpha = min(_MOST, opacities[at] * math.exp(power))
                if alpha < _LEAST:
                    continue
                if through * (1 - alpha) < _ENDS:
                    break
                weight = alpha * through
                red += weight * colors[at, 0]
                green += weight * colors[at, 1]
                blue += weight * colors[at, 2]
                through *= 1 - alpha
                end = place + 1
            image[y, x, 0], image[y, x, 1], image[y, x, 2] = red, green, blue
            left[y, x], ends[y, x] = through, end


@njit(cache=True, fastmath=True)
def lead_back(
    middles,
    conics,
    colors,
    opacities,
    begins,
    listed,
    left,
    ends,
    to_image,
    to_left,
    to_middles,
    to_conics,
    to_colors,
    to_opacities,
):
    """Add the loss's slopes by the gaussians to `to_...`, from its slopes by `image` and `left`."""
    height, width = left.shape
    across = (width + TILE - 1) // TILE
    for y in range(height):
        for x in range(width):
            tile = (y // TILE) * across + x // TILE
            last, through = left[y, x], left[y, x]
            by_red, by_green, by_blue = to_image[y, x, 0], to_image[y, x, 1], to_image[y, x, 2]
            by_left = to_left[y, x]
            behind_r, behind_g, behind_b = 0.0, 0.0, 0.0  # colours behind, as seen through nothing
            for place in range(ends[y, x] - 1, begins[tile] - 1, -1):
                at = listed[place]
                dx, dy = middles[at, 0] - (x + 0.5), middles[at, 1] - (y + 0.5)
                xx, xy, yy = conics[at, 0], conics[at, 1], conics[at, 2]
                power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
                if power > 0 or power < -5.6:
                    continue
                shape = math.exp(power)
                alpha = min(_MOST, opacities[at] * shape)
                if alpha < _LEAST:
                    continue
                through /= 1 - alpha
                weight = alpha * through
                red, green, blue = colors[at, 0], colors[at, 1], colors[at, 2]
                to_colors[at, 0] += weight * by_red
                to_colors[at, 1] += weight * by_green
                to_colors[at, 2] += weight * by_blue
                by_alpha = through * (
                    (red - behind_r) * by_red
                    + (green - behind_g) * by_green
                    + (blue - behind_b) * by_blue
                )
                by_alpha -= by_left * last / (1 - alpha)
                behind_r = alpha * red + (1 - alpha) * behind_r
                behind_g = alpha * green + (1 - alpha) * behind_g
                behind_b = alpha * blue + (1 - alpha) * behind_b
                if opacities[at] * shape >= _MOST:
                    continue
                to_opacities[at] += shape * by_alpha
                by_power = opacities[at] * shape * by_alpha
                to_middles[at, 0] -= by_power * (xx * dx + xy * dy)
                to_middles[at, 1] -= by_power * (xy * dx + yy * dy)
                to_conics[at, 0] -= by_power * 0.5 * dx * dx
                to_conics[at, 1] -= by_power * dx * dy
                to_conics[at, 2] -= by_power * 0.5 * dy * dy
