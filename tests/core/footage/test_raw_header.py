# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera RAW is told by its content, and what is known of it is kept in a file."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import DamagedPhoto
from sam2_splat_addon.core.footage.headers import read_header
from sam2_splat_addon.core.footage.raw_photos import RawPhoto, RawPhotos, RawPhotosUnknown
from sam2_splat_addon.core.footage.scan import scan

from ...engine.images.photo_kinds import Directory, colors, dng, tiff

PHOTO = RawPhoto(60, 40, 6)
MOSAIC = np.full((40, 60, 3), 0.4)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.tif", dng(MOSAIC), "raw"),
        ("a.nef", tiff(Directory(colors())), "raw"),
        ("a.photo", b"IIRO" + tiff(Directory(colors()))[4:], "raw"),
        ("a.photo", b"IIU\0" + bytes(60), "raw"),
        ("a.photo", b"FUJIFILMCCD-RAW 0201" + bytes(200), "raw"),
        ("a.photo", struct.pack(">I8s", 24, b"ftypcrx ") + bytes(12), "raw"),
        ("a.tif", tiff(Directory(colors())), "tiff"),
    ],
)
def test_a_raw_is_told_by_its_content(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    if kind == "raw":
        with pytest.raises(RawPhotosUnknown, match=name):
            read_header(path)
    header = read_header(path, lambda _: PHOTO)
    assert header.format == kind
    if kind == "raw":
        assert (header.width, header.height, header.orientation) == (60, 40, 6)
        assert header.needs_copy


def test_a_jpeg_with_the_name_of_a_raw_is_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.cr2"
    Image.new("RGB", (30, 20)).save(path, "JPEG")
    assert read_header(path).format == "jpeg"


def test_those_that_are_cut_short_are_told_without_a_library(tmp_path: Path) -> None:
    raf = b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">6I", 200, 50, 250, 50, 300, 900)
    cr3 = struct.pack(">I8s", 24, b"ftypcrx ") + bytes(12) + struct.pack(">I4s", 900, b"mdat")
    for data in (raf + bytes(300), cr3 + bytes(300)):
        path = tmp_path / "a.photo"
        path.write_bytes(data)
        with pytest.raises(DamagedPhoto, match=r"a\.photo can't be read: the file is cut short"):
            read_header(path, lambda _: PHOTO)
        path.write_bytes(data + bytes(900))
        assert read_header(path, lambda _: PHOTO).format == "raw"


def test_what_is_known_is_kept_until_the_photo_changes(tmp_path: Path) -> None:
    photo, file = tmp_path / "a.dng", tmp_path / "cache" / "known.json"
    photo.write_bytes(dng(MOSAIC))
    with pytest.raises(RawPhotosUnknown) as caught:
        scan(tmp_path, raw=RawPhotos(file).of)
    assert caught.value.paths == (photo,)
    RawPhotos(file).keep({photo: PHOTO})
    (frame,) = scan(tmp_path, raw=RawPhotos(file).of).frames
    assert (frame.header.width, frame.header.height) == (60, 40)
    moved = tmp_path / "moved"
    moved.mkdir()
    photo.rename(moved / photo.name)
    assert RawPhotos(file).of(moved / photo.name) == PHOTO
    os.utime(moved / photo.name, ns=(1, 1))
    with pytest.raises(RawPhotosUnknown):
        RawPhotos(file).of(moved / photo.name)


def test_one_that_can_not_be_used_is_left_out_with_its_reason(tmp_path: Path) -> None:
    good, bad, file = tmp_path / "a.dng", tmp_path / "b.dng", tmp_path / "known.json"
    for path in (good, bad):
        path.write_bytes(dng(MOSAIC))
    RawPhotos(file).keep({good: PHOTO, bad: RawPhoto(problem="its pixels are not square")})
    found = scan(tmp_path, raw=RawPhotos(file).of)
    assert [frame.name for frame in found.frames] == ["a.dng"]
    (left_out,) = found.unreadable
    assert left_out.reason == "b.dng can't be used: its pixels are not square."


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"made_by": "me", "photos": {}}', b"\xff" * 99]
)
def test_a_strange_file_is_put_aside_and_not_lost(tmp_path: Path, data: bytes) -> None:
    photo, file = tmp_path / "a.dng", tmp_path / "known.json"
    photo.write_bytes(dng(MOSAIC))
    file.write_bytes(data)
    with pytest.raises(RawPhotosUnknown):
        RawPhotos(file).of(photo)
    RawPhotos(file).keep({photo: PHOTO})
    assert RawPhotos(file).of(photo) == PHOTO
    assert (tmp_path / "known.json.old").read_bytes() == data


def test_a_raw_beside_a_photo_of_the_same_name_is_passed_over(tmp_path: Path) -> None:
    for name in ("A.JPG", "b.jpg", "c.jpg"):
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    (tmp_path / "a.CR2").write_bytes(dng(MOSAIC))
    (tmp_path / "d.dng").write_bytes(dng(MOSAIC))
    found = scan(tmp_path, raw=lambda _: PHOTO)
    assert [frame.name for frame in found.frames] == ["A.JPG", "b.jpg", "c.jpg", "d.dng"]
