# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes notice every change of a file, and an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from sam2_splat_addon.core.footage import content_hashes, file_stamps
from sam2_splat_addon.core.footage.content_hashes import ContentHashes
from sam2_splat_addon.core.footage.file_stamps import Stamp
from sam2_splat_addon.core.footage.scan import hash_photos


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.jpg" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_bytes(random.Random(i).randbytes(200_000))
    return paths


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of the test count as settled at once."""
    monkeypatch.setattr(content_hashes, "_SETTLED_NS", -1_000_000_000)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the files that are read."""
    names: list[str] = []
    own = hashlib.file_digest

    def counted(stream: BinaryIO, name: str) -> Any:
        names.append(Path(stream.name).name)
        return own(stream, name)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return names


def test_what_has_not_changed_is_not_read_again_by_another_process_either(
    photos: list[Path], tmp_path: Path, read: list[str], long_ago: None
) -> None:
    hashes = ContentHashes(tmp_path / "cache" / "hashes")
    first = [hashes.of(path) for path in photos]
    assert first == [hashlib.sha256(path.read_bytes()).digest() for path in photos]
    assert [hashes.of(path) for path in photos] == first
    hashes.keep()
    again = ContentHashes(tmp_path / "cache" / "hashes")
    assert [again.of(path) for path in photos] == first
    assert read == [path.name for path in photos]


def test_every_change_is_seen_wherever_it_is_and_whatever_its_time_says(
    photos: list[Path], tmp_path: Path, long_ago: None
) -> None:
    hashes = ContentHashes()
    seen = {hashes.of(photos[0])}
    rng = random.Random(5)
    for count in range(2, 32):
        status = photos[0].stat()
        with photos[0].open("r+b") as file:  # same size, same file, and the time is set back
            at = rng.randrange(status.st_size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
        os.utime(photos[0], ns=(status.st_atime_ns, status.st_mtime_ns))
        time.sleep(0.02)  # longer than one step of the file system's clock
        seen.add(hashes.of(photos[0]))
        assert len(seen) == count


def test_a_file_swapped_for_another_is_seen(photos: list[Path], long_ago: None) -> None:
    hashes = ContentHashes()
    first = [hashes.of(path) for path in photos[:2]]
    photos[0].rename(photos[0].with_suffix(".tmp"))
    photos[1].rename(photos[0])
    photos[0].with_suffix(".tmp").rename(photos[1])
    assert [hashes.of(path) for path in photos[:2]] == first[::-1]


def test_a_file_changed_a_moment_ago_is_not_remembered(photos: list[Path], read: list[str]) -> None:
    hashes = ContentHashes()
    hashes.of(photos[0])
    hashes.of(photos[0])
    assert len(read) == 2


def test_a_file_changed_while_it_is_read_is_not_remembered(
    photos: list[Path], read: list[str], long_ago: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = iter([Stamp("a", 1, 1, 1, 1), Stamp("a", 1, 2, 2, 1)] * 2)
    monkeypatch.setattr(content_hashes, "stamp_of", lambda _: next(stamps))
    hashes = ContentHashes()
    hashes.of(photos[0])
    hashes.of(photos[0])
    assert len(read) == 2


def test_a_damaged_memory_is_none_and_one_that_cannot_be_written_does_no_harm(
    photos: list[Path], tmp_path: Path, read: list[str], long_ago: None
) -> None:
    file = tmp_path / "hashes"
    hashes = ContentHashes(file)
    right = hashes.of(photos[0])
    hashes.keep()
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    for damaged in (bytes(data), b"", bytes(3), b"\xdd\xff\xff\xff\xff" * 9):
        file.write_bytes(damaged)
        assert ContentHashes(file).of(photos[0]) == right
    assert len(read) == 5
    (tmp_path / "taken").write_text("")
    nowhere = ContentHashes(tmp_path / "taken" / "hashes")
    assert nowhere.of(photos[0]) == right
    nowhere.keep()


def test_a_stamp_is_of_one_state_of_one_file(photos: list[Path]) -> None:
    stamps = {file_stamps.stamp_of(path) for path in photos}
    assert len(stamps) == 4
    assert file_stamps.stamp_of(photos[0]) in stamps


@pytest.mark.parametrize("what", ["text", "numbers", "link", "folder"])
def test_somebody_elses_file_of_that_name_stays(
    what: str, photos: list[Path], tmp_path: Path, long_ago: None
) -> None:
    file, own = tmp_path / "photo_hashes", tmp_path / "notes"
    own.write_bytes(b"years of work" if what != "numbers" else bytes(range(256)))
    if what == "link":
        file.symlink_to(own)
    elif what == "folder":
        file.mkdir()
    else:
        own.rename(file)
    before = file.read_bytes() if file.is_file() else b""
    hashes = ContentHashes(file)
    right = hashes.of(photos[0])
    hashes.keep()
    assert right == ContentHashes().of(photos[0])
    assert file.is_symlink() == (what == "link")
    assert file.is_dir() == (what == "folder")
    assert (file.read_bytes() if file.is_file() else b"") == before


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_a_torn_memory_of_ours_is_made_anew(
    keep: int, photos: list[Path], tmp_path: Path, long_ago: None
) -> None:
    file = tmp_path / "photo_hashes"
    first = ContentHashes(file)
    first.of(photos[0])
    first.keep()
    whole = file.read_bytes()
    torn = whole[:keep] + bytes(40 if keep != 10 else 0)
    file.write_bytes(torn)
    second = ContentHashes(file)
    second.of(photos[0])
    second.keep()
    assert file.read_bytes() == whole


def test_hashes_of_a_cancelled_run_are_kept(
    photos: list[Path], tmp_path: Path, read: list[str], long_ago: None
) -> None:
    memory = tmp_path / "cache" / "hashes"

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_photos(tmp_path, photos, ContentHashes(memory), stop)
    read.clear()
    hash_photos(tmp_path, photos, ContentHashes(memory))
    assert read == [path.name for path in photos[2:]]
