# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo comes into another folder whole, by the cheapest way that the disk allows."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sam2_splat_addon.core.system import shared_copy
from sam2_splat_addon.core.system.shared_copy import share


def fails(*_: Any) -> None:
    raise OSError(errno.EXDEV, "another disk")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "Größe 写真.jpg"
    path.write_bytes(os.urandom(100_000))
    os.utime(path, ns=(10**18, 10**18))
    return path


WAYS = {"clone": (), "link": ("clone",), "copy": ("clone", "link")}


@pytest.mark.parametrize("way", WAYS)
def test_the_bytes_and_the_time_are_the_photos(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if "clone" in WAYS[way]:
        monkeypatch.setattr(shared_copy, "_clone", fails)
    if "link" in WAYS[way]:
        monkeypatch.setattr(os, "link", fails)
    target = tmp_path / "to" / "a b.jpg"
    target.parent.mkdir()
    share(photo, target)
    assert target.read_bytes() == photo.read_bytes()
    assert target.stat().st_mtime_ns == photo.stat().st_mtime_ns
    assert [path.name for path in target.parent.iterdir()] == ["a b.jpg"]
    if way == "copy":
        assert target.stat().st_nlink == 1


def test_a_file_that_is_there_is_replaced_in_one_step(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    for _ in range(2):  # the second time it may be the same file already
        share(photo, target)
        assert target.read_bytes() == photo.read_bytes()
        assert len(list(tmp_path.iterdir())) == 2


def test_the_file_behind_a_link_is_shared_and_not_the_link(photo: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.jpg"
    link.symlink_to(photo.name)
    target = tmp_path / "a.jpg"
    share(link, target)
    assert not target.is_symlink()
    assert target.read_bytes() == photo.read_bytes()


def test_nothing_is_left_if_no_way_works(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(shared_copy, "_clone", fails)
    monkeypatch.setattr(os, "link", fails)
    monkeypatch.setattr(shared_copy, "_copy", full)
    with pytest.raises(OSError, match="full"):
        share(photo, tmp_path / "a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == [photo.name]
