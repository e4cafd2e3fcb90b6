# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts are turned as their photo is, each with the shape of its own photo."""

from __future__ import annotations

import numpy as np
import pytest

from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.geometry.orientation import PhotoShape
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
)
from sam2_splat_addon.core.upright_prompts import upright_frame, upright_object

# The place (10, 5) of a stored photo of 40 x 20 px, for each EXIF orientation: where it is upright.
PLACES = {
    1: (10, 5),
    2: (30, 5),
    3: (30, 15),
    4: (10, 15),
    5: (5, 10),
    6: (15, 10),
    7: (15, 30),
    8: (5, 30),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_boxes_and_masks_of_a_photo_are_turned_together(orientation: int) -> None:
    x, y = PLACES[orientation]
    stored = np.zeros((20, 40), bool)
    stored[3:7, 8:12] = True  # around the place
    prompts = FramePrompts(
        3,
        (PointPrompt(10, 5), PointPrompt(10, 5, include=False)),
        BoxPrompt(8, 3, 12, 7),
        MaskPrompt.from_array(stored),
        anew=True,
    )
    shape = PhotoShape(40, 20, orientation)
    found = upright_frame(prompts, shape)
    assert found.points == (PointPrompt(x, y), PointPrompt(x, y, include=False))
    assert found.box == BoxPrompt(x - 2, y - 2, x + 2, y + 2)
    assert found.frame == 3 and found.anew
    assert found.mask is not None
    mask = found.mask.to_array()
    assert mask.shape == ((20, 40) if orientation < 5 else (40, 20))
    expected = np.zeros_like(mask)
    expected[y - 2 : y + 2, x - 2 : x + 2] = True
    np.testing.assert_array_equal(mask, expected)
    if orientation == 1:
        assert found is prompts


def test_each_frame_has_the_shape_of_its_own_photo() -> None:
    thing = ObjectPrompts(
        1, "chair", tuple(FramePrompts(at, (PointPrompt(10, 5),)) for at in (1, 2, 3))
    )
    assert upright_object(thing, PhotoSizes(40, 20)) is thing
    sizes = PhotoSizes(40, 20, {2: (60, 20)}, 3, {3: 6})
    found = upright_object(thing, sizes)
    assert [at.points[0] for at in found.frames] == [
        PointPrompt(30, 15),
        PointPrompt(50, 15),
        PointPrompt(15, 10),
    ]
    assert (found.id, found.name) == (1, "chair")
    only_turned = PhotoSizes(40, 20, {}, 1, {2: 8})
    assert upright_object(thing, only_turned).frames[1].points[0] == PointPrompt(5, 30)
