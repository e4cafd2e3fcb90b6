# SPDX-License-Identifier: GPL-3.0-or-later
"""The modes of speed: what each gives the model to see."""

from __future__ import annotations

import pytest

from sam2_splat_addon.core.errors import PromptError
from sam2_splat_addon.core.settings import BALANCED, FAST, QUALITY, SPEEDS, speed_named


def test_quality_leaves_nothing_out() -> None:
    assert [QUALITY.input_size(own) for own in (1024, 512)] == [1024, 512]
    assert not QUALITY.pooled


def test_each_mode_sees_less_than_the_one_before_in_multiples_of_32_px() -> None:
    for own in (1024, 512):
        sizes = [speed.input_size(own) for speed in SPEEDS]
        assert sizes == sorted(set(sizes), reverse=True)
        assert all(size % 32 == 0 for size in sizes)
    assert (BALANCED.input_size(1024), FAST.input_size(1024)) == (768, 512)


def test_modes_are_found_by_name_and_an_unknown_one_names_those_there_are() -> None:
    assert [speed_named(speed.name) for speed in SPEEDS] == list(SPEEDS)
    with pytest.raises(PromptError, match="quality, balanced, fast"):
        speed_named("warp")
