# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera RAW: developed in one way, with the right colours, and refused in words."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import DamagedPhoto
from sam2_splat_addon.core.settings import RawSource
from sam2_splat_addon.engine.images.colors import to_8_bit, view_transform
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.images.frame_source import FrameSource
from sam2_splat_addon.engine.images.metadata import of_raw
from sam2_splat_addon.engine.images.raw import look_at, read_header
from sam2_splat_addon.engine.refine.crops import CropReader

from .photo_kinds import BLACK, WHITE, Directory, Tags, dng, tiff

HEIGHT, WIDTH = 60, 80
EDGE = 4  # px at the border where demosaicing has few neighbours
AREA: Tags = {50829: (4, [4, 6, HEIGHT - 2, WIDTH - 4])}  # top, left, bottom, right
CROP: Tags = {50719: (5, [2, 1, 4, 1]), 50720: (5, [60, 1, 40, 1])}  # origin, size
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def scene(seed: int = 2, most: float = 0.9) -> np.ndarray:
    """Smooth colours, scene-linear, (HEIGHT, WIDTH, 3)."""
    small = np.random.default_rng(seed).uniform(0.05, most, (2, 2, 3)).astype(np.float32)
    return np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))


def write(folder: Path, data: bytes, name: str = "IMG_7.dng") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def inner(picture: np.ndarray) -> np.ndarray:
    return picture[EDGE:-EDGE, EDGE:-EDGE].astype(int)


@pytest.mark.parametrize("pattern", [(0, 1, 1, 2), (1, 0, 2, 1), (2, 1, 1, 0), (1, 2, 0, 1)])
@pytest.mark.parametrize("neutral", [(1.0, 1.0, 1.0), (0.5, 1.0, 0.7), (0.4, 0.8, 1.0)])
def test_the_colours_are_those_of_the_scene(
    tmp_path: Path, pattern: tuple[int, ...], neutral: tuple[float, ...]
) -> None:
    """White balance, matrix and curve by hand: the camera's primaries are those of sRGB."""
    linear = scene() * min(neutral)
    found = decode(write(tmp_path, dng(linear, neutral=neutral, pattern=pattern)))
    assert found.array.dtype == np.uint16
    assert found.icc is None
    right = view_transform(linear.astype(np.float32))
    off = np.abs(inner(found.array) - inner(right))
    assert np.median(off) < 6  # of 65535
    assert off.max() < 800  # where demosaicing meets dark corners


def test_another_reader_sees_the_same_colours(tmp_path: Path) -> None:
    linear = scene()
    data = dng(linear)
    found = decode(write(tmp_path, data))
    samples = np.frombuffer(data, np.uint16, HEIGHT * WIDTH, data.index(first_samples(linear)))
    mosaic = samples.reshape(HEIGHT, WIDTH).astype(int) - BLACK
    sixteen = np.rint(mosaic * (65535 / (WHITE - BLACK))).clip(0, 65535).astype(np.uint16)
    opencv = cv2.cvtColor(sixteen, cv2.COLOR_BayerRGGB2RGB).astype(np.float32) / 65535
    off = np.abs(inner(found.array) - inner(view_transform(opencv)))
    assert np.median(off) < 6
    assert off.max() < 800


def first_samples(linear: np.ndarray) -> bytes:
    row = np.where(np.arange(WIDTH) % 2, linear[0, :, 1], linear[0, :, 0])
    return np.rint(BLACK + row.astype(float) * (WHITE - BLACK)).astype(np.uint16).tobytes()


def test_equal_light_gives_equal_values_in_all_photos(tmp_path: Path) -> None:
    linear = scene(most=0.5)
    plain = decode(write(tmp_path, dng(linear))).array
    bright = linear.copy()
    bright[:10, :10] = 0.97
    other = decode(write(tmp_path, dng(bright))).array
    assert np.array_equal(plain[20:, 20:], other[20:, 20:])


