# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo that does not decode whole is reported, in every format. A whole photo never is."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image

from sam2_splat_addon.core.errors import DamagedPhoto
from sam2_splat_addon.core.footage.headers import MAX_PIXELS, read_header
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.images.reduced import jpeg_at_least

WIDTH, HEIGHT = 320, 240


def picture(seed: int = 1, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (height // 12 + 1, width // 12 + 1, 3), dtype=np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(float)
    noisy = np.clip(large + random.normal(0, 5, large.shape), 0, 255)
    return Image.fromarray(noisy.astype(np.uint8))


def saved(kind: str, image: Image.Image | None = None) -> bytes:
    image = image or picture()
    file = io.BytesIO()
    if kind == "png16":
        wide = np.asarray(image)[:, :, ::-1].astype(np.uint16) * 257
        return bytes(cv2.imencode(".png", wide)[1])
    if kind == "webp alpha":
        image.putalpha(image.getchannel(1))
    options: dict[str, dict[str, object]] = {
        "jpeg": {"quality": 92},
        "jpeg progressive": {"quality": 92, "progressive": True},
        "jpeg 444": {"quality": 80, "subsampling": 0, "optimize": True},
        "png": {},
        "webp": {"quality": 85},
        "webp alpha": {"quality": 85},
        "webp lossless": {"lossless": True},
        "tiff lzw": {"compression": "tiff_lzw"},
        "tiff deflate": {"compression": "tiff_adobe_deflate"},
        "tiff packbits": {"compression": "packbits"},
        "tiff jpeg": {"compression": "jpeg"},
    }
    image.save(file, kind.split()[0].upper(), **options[kind])
    return file.getvalue()


KINDS = (
    "jpeg",
    "jpeg progressive",
    "jpeg 444",
    "png",
    "png16",
    "webp",
    "webp alpha",
    "webp lossless",
    "tiff lzw",
    "tiff deflate",
    "tiff packbits",
    "tiff jpeg",
)
Damage = Callable[[random.Random, bytes, int], bytes]


def blanked(rng: random.Random, data: bytes, begin: int) -> bytes:
    at = rng.randrange(begin, len(data) - 700)
    return data[:at] + bytes(512) + data[at + 512 :]


def cut(rng: random.Random, data: bytes, begin: int) -> bytes:
    return data[: rng.randrange(begin, len(data) - 700)]


def behind_header(data: bytes) -> int:
    scan = data.rfind(b"\xff\xda") if data.startswith(b"\xff\xd8") else -1
    return max(scan + 20, 600)


# A blank in one of several scans may be a real even area.
CASES = [(kind, cut) for kind in KINDS] + [
    (kind, blanked) for kind in KINDS if kind != "jpeg progressive"
]


@pytest.mark.parametrize(("kind", "damage"), CASES)
def test_damage_behind_the_header_is_told_by_name(
    tmp_path: Path, kind: str, damage: Damage
) -> None:
    data, path = saved(kind), tmp_path / "IMG_7.photo"
    path.write_bytes(data)
    decode(path)
    begin = behind_header(data) if kind != "jpeg progressive" else data.index(b"\xff\xda") + 20
    for seed in range(12):
        path.write_bytes(damage(random.Random(seed), data, begin))
        with pytest.raises(DamagedPhoto, match=r"IMG_7\.photo"):
            decode(path)


@pytest.mark.parametrize("kind", ["jpeg", "jpeg progressive", "jpeg 444"])
def test_a_jpeg_cut_and_closed_again_is_told_at_every_scale(tmp_path: Path, kind: str) -> None:
    data, path = saved(kind), tmp_path / "a.jpg"
    for seed in range(8):
        path.write_bytes(cut(random.Random(seed), data, data.index(b"\xff\xda") + 20) + b"\xff\xd9")
        with pytest.raises(DamagedPhoto):
            decode(path)
        for divisor in (2, 4, 8):
            with pytest.raises(DamagedPhoto):
                jpeg_at_least(path, (WIDTH // divisor, HEIGHT // divisor), {})


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_jpegs_of_other_colours_are_looked_at_too(tmp_path: Path, mode: str) -> None:
    data, path = saved("jpeg", picture().convert(mode)), tmp_path / "a.jpg"
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    with pytest.raises(DamagedPhoto):
        decode(path)
    with pytest.raises(DamagedPhoto):
        jpeg_at_least(path, (WIDTH // 4, HEIGHT // 4), {})


@pytest.mark.parametrize("compression", ["ZIPS", "ZIP", "PXR24"])
def test_an_exr_with_check_sums_of_its_own_is_told(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.exr"
    planes = {c: np.asarray(picture())[:, :, i] / np.float32(255) for i, c in enumerate("RGB")}
    kind = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION")}
    with OpenEXR.File(kind, planes) as file:
        file.write(str(path))
    data = path.read_bytes()
    for seed in range(6):
        path.write_bytes(blanked(random.Random(seed), data, 4000))
        with pytest.raises(DamagedPhoto):
            decode(path)


APPENDED = {
    "nothing": b"",
    "a film": b"\0\0\0\x18ftypmp42" + bytes(100_000),
    "a maker's own data": bytes(range(1, 255)) * 40,
}


@pytest.mark.parametrize("kind", ["jpeg", "jpeg progressive", "jpeg 444"])
@pytest.mark.parametrize("appended", APPENDED.values(), ids=APPENDED.keys())
def test_a_jpeg_without_its_end_marker_is_whole(tmp_path: Path, kind: str, appended: bytes) -> None:
    path = tmp_path / "a.jpg"
    for seed in range(5):
        data = saved(kind, picture(seed, 97 + 8 * seed, 61 + 5 * seed))
        path.write_bytes(data)
        whole = decode(path).array
        path.write_bytes(data[:-2] + appended)
        assert np.array_equal(decode(path).array, whole)
        # A blank half of the file is damage.
        path.write_bytes(data[: len(data) // 2] + bytes(len(appended)))
        with pytest.raises(DamagedPhoto):
            decode(path)


def test_stray_bytes_and_an_unknown_version_ahead_of_the_picture_harm_nothing(
    tmp_path: Path,
) -> None:
    data, path = saved("jpeg"), tmp_path / "a.jpg"
    path.write_bytes(data)
    whole = decode(path).array
    for changed in (
        data[:20] + bytes(4) + data[20:],
        data.replace(b"JFIF\0\1", b"JFIF\0\7"),
        data + b"and more",
    ):
        path.write_bytes(changed)
        assert np.array_equal(decode(path).array, whole)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (31, 47), (200, 3)])
@pytest.mark.parametrize("flat", [False, True])
def test_small_and_flat_photos_are_whole(tmp_path: Path, size: tuple[int, int], flat: bool) -> None:
    path = tmp_path / "a.photo"
    image = Image.new("RGB", size, (0, 90, 0)) if flat else picture(3, *size)
    for kind in KINDS:
        path.write_bytes(saved(kind, image.copy()))
        assert decode(path).array.shape == (size[1], size[0], 3)


def test_lzw_of_every_table_size_is_whole(tmp_path: Path) -> None:
    # Long enough to fill LZW's tables, with lines that repeat and lines that don't.
    rows = np.random.default_rng(2).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    rows[100:200] = rows[100]
    path = tmp_path / "a.tif"
    Image.fromarray(rows).save(path, compression="tiff_lzw")
    assert np.array_equal(decode(path).array, rows)


def tiff_with(tag: int, place: int, value: int, compression: str | None) -> bytes:
    """A TIFF of many strips with another number in one of its tags."""
    file = io.BytesIO()
    strips: dict[str, Any] = {"rowsperstrip": 16, "photometric": "rgb", "compression": compression}
    tifffile.imwrite(file, np.asarray(picture()).astype(np.uint16) * 257, **strips)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        found = tiff.pages.first.tags[tag]
    data = bytearray(file.getvalue())
    size = found.valuebytecount // found.count
    at = found.valueoffset + place * size
    data[at : at + size] = value.to_bytes(size, "little")
    return bytes(data)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("offset", [0, 4, 5000, 20001])
def test_strips_that_share_bytes_with_others_or_the_header_are_told(
    tmp_path: Path, compression: str | None, offset: int
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_with(273, 5, offset, compression))
    with pytest.raises(DamagedPhoto, match=r"a\.tif"):
        decode(path)


@pytest.mark.parametrize("code", [0, 9, 10, 34712, 34892, 34933, 52546, 12345, 65535])
def test_a_tiff_of_a_kind_that_no_library_here_knows_is_not_black(
    tmp_path: Path, code: int
) -> None:
    """JPEG 2000, JBIG, JPEG XL, and numbers without a meaning."""
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_with(259, 0, code, "zlib"))
    with pytest.raises(DamagedPhoto, match=r"a\.tif.*(not supported|damaged)"):
        decode(path)


def test_planes_apart_that_opencv_would_scramble_are_whole(tmp_path: Path) -> None:
    """LZW of three planes of 16 bit: a few rows of zeros, packed by hand."""
    path = tmp_path / "a.tif"
    width, height = 4, 4
    codes = [256, *[0] * (2 * width * height), 257]  # clear, a code for each byte, end
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    plane = int(bits, 2).to_bytes(len(bits) // 8, "big")
    zeros = np.zeros((3, height, width), np.uint16)
    tifffile.imwrite(path, zeros, photometric="rgb", planarconfig="separate", rowsperstrip=height)
    with tifffile.TiffFile(path) as tiff:
        tags = {name: tiff.pages.first.tags[name] for name in (259, 273, 279)}
    data = bytearray(path.read_bytes())
    ends = len(data)
    struct.pack_into("<H", data, tags[259].valueoffset, 5)
    for tag, values in ((273, [ends + i * len(plane) for i in range(3)]), (279, [len(plane)] * 3)):
        size = tags[tag].valuebytecount // 3
        for i, value in enumerate(values):
            at = tags[tag].valueoffset + i * size
            data[at : at + size] = value.to_bytes(size, "little")
    path.write_bytes(bytes(data) + 3 * plane)
    assert not decode(path).array.any()


def chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def png_of(rows: bytes, size: tuple[int, int], color: int, interlaced: int) -> bytes:
    """A PNG of 8 bit whose chunks are correct, whatever its rows contain."""
    header = struct.pack(">IIBBBBB", *size, 8, color, 0, 0, interlaced)
    pixels, end = chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + end


@pytest.mark.parametrize("size", [(320, 240), (1, 1), (3, 5), (13, 2)])
@pytest.mark.parametrize("color", [0, 2, 6])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_png_with_too_few_rows_is_told_though_its_check_sums_are_right(
    tmp_path: Path, size: tuple[int, int], color: int, interlaced: int
) -> None:
    array = np.random.default_rng(1).integers(1, 255, (*size[::-1], 4), np.uint8)
    array = array[:, :, : {0: 1, 2: 3, 6: 4}[color]]
    passes = (
        ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        if interlaced
        else ((0, 0, 1, 1),)
    )  # fmt: skip
    rows = [
        b"\0" + row.tobytes()
        for top, left, down, across in passes
        for row in array[top::down, left::across]
        if row.size
    ]
    path = tmp_path / "a.png"
    path.write_bytes(png_of(b"".join(rows), size, color, interlaced))
    assert np.array_equal(decode(path).array, array[:, :, :3] if color else np.repeat(array, 3, 2))
    for some in (rows[:-1], rows[: len(rows) // 2], [*rows[:-1], rows[-1][:-1]]):
        path.write_bytes(png_of(b"".join(some), size, color, interlaced))
        with pytest.raises(DamagedPhoto, match=r"a\.png"):
            decode(path)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(40_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((15000, 15000), "says that it has more pixels"),
        ((60000, 60000), "says that it has more"),
        ((2**31 - 1, 1), "says that it has more"),
    ],
)
def test_a_small_file_that_claims_a_huge_photo_is_refused(
    tmp_path: Path, size: tuple[int, int], reason: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(*size))
    with pytest.raises(DamagedPhoto, match=reason):
        read_header(path)


def test_more_pixels_than_any_photo_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    Image.new("RGB", (16383, 1)).save(path, lossless=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[at : at + 4], "little") | 0x3FFF << 14
    data[at : at + 4] = bits.to_bytes(4, "little")
    path.write_bytes(bytes(data))
    assert MAX_PIXELS < 16383 * 16384
    with pytest.raises(DamagedPhoto, match="250 megapixels"):
        read_header(path)


def test_a_segment_without_room_for_its_own_length_is_refused(tmp_path: Path) -> None:
    path, data = tmp_path / "a.jpg", saved("jpeg")
    with path.open("wb") as file:
        file.write(data[:2] + b"\xff\xe1\0\1" + data[2:])
        file.truncate(1 << 33)  # reading to the end would take 8 GB
    with pytest.raises(DamagedPhoto):
        read_header(path)
