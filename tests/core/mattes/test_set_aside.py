# SPDX-License-Identifier: GPL-3.0-or-later
"""Mattes that are set aside: hidden, back unchanged, or deleted if there are new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore


def record(frame: int, value: float = 1.0) -> MatteRecord:
    logits = np.full((4, 4), value, np.float16)
    return MatteRecord(1, frame, 40, 40, logits, MatteScores(1.0, 0.5, 1.0))


@pytest.fixture
def store(tmp_path: Path) -> MatteStore:
    store = MatteStore.open(tmp_path / "store", create=True)
    store.write(record(1))
    store.write(record(2))
    return store


def test_what_is_set_aside_is_out_of_sight_and_comes_back(store: MatteStore) -> None:
    before = store.path(1, 2).read_bytes()
    store.set_aside(1)
    assert store.objects() == []
    assert store.aside() == [1]
    store.put_back(1)
    assert store.frames(1) == [1, 2]
    assert store.path(1, 2).read_bytes() == before
    assert store.aside() == []


def test_what_a_run_could_continue_from_is_not_set_aside(store: MatteStore) -> None:
    for object_id in (1, 2):
        bank = store.state_folder(object_id) / "forward" / "000001.safetensors"
        bank.parent.mkdir(parents=True)
        bank.write_bytes(b"x")
    store.set_aside(1)
    assert not store.state_folder(1).exists()
    assert store.state_folder(2).exists()


def test_new_mattes_win_over_those_set_aside(store: MatteStore) -> None:
    store.set_aside(1)
    store.write(record(7))
    store.put_back(1)
    assert store.frames(1) == [7]
    assert store.aside() == []


def test_setting_aside_again_keeps_the_newer_mattes(store: MatteStore) -> None:
    store.set_aside(1)
    store.write(record(7))
    store.set_aside(1)
    store.put_back(1)
    assert store.frames(1) == [7]


def test_an_object_without_mattes_can_be_set_aside_and_put_back(store: MatteStore) -> None:
    store.set_aside(5)
    store.put_back(5)
    assert store.objects() == [1]


def test_clearing_the_store_forgets_what_is_aside(store: MatteStore) -> None:
    store.set_aside(1)
    store.clear()
    assert store.aside() == []
    assert not (store.folder / "cleared").exists()


def test_mattes_move_with_their_folder_or_one_by_one(store: MatteStore) -> None:
    """One by one where something else lies there. What is not ours stays where it is."""
    before = {frame: store.path(1, frame).read_bytes() for frame in (1, 2)}
    note = store.path(1, 1).parent / "note.txt"
    note.write_text("mine")
    store.set_aside(1)
    assert (store.frames(1), store.aside()) == ([], [1])
    assert note.read_text() == "mine"
    hidden = store.folder / "cleared" / "001"
    assert {int(at.stem): at.read_bytes() for at in hidden.iterdir()} == before
    note.unlink()
    note.parent.rmdir()
    store.put_back(1)
    assert {frame: store.path(1, frame).read_bytes() for frame in store.frames(1)} == before
    assert not hidden.exists()


def test_mattes_move_to_a_folder_that_holds_others(store: MatteStore) -> None:
    moved = store.path(1, 1).read_bytes()
    other = store.folder / "cleared" / "001" / "note.txt"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    store.move("objects/001", "cleared/001")
    assert store.frames(1) == []
    assert (other.parent / store.path(1, 1).name).read_bytes() == moved
    assert other.read_text() == "mine"
    assert not store.path(1, 1).parent.exists()


def test_mattes_that_vanish_while_they_are_removed_are_gone(
    store: MatteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def twice(path: Path, missing_ok: bool = False) -> None:
        unlink(path)  # another Blender was faster
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", twice)
    store.remove(1)
    assert store.frames(1) == []