def test_a_raw_that_is_no_mosaic(tmp_path: Path) -> None:
    linear = scene()
    found = decode(write(tmp_path, dng(linear, is_mosaic=False, black=0)))
    assert np.abs(found.array.astype(int) - view_transform(linear)).max() < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_keep_the_order_of_the_sensor(tmp_path: Path, orientation: int) -> None:
    upright = decode(write(tmp_path, dng(scene())))
    path = write(tmp_path, dng(scene(), more={274: (3, [orientation])}))
    header = read_header(path)
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    assert header.orientation == orientation
    found = decode(path)
    assert np.array_equal(found.array, upright.array)
    block = Image.Exif()
    block.load(found.exif or b"")
    assert block.get(274, 1) == orientation


def test_the_area_is_that_of_the_cameras_own_jpeg(tmp_path: Path) -> None:
    whole = decode(write(tmp_path, dng(scene(), more=AREA))).array
    assert whole.shape == (HEIGHT - 6, WIDTH - 10, 3)
    path = write(tmp_path, dng(scene(), more={**AREA, **CROP}))
    header = read_header(path)
    assert (header.width, header.height) == (60, 40)
    assert np.array_equal(decode(path).array, whole[4:44, 2:62])


@pytest.mark.parametrize("order", "<>")
def test_exif_and_xmp_are_kept(tmp_path: Path, order: str) -> None:
    notes: dict[int, Tags] = {34665: {36867: (2, b"2026:01:02 03:04:05\0"), 37386: (5, [50, 1])}}
    more: Tags = {274: (3, [8]), 700: (1, XMP)}
    found = decode(write(tmp_path, dng(scene(), more=more, notes=notes, order=order)))
    block = Image.Exif()
    block.load(found.exif or b"")
    assert (block[271], block[272], block[274]) == ("Maker", "Model", 8)
    assert block.get_ifd(34665)[37386] == 50.0
    assert found.xmp == XMP


def test_the_parts_of_exif_in_a_cr3_are_joined() -> None:
    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), kind) + body

    def part(tags: Tags) -> bytes:
        block = Image.Exif()
        for tag, (_, value) in tags.items():
            block[tag] = value
        return block.tobytes().removeprefix(b"Exif\0\0")

    main = part({271: (2, "Canon"), 272: (2, "Canon EOS R5"), 274: (3, 8)})
    exif = part({36867: (2, "2026:01:02 03:04:05"), 37386: (5, 50.0)})
    gps = part({1: (2, "N")})
    data = box(b"ftyp", b"crx \0\0\0\1crx isom") + box(
        b"moov", box(b"CMT1", main) + box(b"CMT2", exif) + box(b"CMT4", gps)
    )
    block = Image.Exif()
    block.load(of_raw(data, b"", 6).exif or b"")
    assert (block[271], block[274]) == ("Canon", 6)
    assert block.get_ifd(34665)[36867] == "2026:01:02 03:04:05"
    assert block.get_ifd(34853)[1] == "N"


