# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay shows the bake's options as the bake applies them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.geometry.bake_preview import SOFT_LOGIT, soft_band, tidied
from sam2_splat_addon.core.geometry.resample import upsample, upsample_binary
from sam2_splat_addon.engine.images import alpha as matte

WIDTH, HEIGHT, SIDE = 480, 720, 96
Logits = NDArray[np.float16]


def discs(*places: tuple[float, float, float, int]) -> Logits:
    """Draw discs of (x, y, radius) in 0 to 1, added (1) or cut out (-1), one after the other."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    found = np.full((SIDE, SIDE), -10.0)
    for at_x, at_y, radius, sign in places:
        disc = 100.0 * (radius - np.hypot(x - at_x, y - at_y))
        found = np.maximum(found, disc) if sign > 0 else np.minimum(found, -disc)
    return found.clip(-10.0, 10.0).astype(np.float16)


BODY = (0.45, 0.5, 0.3, 1)
HOLES = ((0.35, 0.45, 0.03, -1), (0.55, 0.5, 0.1, -1))
SPECKS = ((0.9, 0.1, 0.03, 1), (0.88, 0.85, 0.08, 1))
AT_BORDER = (0.45, 0.0, 0.03, 1)
ONE = discs(BODY, *HOLES, *SPECKS, AT_BORDER)
# It lies beside the first one, so that a gap between the two is a hole only in their union.
LEFT = discs((0.5, 0.5, 0.3, 1), (0.8, 0.5, 0.35, -1))
RIGHT = discs((0.5, 0.5, 0.3, 1), (0.15, 0.5, 0.36, -1), (0.5, 0.45, 0.02, -1))


@pytest.mark.parametrize("alpha", ["binary", "soft"])
@pytest.mark.parametrize(("fill", "drop"), [(0, 0), (2500, 0), (0, 2500), (2500, 2500), (99999, 0)])
@pytest.mark.parametrize("mattes", [[ONE], [LEFT, RIGHT], [ONE, LEFT]])
def test_holes_and_specks_are_those_of_the_bake(
    mattes: list[Logits], fill: int, drop: int, alpha: str
) -> None:
    options = BakeOptions(alpha=alpha, fill_holes_px=fill, drop_specks_px=drop)  # type: ignore[arg-type]
    baked = matte.combine(mattes, (), WIDTH, HEIGHT, options) / 255.0
    soft = alpha == "soft"
    shown = [soft_band(one) if soft else one for one in mattes]
    look = tidied(shown, (WIDTH, HEIGHT), fill_px=fill, drop_px=drop, soft=soft)
    if soft:
        low = 1.0 / (1.0 + np.exp(SOFT_LOGIT))
        union = np.max([upsample(one, WIDTH, HEIGHT) for one in look], axis=0)
        drawn = ((1.0 / (1.0 + np.exp(-union)) - low) / (1.0 - 2.0 * low)).clip(0.0, 1.0)
    else:
        drawn = np.any([upsample_binary(one, WIDTH, HEIGHT) for one in look], axis=0)
    assert np.abs(drawn - baked).max() < (0.02 if soft else 1e-9) or (
        np.abs(drawn - baked).mean() < 2e-4
    )


def test_what_nothing_changes_in_is_the_same_matte() -> None:
    plain = discs(BODY)
    (same,) = tidied([plain], (WIDTH, HEIGHT), fill_px=500, drop_px=500)
    assert same is plain
    kept, _ = tidied([plain, ONE], (WIDTH, HEIGHT), fill_px=0, drop_px=2500)
    assert kept is plain
