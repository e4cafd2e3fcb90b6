# SPDX-License-Identifier: GPL-3.0-or-later
"""Other decoders read our PNGs back whole, and no half file is ever left."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from sam2_splat_addon.engine.images import png
from sam2_splat_addon.engine.images.png import write_grey, write_rgba

from ..full_disk import file_size_limit


def pixels(dtype: Any, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(6)
    values = random.integers(0, np.iinfo(dtype).max + 1, (height, width, 4), dtype=dtype)
    values[height // 3 :, width // 2 :, 3] = 0  # colours must be kept where alpha is 0
    return np.ascontiguousarray(values[:, :, :3]), np.ascontiguousarray(values[:, :, 3])


def chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        yield kind, body
        at += 12 + length


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (257, 1), (83, 131)])
@pytest.mark.parametrize("stripe_bytes", [1, 5000, 1 << 22])
def test_pixels_come_back_bit_for_bit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Any,
    height: int,
    width: int,
    stripe_bytes: int,
) -> None:
    monkeypatch.setattr(png, "_STRIPE_BYTES", stripe_bytes)
    rgb, alpha = pixels(dtype, height, width)
    path = tmp_path / "a.png"
    write_rgba(path, rgb, alpha)
    with_opencv = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert with_opencv.dtype == dtype
    assert np.array_equal(with_opencv[:, :, 2::-1], rgb)
    assert np.array_equal(with_opencv[:, :, 3], alpha)
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        with_pillow = np.asarray(image)
    shift = 8 * (np.dtype(dtype).itemsize - 1)  # Pillow keeps the upper byte of 16 bits
    assert np.array_equal(with_pillow, np.dstack([rgb, alpha]) >> shift)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pngs_come_back_bit_for_bit(tmp_path: Path, dtype: Any) -> None:
    _, grey = pixels(dtype, 60, 77)
    path = tmp_path / "a.png"
    write_grey(path, grey)
    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), grey)
    with Image.open(path) as image:
        assert image.mode == ("L" if dtype == np.uint8 else "I;16")
        assert np.array_equal(np.asarray(image), grey)


def test_the_file_is_framed_as_the_standard_says(tmp_path: Path) -> None:
    rgb, alpha = pixels(np.uint8, 50, 40)
    path = tmp_path / "a.png"
    write_rgba(path, rgb, alpha, icc=b"profile" * 9, exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0")
    kinds = [kind for kind, _ in chunks(path)]
    assert kinds[:3] == [b"IHDR", b"iCCP", b"eXIf"]
    assert kinds[-1] == b"IEND"
    assert set(kinds[3:-1]) == {b"IDAT"}
    stream = b"".join(body for kind, body in chunks(path) if kind == b"IDAT")
    assert len(zlib.decompress(stream)) == 50 * (40 * 4 + 1)


def test_profile_and_exif_are_read_by_pillow(tmp_path: Path) -> None:
    rgb, alpha = pixels(np.uint8, 9, 9)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 8
    exif.get_ifd(34665)[37386] = 35.0
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    path = tmp_path / "a.png"
    write_rgba(path, rgb, alpha, icc=profile, exif=block)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["exif"].removeprefix(b"Exif\0\0") == block
        assert float(image.getexif().get_ifd(34665)[37386]) == 35.0


def test_same_pixels_give_the_same_bytes(tmp_path: Path) -> None:
    rgb, alpha = pixels(np.uint16, 90, 70)
    write_rgba(tmp_path / "a.png", rgb, alpha)
    write_rgba(tmp_path / "b.png", rgb.copy(), alpha.copy())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_smooth_photos_are_not_larger_than_from_other_encoders(tmp_path: Path) -> None:
    small = np.random.default_rng(1).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    rgb = cv2.resize(small, (600, 800), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    alpha = np.full((800, 600), 255, dtype=np.uint8)
    write_rgba(tmp_path / "ours.png", rgb, alpha)
    cv2.imwrite(str(tmp_path / "theirs.png"), np.dstack([rgb, alpha]))
    ours, theirs = ((tmp_path / f"{n}.png").stat().st_size for n in ("ours", "theirs"))
    assert ours < 1.3 * theirs


def test_rendered_photos_are_at_most_a_tenth_larger_than_pillows(tmp_path: Path) -> None:
    photo = sorted((Path(__file__).parents[3] / "sample" / "photos").iterdir())[20]
    rgb = np.array(Image.open(photo).convert("RGB"))[600:1200]
    rows, columns = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    alpha = np.where((rows - 300) ** 2 + (columns - 600) ** 2 < 250**2, 255, 0).astype(np.uint8)
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    write_rgba(ours, rgb, alpha)
    Image.fromarray(np.dstack([rgb, alpha])).save(theirs)
    assert ours.stat().st_size <= 1.1 * theirs.stat().st_size


def test_stripes_of_a_large_image_take_turns_between_two_deflates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb, alpha = pixels(np.uint8, 120, 100)
    smooth = np.cumsum(rgb // 86, axis=0, dtype=np.uint8)
    whole = {}
    for stripe_bytes in (1 << 22, 4000):  # one stripe by zlib-ng; twelve by both
        monkeypatch.setattr(png, "_STRIPE_BYTES", stripe_bytes)
        write_rgba(tmp_path / "a.png", smooth, alpha)
        with Image.open(tmp_path / "a.png") as image:
            assert np.array_equal(np.asarray(image), np.dstack([smooth, alpha]))
        sizes = [len(body) for kind, body in chunks(tmp_path / "a.png") if kind == b"IDAT"]
        whole[stripe_bytes] = sizes
    assert len(whole[1 << 22]) == 2
    stripes = whole[4000][:-1]
    assert len(stripes) == 12
    patient, quick = [stripes[6], stripes[9]], [stripes[7], stripes[8]]
    assert max(patient) < min(quick)


def test_a_write_that_fails_half_way_leaves_nothing_new(tmp_path: Path) -> None:
    rgb, alpha = pixels(np.uint8, 300, 300)
    old = tmp_path / "old.png"
    old.write_bytes(b"what was there before")
    with file_size_limit(50_000):
        for name in ("new.png", "old.png"):
            with pytest.raises(OSError):
                write_rgba(tmp_path / name, rgb, alpha)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert old.read_bytes() == b"what was there before"


def test_planes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rgb, alpha = pixels(np.uint8, 9, 9)
    for wrong in (alpha[:5], alpha.astype(np.uint16)):
        with pytest.raises(ValueError, match="rgb"):
            write_rgba(tmp_path / "a.png", rgb, wrong)