def as_camera_writes(data: bytes) -> bytes:
    """Move the directory of a TIFF to its beginning, where cameras have it."""
    (begin,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, begin)
    size = 2 + 12 * count + 4
    directory = bytearray(data[begin : begin + size])
    lengths = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}
    for at in range(2, 2 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from("<HHII", directory, at)
        if lengths[kind] * number > 4:
            struct.pack_into("<I", directory, at + 8, value + size)
            if tag == 273:
                data = bytearray(data)  # type: ignore[assignment]
                places = struct.unpack_from(f"<{number}I", data, value)
                struct.pack_into(f"<{number}I", data, value, *(place + size for place in places))
    return data[:4] + struct.pack("<I", 8) + bytes(directory) + bytes(data[8:])


def test_one_that_ends_early_is_told_by_its_header(tmp_path: Path) -> None:
    data = as_camera_writes(dng(scene()))
    assert decode(write(tmp_path, data)).array.shape == (HEIGHT, WIDTH, 3)
    (begin,) = struct.unpack_from("<I", data, 4)
    for size in (*range(0, len(data) - 2600, 397), len(data) // 2):
        with pytest.raises(DamagedPhoto, match=r"IMG_7\.dng can't be (read|used)"):
            read_header(write(tmp_path, data[:size]))
    assert begin == 8


def test_random_damage_gives_a_picture_or_a_named_error(tmp_path: Path) -> None:
    data = as_camera_writes(dng(scene()))
    random = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(data)
        for place in random.integers(0, 500, 5):
            damaged[place] = random.integers(0, 256)
        path = write(tmp_path, bytes(damaged))
        with contextlib.suppress(DamagedPhoto):
            read_header(path)
            decode(path)


def test_unknown_kinds_are_refused_when_looked_at(tmp_path: Path) -> None:
    kinds: dict[str, Any] = {
        "a.dng": dng(scene(), more={259: (3, [52546])}),  # JPEG XL
        "b.nef": tiff(Directory(np.zeros((40, 60, 3), np.uint8))),
        "c.raf": b"FUJIFILMCCD-RAW " + bytes(400),
        "d.cr3": struct.pack(">I8s", 24, b"ftypcrx ") + bytes(12),
        "e.x3f": b"FOVb" + bytes(500),
    }
    for name, data in kinds.items():
        path = write(tmp_path, data, name)
        problem = look_at(path).problem
        assert problem, name
        with pytest.raises(DamagedPhoto, match=f"{name} can't be (used|read|decoded)"):
            decode(path)


def camera_jpeg(linear: np.ndarray) -> np.ndarray:
    """Brighter than the developed photo."""
    return to_8_bit(view_transform(np.minimum(linear * 1.4, 1.0).astype(np.float32)))


def test_the_cameras_own_jpeg_is_taken_if_it_is_wanted(tmp_path: Path) -> None:
    linear = scene()
    path = write(tmp_path, dng(linear, jpeg=camera_jpeg(linear), more={274: (3, [6])}))
    header = read_header(path)
    assert (header.width, header.height, header.orientation) == (WIDTH, HEIGHT, 6)
    developed, camera = decode(path), decode(path, raw="camera")
    assert (
        np.abs(developed.array.astype(int) - decode(write(tmp_path, dng(linear))).array).max() == 0
    )
    assert camera.array.dtype == np.uint8
    assert np.abs(camera.array.astype(int) - camera_jpeg(linear)).mean() < 2
    for found in (developed, camera):
        block = Image.Exif()
        block.load(found.exif or b"")
        assert (block[271], block[274]) == ("Maker", 6)


@pytest.mark.parametrize("jpeg", [None, (slice(None), slice(0, 60)), (slice(None, None, 2),) * 2])
def test_without_a_jpeg_of_its_size_a_photo_is_developed(tmp_path: Path, jpeg: Any) -> None:
    linear = scene()
    inside = None if jpeg is None else np.ascontiguousarray(camera_jpeg(linear)[jpeg])
    path = write(tmp_path, dng(linear, jpeg=inside))
    assert np.array_equal(decode(path, raw="camera").array, decode(path).array)


def test_sam_2_and_closer_looks_get_what_is_wanted(tmp_path: Path) -> None:
    linear = scene()
    path = write(tmp_path, dng(linear, jpeg=camera_jpeg(linear)))
    whole = (0.0, 0.0, 1.0, 1.0)
    means = {}
    for raw in get_args(RawSource):
        frame = FrameSource([path], 64, raw=raw)[0]
        crop = CropReader([path], 64, raw).at(0, whole)
        means[raw] = float(frame.mean()), float(crop.mean())
    assert means["camera"][0] > means["developed"][0] + 0.2
    assert means["camera"][1] > means["developed"][1] + 10
