# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other photos say of a mask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_splat_addon.engine.agreement.aim import Mask
from sam2_splat_addon.engine.agreement.hull import carve
from sam2_splat_addon.engine.agreement.outline import Outlines
from sam2_splat_addon.engine.agreement.verdicts import verdicts
from tests.engine.agreement.solid import CENTRE, POINTS, cameras, logits_of, truth

_ARM = (
    CENTRE + np.random.default_rng(1).uniform(-1, 1, (9000, 3)) * [0.12, 0.12, 0.16] + [0, 0, 0.6]
)
_VIEWS = cameras(20, far=3.0)


def _grey(frame: int, width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize(("holding", "is_extra"), [(4, True), (13, False)])
def test_what_most_masks_hold_is_never_called_extra(holding: int, is_extra: bool) -> None:
    """Masks that lack a true part, such as a spout, must not take it from the others."""
    with_arm = set(np.linspace(1, len(_VIEWS), holding).round().astype(int).tolist())
    both = np.concatenate([POINTS, _ARM])
    masks = [
        Mask(frame, view, logits_of(truth(view, both if frame in with_arm else POINTS)))
        for frame, view in enumerate(_VIEWS, 1)
    ]
    hull = carve(masks, across=128)
    assert hull is not None
    outlines = Outlines(hull, masks)
    found = verdicts(outlines, masks, _grey)
    shares = [found[frame].extra_share for frame in sorted(with_arm)]
    assert min(shares) > 0.02 if is_extra else max(shares) < 0.01
