# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawn mattes are small messages, and become the mask that was drawn."""

from __future__ import annotations

import msgspec
import numpy as np

from sam2_splat_addon.core.edited_prompts import LONG_SIDE, mask_prompt, with_edited
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.geometry.rasterize import fill
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import EditedMatte


def _disc(x: float, y: float, radius: float, *, hole: bool = False) -> tuple[float, ...]:
    turn = np.linspace(0.0, 2 * np.pi, 400, endpoint=False) * (-1 if hole else 1)
    points = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)
    return tuple(points.ravel().tolist())


def test_a_matte_of_54_megapixels_is_a_few_kilobytes_and_keeps_its_shape() -> None:
    ring = (_disc(3000, 4000, 2000), _disc(3000, 4000, 1200, hole=True))
    edited = EditedMatte(1, 5, ring)
    assert len(msgspec.msgpack.encode(edited)) < 20_000
    mask = mask_prompt(edited, 6000, 9000)
    assert (mask.width, mask.height) == (round(LONG_SIDE * 6000 / 9000), LONG_SIDE)
    assert len(msgspec.msgpack.encode(mask)) < 20_000
    area = mask.to_array().sum() * (6000 / mask.width) * (9000 / mask.height)
    assert abs(area / (np.pi * (2000**2 - 1200**2)) - 1) < 0.002


def test_a_small_matte_is_filled_pixel_for_pixel() -> None:
    outline = _disc(50, 40, 30)
    mask = mask_prompt(EditedMatte(1, 5, (outline,)), 120, 90)
    expected = fill([np.array(outline).reshape(-1, 2)], 120, 90)
    assert np.array_equal(mask.to_array(), expected)


def test_a_drawn_frame_has_the_mask_alone_and_others_stay() -> None:
    click = (PointPrompt(5.0, 5.0),)
    thing = ObjectPrompts(1, "a", (FramePrompts(2, click), FramePrompts(5, click)))
    other = ObjectPrompts(2, "b", (FramePrompts(5, click),))
    drawn = EditedMatte(1, 5, (_disc(50, 40, 30),))
    result = with_edited(PromptSet((thing, other)), [drawn], PhotoSizes(120, 90))
    assert result.object(2) == other
    assert result.object(1).frames[0] == thing.frames[0]
    assert result.object(1).frames[1] == FramePrompts(5, mask=mask_prompt(drawn, 120, 90))
