# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of trainers is whole: names that can be folders, sources, and a section for the user."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sam2_splat_addon.core.errors import BakeError
from sam2_splat_addon.core.targets import TARGETS, WHITE_KEPT, Target, target_named, targets_named

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trainers.md"
MOST = 31  # Blender keeps a bit for each in a number of 32 bits with a sign


def test_names_are_words_of_the_command_line_and_folders() -> None:
    names = [target.name for target in TARGETS]
    assert len(set(names)) == len(names) <= MOST
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_each_trainer_has_a_source_and_is_told_to_the_user(target: Target) -> None:
    assert re.match(r"https://[a-z0-9.-]+/", target.source)
    told = next(line for line in PAGE.read_text().splitlines() if f"| `{target.name}` |" in line)
    if target.has_masks:
        assert target.mask.format(stem="a", name="a.jpg") in told
    assert ("white" in told) == (target.bands.keep == 0 or target.has_three_bands)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_bands_lie_apart_and_mean_something(target: Target) -> None:
    values = [target.bands.keep, target.bands.remove, target.bands.ignore]
    assert all(0 <= value <= 255 for value in values)
    assert target.bands.keep not in values[1:]
    assert target.has_masks or target.images != "photos", "nothing would be masked"


def test_masks_keep_the_subfolders_of_their_images() -> None:
    assert target_named("colmap").mask_of("images/left/a.b.jpg") == "masks/left/a.b.jpg.png"
    assert target_named("3dgrut").mask_of("images/left/a.jpg") == "images/left/a_mask.png"
    assert target_named("realityscan").mask_of("left/a.jpg") == "left/a.jpg.mask.png"
    assert target_named("fvdb").mask_of("images/a.b.jpg") == "masks/a.b.png"


def test_trainers_come_once_and_in_the_order_of_the_table() -> None:
    found = targets_named(("colmap", "postshot", "colmap"))
    assert [target.name for target in found] == ["postshot", "colmap"]
    with pytest.raises(BakeError, match="No trainer is chosen"):
        targets_named(())
    with pytest.raises(BakeError, match="There is no trainer called 'nobody'"):
        targets_named(("colmap", "nobody"))


def test_a_trainer_tells_by_its_masks_what_it_can_ignore() -> None:
    three = next(target for target in TARGETS if target.has_three_bands)
    assert three.can_ignore and three.has_masks
    assert replace(three, masked="empty").can_ignore
    without = replace(three, mask="")
    assert not without.has_masks and not without.has_three_bands
    two = replace(three, bands=WHITE_KEPT)
    assert not two.has_three_bands
    assert replace(two, masked="ignored").can_ignore
    assert not replace(two, masked="empty").can_ignore
