# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on deletes only what it made itself: matte folders, by marker and by name."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.core.footage.staging import LINKS
from sam2_splat_addon.core.mattes.run_manifest import Machine, RunManifest, write_manifest
from sam2_splat_addon.core.mattes.store import MATTES, MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.core.system.owned_folder import MARKER_NAME

Act = Callable[[MatteStore], object]

# All ways in which a store deletes or moves.
ACTS: dict[str, Act] = {
    "clear": MatteStore.clear,
    "remove": lambda store: store.remove(1),
    "remove frames": lambda store: store.remove(1, {1}),
    "set aside": lambda store: store.set_aside(1),
    "put back": lambda store: store.put_back(1),
    "drop aside": lambda store: store.drop_aside(1),
    "prune": MatteStore.prune_state,
    "sweep": MatteStore.sweep,
}


def record(frame: int) -> MatteRecord:
    logits = np.full((4, 4), frame, np.float16)
    return MatteRecord(1, frame, 40, 40, logits, MatteScores(1.0, 0.5, 1.0))


def contents(folder: Path) -> dict[str, bytes]:
    """Return everything below a folder; a link is its target."""
    return {
        str(path.relative_to(folder)): os.fsencode(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def write_all(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"somebody else's")


@pytest.fixture
def store(tmp_path: Path) -> MatteStore:
    """Make a store with mattes, some of them set aside, memories and a manifest."""
    store = MatteStore.open(tmp_path / "store", create=True)
    store.write(record(3))
    store.set_aside(1)
    store.write(record(1))
    store.write(record(2))
    write_all(store.folder, "state/001/forward/000001.safetensors")
    write_all(store.folder, "state/001/conditioning/000001.safetensors")
    machine = Machine("cpu", "float32", 1, "any", {})
    prompts = PromptSet(())
    write_manifest(
        store.manifest_path,
        RunManifest("photos", 40, 40, 3, "tiny", "0" * 64, RunSettings(), machine, prompts),
    )
    return store


STRANGERS = {
    "git": ("HEAD", "config", "objects/12/3456", "objects/pack/a.pack", "objects/info/packs"),
    "web application": ("manifest.json", "state/db.sqlite"),
    "numbered": ("objects/001/holiday.jpg", "cleared/002/000001.txt", "state/003/forward/x"),
    "temporary": ("objects/.config.tmp", "objects/a/.~lock.letter.odt.tmp"),
    "other mattes": ("objects/001/000001.matte", "cleared/001/000001.matte"),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("names", STRANGERS.values(), ids=STRANGERS)
def test_another_programs_folder_is_left_alone(
    act: Act, names: tuple[str, ...], tmp_path: Path
) -> None:
    write_all(tmp_path, *names)
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="SAM2 Splat changes nothing"):
        act(MatteStore(tmp_path))
    with pytest.raises(StoreError, match="for something else"):
        MatteStore.open(tmp_path, create=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["Manifest.json", "OBJECTS/a.txt", "Unfinished.JSON", "State/x", "Earlier/x"]
)
def test_names_that_differ_from_ours_in_case_alone_are_in_use(name: str, tmp_path: Path) -> None:
    """On a disk that ignores case, a run would write into these folders or over them."""
    write_all(tmp_path, name)
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="for something else"):
        MatteStore.open(tmp_path, create=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize(
    "place", ["", "objects", "objects/001", "cleared/001", "state", "state/001"]
)
def test_nothing_is_deleted_through_a_link(act: Act, place: str, store: MatteStore) -> None:
    """A downloaded capture could have this: a folder of ours that leads into another one."""
    mine = store.folder.with_name("mine")
    shutil.copytree(store.folder, mine)
    before = contents(mine)
    target = store.folder / place
    shutil.rmtree(target)
    target.symlink_to(mine / place)
    with contextlib.suppress(StoreError):
        act(store)
    with contextlib.suppress(StoreError):
        store.write(record(8))
    with pytest.raises(StoreError, match="is a link"):
        MatteStore.open(store.folder, create=True)
    assert contents(mine) == before
    assert target.is_symlink()


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_what_a_user_puts_into_a_folder_of_ours_stays(act: Act, store: MatteStore) -> None:
    names = (
        "notes.txt",
        ".git/objects/001/000001.matte",
        "objects/readme.txt",
        "objects/001/holiday.jpg",
        "objects/001/000001 (conflicted copy).matte",
        "objects/1/000001.matte",
        "cleared/001/000003.matte.bak",
        "state/001/letter.odt",
        "state/photos/000001.safetensors",
    )
    write_all(store.folder, *names)
    act(store)
    left = contents(store.folder)
    moved = {name.replace("objects/", "cleared/", 1) for name in left}
    assert all(name in left or name in moved for name in names)
    assert sum(value == b"somebody else's" for value in left.values()) >= len(names)


def test_clearing_removes_all_that_is_ours(store: MatteStore) -> None:
    write_all(store.folder, "notes.txt")
    store.clear()
    assert list(contents(store.folder)) == ["notes.txt"]
    assert sorted(path.name for path in store.folder.iterdir()) == ["notes.txt"]


def test_a_folder_in_use_can_hold_mattes_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    write_all(tmp_path, "IMG_0001.jpg", ".git/HEAD", "sub/a.txt")
    store = MatteStore.open(tmp_path, create=True)
    store.write(record(1))
    store.clear()
    assert sorted(contents(tmp_path)) == [".git/HEAD", "IMG_0001.jpg", "sub/a.txt"]


@pytest.mark.parametrize("lost", ["marker", "torn marker", "manifest too", "torn manifest too"])
def test_mattes_that_lost_their_marker_are_known_and_get_it_again(
    lost: str, store: MatteStore
) -> None:
    marker = store.folder / MARKER_NAME
    if lost == "marker":
        marker.unlink()
        write_all(store.folder, "objects/001/000001 (conflicted copy).matte")
        write_all(store.folder, "objects/001 (conflicted copy)/000001.matte")
    else:
        marker.write_bytes(b"")
    if lost == "manifest too":
        store.manifest_path.unlink()
    elif lost == "torn manifest too":
        store.manifest_path.write_bytes(b"\0" * 100)
        store.path(1, 1).write_bytes(b"")
    write_all(store.folder, "objects/001/.s2s_00000000_4711_1.tmp", "run.lock", ".DS_Store")
    before = contents(store.folder)
    MatteStore.open(store.folder, create=True)
    after = contents(store.folder)
    assert after.pop(MARKER_NAME)
    before.pop(MARKER_NAME, None)
    assert after == before
    store.remove(1)
    assert store.frames(1) == []


@pytest.mark.parametrize(
    "marker",
    [
        b"{}",
        b"[" * 4000,
        b"\xff",
        b" " * 5000,
        b'{"made_by": "SAM2 Splat", "holds": ["links"]}',
        b'{"made_by": "another", "holds": ["mattes"]}',
        b'{"made_by": "SAM2 Splat", "holds": "mattes"}',
    ],
)
def test_another_marker_proves_nothing(marker: bytes, tmp_path: Path) -> None:
    write_all(tmp_path, "objects/001/000001.matte")
    (tmp_path / MARKER_NAME).write_bytes(marker)
    with pytest.raises(StoreError, match="changes nothing"):
        MatteStore(tmp_path).clear()
    assert (tmp_path / "objects/001/000001.matte").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX has these")
@pytest.mark.parametrize("name", [MARKER_NAME, "manifest.json"])
def test_a_marker_or_manifest_that_is_no_file_is_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    os.mkfifo(tmp_path / name)
    with pytest.raises(StoreError, match="for something else"):
        MatteStore.open(tmp_path, create=True)


def test_a_marker_that_is_a_link_proves_nothing(store: MatteStore, tmp_path: Path) -> None:
    write_all(tmp_path / "other", "objects/pack/a.pack")
    (tmp_path / "other" / MARKER_NAME).symlink_to(store.folder / MARKER_NAME)
    with pytest.raises(StoreError, match="changes nothing"):
        MatteStore(tmp_path / "other").clear()


@pytest.mark.parametrize("object_id", [-1, 0, 10**30])
def test_ids_beyond_reason_reach_nothing(object_id: int, store: MatteStore) -> None:
    before = contents(store.folder)
    store.set_aside(object_id)
    store.put_back(object_id)
    store.remove(object_id)
    assert contents(store.folder) == before


def test_a_folder_of_links_can_hold_mattes_too(tmp_path: Path) -> None:
    LINKS.claim(tmp_path)
    store = MatteStore.open(tmp_path, create=True)
    assert LINKS.owns(tmp_path)
    assert MATTES.owns(tmp_path)
    store.clear()
    assert not MATTES.owns(tmp_path)  # no link is left in it
    assert LINKS.owns(tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [b'{"images": []}', b"[]", b"years of work", b'{"footage": 1}', b"\xef\xbb\xbf{}", b"null"],
)
@pytest.mark.parametrize("act", [*ACTS, "make"])
def test_a_marker_copied_beside_another_programs_manifest_proves_nothing(
    act: str, manifest: bytes, store: MatteStore, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    write_all(folder, "objects/001/000001.matte", "objects/pack/a.pack", "state/001/x")
    (folder / MARKER_NAME).write_bytes((store.folder / MARKER_NAME).read_bytes())
    (folder / "manifest.json").write_bytes(manifest)
    before = contents(folder)
    if act == "make":
        with pytest.raises(StoreError, match="for something else"):
            MatteStore.open(folder, create=True)
    else:
        with pytest.raises(StoreError, match="changes nothing"):
            ACTS[act](MatteStore(folder))
    assert contents(folder) == before


@pytest.mark.parametrize("keep", [0, 1, 12, 40])
def test_a_torn_manifest_of_our_own_leaves_the_folder_ours(keep: int, store: MatteStore) -> None:
    whole = store.manifest_path.read_bytes()
    store.manifest_path.write_bytes(whole[:keep])
    assert MATTES.owns(store.folder)
    store.manifest_path.write_bytes(whole[:keep] + bytes(20))
    assert MATTES.owns(store.folder)
