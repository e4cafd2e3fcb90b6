# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of damaged photos belongs to its footage, and a damaged list is an empty one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sam2_splat_addon.core.errors import DamagedPhoto, StoreError
from sam2_splat_addon.core.footage.damaged_photos import (
    DAMAGED_NAME,
    DamagedFrame,
    left_out,
    read_damaged,
    write_damaged,
)

PHOTOS = {
    9: DamagedFrame(9, "left/c.jpg", "It ends early."),
    2: DamagedFrame.of(2, "a ü.jpg", DamagedPhoto("Its header is damaged.", "Copy it again.")),
}


def test_a_list_comes_back_for_the_same_footage_alone(tmp_path: Path) -> None:
    assert read_damaged(tmp_path, "key") == {}
    write_damaged(tmp_path, "key", PHOTOS)
    assert read_damaged(tmp_path, "key") == PHOTOS
    assert list(read_damaged(tmp_path, "key")) == [2, 9]
    assert read_damaged(tmp_path, "other") == {}
    assert PHOTOS[2].reason == "Its header is damaged."
    write_damaged(tmp_path, "key", {})
    assert not (tmp_path / DAMAGED_NAME).exists()
    write_damaged(tmp_path, "key", {})  # nothing was there


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"footage": "key"}', b"\xff\xfe", b"[" * 200_000]
)
def test_a_damaged_list_counts_as_empty(tmp_path: Path, data: bytes) -> None:
    write_damaged(tmp_path, "key", PHOTOS)
    (tmp_path / DAMAGED_NAME).write_bytes(data)
    assert read_damaged(tmp_path, "key") == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_the_list_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.mkfifo(tmp_path / DAMAGED_NAME)
    assert read_damaged(tmp_path, "key") == {}


def test_a_list_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file stands where the folder should")
    with pytest.raises(StoreError, match=r"damaged\.json can't be written"):
        write_damaged(tmp_path, "key", PHOTOS)


def test_photos_are_named_with_their_frames_in_order() -> None:
    assert left_out([]) == ""
    one = "Left out, as this photo is damaged: left/c.jpg (frame 9)."
    assert left_out([PHOTOS[9]]) == one
    two = "Left out, as these photos are damaged: a ü.jpg (frame 2) and left/c.jpg (frame 9)."
    assert left_out(PHOTOS.values()) == two
