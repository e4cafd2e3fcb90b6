# SPDX-License-Identifier: GPL-3.0-or-later
"""The matte store gives back what was written, with the same bytes each time, and finds damage."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.core.mattes.store import (
    _MAX_SIDE,
    MatteRecord,
    MatteScores,
    MatteStore,
    decode_record,
    encode_record,
)

SCORES = MatteScores(object_score=7.25, predicted_iou=0.93, area=0.31)


def record(object_id: int = 1, frame: int = 1, *, seed: int = 0) -> MatteRecord:
    logits = np.random.default_rng(seed).normal(0, 8, (96, 64)).astype(np.float16)
    return MatteRecord(object_id, frame, 1200, 1800, logits, SCORES, prompted=frame == 1)


def same(a: MatteRecord, b: MatteRecord) -> bool:
    told = [(r.object_id, r.frame, r.width, r.height, r.scores, r.prompted) for r in (a, b)]
    return told[0] == told[1] and a.logits.tobytes() == b.logits.tobytes()


@pytest.fixture
def store(tmp_path: Path) -> MatteStore:
    return MatteStore.open(tmp_path / "store", create=True)


@pytest.mark.parametrize(
    "logits",
    [
        record().logits,
        np.zeros((0, 0), np.float16),
        np.array([[np.inf, -np.inf, -0.0, 65504]], np.float16),
        record().logits.T,  # not contiguous
        record().logits.astype(">f2"),
    ],
    ids=["usual", "empty", "extreme", "transposed", "other byte order"],
)
def test_a_record_comes_back_as_it_was(logits: np.ndarray) -> None:
    before = MatteRecord(3, 12, 6000, 9000, logits, SCORES)
    after = decode_record(encode_record(before))
    np.testing.assert_array_equal(after.logits, logits)
    assert after.logits.dtype == np.dtype("<f2")
    assert (after.object_id, after.frame, after.width, after.height) == (3, 12, 6000, 9000)
    assert after.scores == SCORES
    assert not after.prompted


def test_the_agreement_of_both_sides_is_kept_and_takes_no_byte_where_there_is_none() -> None:
    agreeing = replace(record(), scores=replace(SCORES, agreement=0.75))
    assert decode_record(encode_record(agreeing)).scores.agreement == 0.75
    assert decode_record(encode_record(record())).scores.agreement is None
    assert b"agreement" not in encode_record(record())


def test_what_made_a_matte_is_told_without_reading_it_whole(store: MatteStore) -> None:
    store.write(MatteRecord(1, 7, 8, 8, record().logits, SCORES, key="ab12"))
    store.write(record(frame=8))
    store.path(1, 9).write_bytes(store.path(1, 7).read_bytes()[:20])
    assert [store.key(1, frame) for frame in (7, 8, 9, 10)] == ["ab12", "", None, None]
    assert store.read(1, 7).key == "ab12"


def test_a_mark_tells_one_matte_from_every_other(store: MatteStore) -> None:
    one = replace(record(), key="ab12", origin=b"made by")
    store.write(one)
    mark = store.mark(1, 1)
    assert mark is not None
    assert (mark.key, mark.origin) == ("ab12", b"made by")
    assert same(store.read(1, 1, mark), one)
    store.write(replace(record(seed=1), key="ab12", origin=b"made by"))
    assert store.mark(1, 1) != mark
    with pytest.raises(StoreError):
        store.read(1, 1, mark)


def test_an_empty_file_is_no_matte(store: MatteStore) -> None:
    store.write(record(frame=1))
    for frame, data in ((2, b""), (3, b"x")):
        store.path(1, frame).write_bytes(data)
    assert [store.has(1, frame) for frame in (1, 2, 3, 4)] == [True, False, True, False]
    assert store.frames(1) == [1, 3]
    assert store.mark(1, 3) is None


def test_the_same_record_gives_the_same_bytes() -> None:
    assert encode_record(record()) == encode_record(decode_record(encode_record(record())))


def test_every_single_damaged_byte_is_found() -> None:
    data = encode_record(MatteRecord(1, 1, 8, 8, record().logits[:4, :4], SCORES))
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        with pytest.raises(StoreError, match="can't be used"):
            decode_record(bytes(damaged))


def test_every_truncation_is_found() -> None:
    data = encode_record(MatteRecord(1, 1, 8, 8, record().logits[:4, :4], SCORES))
    for length in range(len(data)):
        with pytest.raises(StoreError):
            decode_record(data[:length])


def test_a_damaged_file_is_named_with_what_to_do(store: MatteStore) -> None:
    store.write(record())
    path = store.path(1, 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError) as caught:
        store.read(1, 1)
    assert str(path) in caught.value.message
    assert "Propagate" in caught.value.fix


def test_a_newer_format_is_told_as_such(store: MatteStore) -> None:
    data = bytearray(encode_record(record()))
    data[4] = 2
    with pytest.raises(StoreError, match="format 2, but this SAM2 Splat reads format 1"):
        decode_record(bytes(data))


def test_records_lie_by_object_and_frame(store: MatteStore) -> None:
    for object_id, frame in ((2, 1), (1, 100000), (1, 7), (1, 1000)):
        store.write(record(object_id, frame, seed=frame))
    assert store.objects() == [1, 2]
    assert store.frames(1) == [7, 1000, 100000]
    assert store.has(2, 1)
    assert not store.has(2, 2)
    assert same(store.read(1, 1000), record(1, 1000, seed=1000))
    again = MatteStore.open(store.folder)
    assert again.frames(1) == store.frames(1)


def test_writing_again_replaces(store: MatteStore) -> None:
    store.write(record(seed=1))
    store.write(record(seed=2))
    assert same(store.read(1, 1), record(seed=2))
    assert len(list(store.path(1, 1).parent.iterdir())) == 1


def test_what_is_missing_is_named(store: MatteStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Subject 1 has no mask on frame 5"):
        store.read(1, 5)
    with pytest.raises(StoreError, match="no mattes"):
        MatteStore.open(tmp_path / "nowhere")
    assert store.frames(1) == []
    assert store.objects() == []


def test_remove_forgets_frames_or_all_of_one_object(store: MatteStore) -> None:
    for object_id in (1, 2):
        for frame in range(1, 6):
            store.write(record(object_id, frame))
    store.state_folder(1).mkdir(parents=True)
    store.remove(1, range(2, 4))
    assert store.frames(1) == [1, 4, 5]
    assert store.state_folder(1).is_dir()
    store.remove(1)
    assert store.objects() == [2]
    assert not store.state_folder(1).exists()
    store.remove(9)


def test_clear_forgets_everything_and_the_store_goes_on(store: MatteStore) -> None:
    store.write(record())
    store.manifest_path.write_bytes(b'{\n  "footage": "4f')  # cut off
    bank = store.state_folder(1) / "forward" / "000001.safetensors"
    bank.parent.mkdir(parents=True)
    bank.write_bytes(b"x")
    store.clear()
    assert list(store.folder.iterdir()) == []
    store.clear()
    store.write(record())
    assert store.frames(1) == [1]


def test_masks_that_were_made_to_be_tried_go_and_what_is_not_ours_stays(
    store: MatteStore, tmp_path: Path
) -> None:
    trial = store.trial
    store.drop_trial()  # there is none
    for own in (False, True):
        MatteStore.open(trial.folder, create=True).write(record())
        store.write(record())
        (trial.folder / "run.lock").touch()
        if own:
            (trial.folder / "notes.txt").write_text("mine")
        store.clear()
        assert [path.name for path in store.folder.rglob("*")] == (
            ["trial", "notes.txt"] if own else []
        )
    (trial.folder / "notes.txt").unlink()
    trial.folder.rmdir()
    elsewhere = MatteStore.open(tmp_path / "elsewhere", create=True)
    elsewhere.write(record())
    trial.folder.symlink_to(elsewhere.folder, target_is_directory=True)
    store.drop_trial()
    store.clear()
    assert elsewhere.frames(1) == [1]


def test_sweeping_removes_what_killed_runs_left_and_nothing_else(store: MatteStore) -> None:
    store.write(record())
    mattes = store.path(1, 1).parent
    old = mattes / ".s2s_00000000_4711_1.tmp"  # of a run on another machine
    fresh = mattes / ".s2s_00000000_4711_2.tmp"
    others = [
        store.folder / ".config.tmp",
        store.folder / ".~lock.letter.odt.tmp",
        store.folder / "sub" / ".s2s_00000000_4711_1.tmp",
        mattes / ".notes.1.tmp",
    ]
    for path in (old, fresh, *others):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (1e9, 1e9))
    os.utime(fresh)
    MatteStore.open(store.folder, create=True)
    assert old.exists()  # another process may be writing: the lock comes first
    store.sweep()
    assert not old.exists()
    assert all(path.exists() for path in (fresh, *others))
    assert store.frames(1) == [1]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_folder_that_can_not_be_used_is_an_error_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file stands where the folder should")
    with pytest.raises(StoreError) as caught:
        MatteStore.open(tmp_path / "store", create=True)
    assert "preferences" in caught.value.fix
    blocked = MatteStore.open(tmp_path / "other", create=True)
    (blocked.folder / "objects" / "001").write_bytes(b"")
    with pytest.raises(StoreError, match="can't be written"):
        blocked.write(record())


def test_a_typical_matte_is_small() -> None:
    y, x = np.mgrid[:256, :256]
    logits = (20 - np.hypot(x - 128, y - 128) / 4).astype(np.float16)
    data = encode_record(MatteRecord(1, 1, 1200, 1800, logits, SCORES))
    assert len(data) < logits.nbytes


def test_a_matte_damaged_behind_its_header_counts_as_missing(store: MatteStore) -> None:
    store.write(record())
    path = store.path(1, 1)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert store.key(1, 1) is None, "else a run would never repair it"


@pytest.mark.parametrize("at", [(1, 2), (2, 1)])
def test_a_matte_under_anothers_name_counts_as_damaged(
    store: MatteStore, at: tuple[int, int]
) -> None:
    store.write(record())
    store.path(*at).parent.mkdir(exist_ok=True)
    store.path(*at).write_bytes(store.path(1, 1).read_bytes())
    assert store.mark(*at) is None
    assert store.key(*at) is None
    with pytest.raises(StoreError, match="it is of subject 1, frame 1"):
        store.read(*at)
    assert same(store.read(1, 1), record())


def test_what_cloud_folders_leave_behind_is_no_matte(store: MatteStore) -> None:
    store.write(record())
    for name in ("000001 (conflicted copy 2026-05-01).matte", "000001 2.matte"):
        store.path(1, 1).with_name(name).write_bytes(b"")
    assert store.frames(1) == [1]
    assert store.objects() == [1]


@pytest.mark.parametrize("claimed", [(8, 8), (30_000, 30_000), (-1, 4)])
def test_a_matte_is_unpacked_no_further_than_its_header_says(claimed: tuple[int, int]) -> None:
    rows, columns = claimed
    header = msgspec.msgpack.encode([1, 1, 90, 60, rows, columns, [1.0, 0.9, 0.1], False, "k"])
    scores = msgspec.msgpack.encode(MatteScores(1.0, 0.9, 0.1))
    header = header.replace(msgspec.msgpack.encode([1.0, 0.9, 0.1]), scores)
    body = b"S2SM\1" + struct.pack("<I", len(header)) + header + zlib.compress(bytes(50 << 20))
    tracemalloc.start()
    with pytest.raises(StoreError):
        decode_record(body + struct.pack("<I", zlib.crc32(body)))
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "damage",
    [
        {"width": 0},
        {"height": 0},
        {"width": -5, "height": -5},
        {"scores": MatteScores(float("nan"), 0.9, 0.1)},
        {"scores": MatteScores(1.0, 0.9, 0.1, float("inf"))},
    ],
)
def test_a_matte_of_no_size_or_scores_counts_as_missing(
    store: MatteStore, damage: dict[str, Any]
) -> None:
    store.write(replace(record(), **damage))
    with pytest.raises(StoreError, match="Propagate this subject again"):
        store.read(1, 1)
    assert store.mark(1, 1) is None, "else Propagate would never repair it"


def test_names_that_the_store_did_not_give_are_no_mattes(store: MatteStore) -> None:
    store.write(record())
    for name in ("²", "1", "٣", "0001", "notes"):
        (store.folder / "objects" / name).mkdir()
        (store.folder / "cleared" / name).mkdir(parents=True)
        store.path(1, 1).with_name(f"{name}.matte").write_bytes(b"")
    store.path(1, 2).mkdir()
    (store.folder / "objects" / "002").write_bytes(b"")
    assert store.objects() == [1]
    assert store.frames(1) == [1]
    assert store.frames(2) == []
    assert store.aside() == []


def test_the_small_files_of_a_subjects_state_are_written_whole_or_named(store: MatteStore) -> None:
    path = store.write_state(3, "agreement.json", b"first")
    assert path == store.folder / "state" / "003" / "agreement.json"
    assert store.write_state(3, "agreement.json", b"second").read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]
    (store.folder / "state" / "004").write_bytes(b"a file stands where the folder should")
    with pytest.raises(StoreError, match=r"state.004.agreement\.json can't be written"):
        store.write_state(4, "agreement.json", b"third")


def test_a_store_that_was_deleted_during_a_run_is_named(store: MatteStore) -> None:
    store.require_there()
    for path in store.folder.iterdir():
        path.rename(path.with_name(f"moved {path.name}"))
    with pytest.raises(StoreError, match=f"{store.folder.name} was deleted or moved"):
        store.require_there()


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 1, "height": 1},
        {"width": _MAX_SIDE, "height": _MAX_SIDE},
        {"orientation": 8},
    ],
)
def test_the_least_and_the_largest_values_are_a_matte(changes: dict[str, Any]) -> None:
    made = replace(record(), **changes)
    assert decode_record(encode_record(made)).width == made.width


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"height": 0},
        {"width": _MAX_SIDE + 1},
        {"height": _MAX_SIDE + 1},
        {"orientation": 0},
        {"orientation": 9},
    ],
)
def test_values_one_beyond_those_are_damage(changes: dict[str, Any]) -> None:
    with pytest.raises(StoreError):
        decode_record(encode_record(replace(record(), **changes)))
