# SPDX-License-Identifier: GPL-3.0-or-later
"""Carried clicks count for the prompts that they were carried from, and the user's own always win."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.mattes.carried import (
    CarriedClicks,
    anchors_of,
    forget_carried,
    known_carried,
    read_carried,
    with_carried,
    write_carried,
)
from sam2_splat_addon.core.mattes.store import CARRIED_NAME, MatteStore
from sam2_splat_addon.core.prompts import (
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)

IN, OUT = PointPrompt(1, 1), PointPrompt(2, 2, include=False)


def at(frame: int, *points: PointPrompt, anew: bool = False) -> FramePrompts:
    return FramePrompts(frame, points or (IN,), anew=anew)


@pytest.fixture
def store(tmp_path: Path) -> MatteStore:
    return MatteStore.open(tmp_path / "store", create=True)


def test_anchors_say_by_themselves_where_a_subject_is() -> None:
    mask = FramePrompts(8, mask=MaskPrompt(2, 1, (1, 1)))
    frames = (at(1, OUT), at(3, IN, OUT), at(5), at(6, OUT, anew=True), at(7, anew=True), mask)
    thing = ObjectPrompts(1, "chair", frames)
    assert [anchor.frame for anchor in anchors_of(thing)] == [3, 7, 8]
    assert anchors_of(ObjectPrompts(1, "chair", (at(1, OUT),))) == ()


def test_carried_clicks_come_where_their_own_subject_has_no_prompt() -> None:
    chair, vase = ObjectPrompts(1, "chair", (at(4, IN, OUT),)), ObjectPrompts(2, "vase", (at(2),))
    more = PromptSet(
        (ObjectPrompts(1, "chair", (at(2), at(4), at(9))), ObjectPrompts(3, "x", (at(1),)))
    )
    together = with_carried(PromptSet((chair, vase)), more)
    assert [entry.name for entry in together.objects] == ["chair", "vase"]
    assert together.objects[0].frames == (at(2), at(4, IN, OUT), at(9))
    assert together.objects[1] == vase
    assert with_carried(PromptSet((chair,)), PromptSet(())) == PromptSet((chair,))


def test_what_was_carried_counts_as_long_as_its_anchors_are_the_same(store: MatteStore) -> None:
    thing = ObjectPrompts(1, "chair", (at(3), at(6)))
    assert read_carried(store, 1) is None
    write_carried(store, 1, CarriedClicks("key", anchors_of(thing), (at(5), at(8))))
    assert read_carried(store, 1) == CarriedClicks("key", (at(3),), (at(5), at(8)))
    expected = PromptSet((ObjectPrompts(1, "chair", (at(5), at(8))),))
    assert known_carried(store, PromptSet((thing,))) == expected
    corrected = replace(thing, frames=(at(3), at(6, OUT), at(7)))  # no anchor has changed
    assert known_carried(store, PromptSet((corrected,))) == expected
    moved = replace(thing, frames=(at(3, PointPrompt(9, 9)), at(6)))
    for other in (moved, replace(thing, id=2), replace(thing, frames=(at(2), *thing.frames))):
        assert known_carried(store, PromptSet((other,))) == PromptSet(())
    write_carried(store, 1, CarriedClicks("key", anchors_of(thing), ()))
    assert known_carried(store, PromptSet((thing,))) == PromptSet(())


def test_a_damaged_file_counts_as_nothing_and_all_can_be_forgotten(store: MatteStore) -> None:
    for number in (1, 2):
        write_carried(store, number, CarriedClicks("key", (at(3),), (at(5),)))
    (store.state_folder(1) / CARRIED_NAME).write_bytes(b"{")
    assert read_carried(store, 1) is None and read_carried(store, 2) is not None
    forget_carried(store)
    assert not list(store.folder.glob(f"state/*/{CARRIED_NAME}"))
    forget_carried(store)
