# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers of real files, written by other libraries, are read correctly."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.headers import read_header

WIDTH, HEIGHT = 37, 53


def image(mode: str) -> Image.Image:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    return Image.fromarray(pixels if mode.endswith("A") else pixels[:, :, :3]).convert(mode)


def array(dtype: str, channels: int) -> np.ndarray:
    random = np.random.default_rng(2)
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return (random.random(shape) * 200).astype(dtype)


@pytest.mark.parametrize(
    ("mode", "channels", "color"), [("RGB", 3, "rgb"), ("L", 1, "grey"), ("CMYK", 4, "cmyk")]
)
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(tmp_path: Path, mode: str, channels: int, color: str, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    image(mode).save(path, progressive=progressive)
    header = read_header(path)
    assert (header.format, header.width, header.height) == ("jpeg", WIDTH, HEIGHT)
    assert (header.channels, header.color, header.bit_depth) == (channels, color, 8)
    assert (header.orientation, header.has_alpha, header.is_float) == (1, False, False)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif"])
def test_orientation_is_told_and_not_applied(
    tmp_path: Path, extension: str, orientation: int
) -> None:
    path = tmp_path / f"a.{extension}"
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Maker"
    image("RGB").save(path, exif=exif)
    header = read_header(path)
    assert header.orientation == orientation
    assert (header.width, header.height) == (WIDTH, HEIGHT)


def test_orientation_in_big_endian_exif(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 274, 3, 1, 8, 0, 0)
    image("RGB").save(path, exif=exif)
    assert read_header(path).orientation == 8


def test_damaged_exif_does_not_refuse_the_photo(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    image("RGB").save(path, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_header(path).orientation == 1


@pytest.mark.parametrize(
    ("mode", "channels", "color", "alpha"),
    [
        ("RGB", 3, "rgb", False),
        ("RGBA", 4, "rgb", True),
        ("L", 1, "grey", False),
        ("LA", 2, "grey", True),
        ("P", 1, "palette", False),
    ],
)
def test_png(tmp_path: Path, mode: str, channels: int, color: str, alpha: bool) -> None:
    path = tmp_path / "a.png"
    image(mode).save(path)
    header = read_header(path)
    assert (header.format, header.width, header.height) == ("png", WIDTH, HEIGHT)
    assert (header.channels, header.color, header.bit_depth) == (channels, color, 8)
    assert header.has_alpha is alpha


def test_png_of_16_bit_of_1_bit_and_palette_with_transparency(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), array("uint16", 3))
    assert (read_header(path).bit_depth, read_header(path).channels) == (16, 3)
    image("1").save(path)
    assert read_header(path).bit_depth == 1
    image("P").save(path, transparency=3)
    assert read_header(path).has_alpha


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "depth", "is_float"),
    [("uint8", 8, False), ("uint16", 16, False), ("float32", 32, True), ("float16", 16, True)],
)
def test_tiff(
    tmp_path: Path, dtype: str, depth: int, is_float: bool, order: Literal["<", ">"], big: bool
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array(dtype, 3), byteorder=order, bigtiff=big, photometric="rgb")
    header = read_header(path)
    assert (header.format, header.width, header.height) == ("tiff", WIDTH, HEIGHT)
    assert (header.channels, header.color) == (3, "rgb")
    assert (header.bit_depth, header.is_float) == (depth, is_float)


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 4}, {"planarconfig": 2}])
def test_tiff_layouts_and_alpha(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    pixels = array("uint8", 4)
    if "planarconfig" in layout:
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"], **layout)
    header = read_header(path)
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    assert (header.channels, header.has_alpha) == (4, True)


@pytest.mark.parametrize(
    ("mode", "options", "alpha"),
    [
        ("RGB", {"lossless": False}, False),
        ("RGB", {"lossless": True}, False),
        ("RGBA", {"lossless": True}, True),
        ("RGBA", {"lossless": False}, True),
        ("RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}, False),
    ],
)
def test_webp_lossy_lossless_and_extended(
    tmp_path: Path, mode: str, options: dict[str, Any], alpha: bool
) -> None:
    path = tmp_path / "a.webp"
    image(mode).save(path, **options)
    header = read_header(path)
    assert (header.format, header.width, header.height) == ("webp", WIDTH, HEIGHT)
    assert (header.channels, header.has_alpha) == (4 if alpha else 3, alpha)


@pytest.mark.parametrize(("dtype", "depth"), [("float16", 16), ("float32", 32)])
@pytest.mark.parametrize(
    ("names", "color", "alpha"),
    [
        ("RGB", "rgb", False),
        ("RGBA", "rgb", True),
        ("Y", "grey", False),
        (("view.R", "view.G", "view.B", "Z"), "layers", False),
    ],
)
def test_exr(tmp_path: Path, dtype: str, depth: int, names: str, color: str, alpha: bool) -> None:
    path = tmp_path / "a.exr"
    channels = {name: array(dtype, 1) for name in names}
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, channels).write(str(path))
    header = read_header(path)
    assert (header.format, header.width, header.height) == ("exr", WIDTH, HEIGHT)
    assert (header.bit_depth, header.is_float) == (depth, True)
    assert (header.channels, header.color, header.has_alpha) == (len(names), color, alpha)


def test_exr_size_is_that_of_the_display_window(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    window = (np.array([5, 7], "i4"), np.array([5 + WIDTH - 1, 7 + HEIGHT - 1], "i4"))
    fields = {
        "dataWindow": window,
        "displayWindow": (np.array([0, 0], "i4"), np.array([99, 89], "i4")),
    }
    OpenEXR.File(fields, {c: array("float16", 1) for c in "RGB"}).write(str(path))
    assert (read_header(path).width, read_header(path).height) == (100, 90)


def test_the_format_is_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    image("RGB").save(path, format="PNG")
    assert read_header(path).format == "png"


def written(folder: Path) -> list[Path]:
    paths = [folder / f"a.{extension}" for extension in ("jpg", "png", "tif", "webp")]
    for path in paths:
        image("RGB").save(path)
    exr = folder / "a.exr"
    OpenEXR.File({}, {c: array("float16", 1) for c in "RGB"}).write(str(exr))
    return [*paths, exr]


def test_files_cut_anywhere_in_their_header_are_refused_by_name(tmp_path: Path) -> None:
    for path in written(tmp_path):
        data = path.read_bytes()
        for size in (1, 4, 13, 24, 50):
            path.write_bytes(data[:size])
            with pytest.raises(FootageError, match=path.name):
                read_header(path)


def test_files_cut_in_their_image_data_are_refused(tmp_path: Path) -> None:
    for path in written(tmp_path)[1:4]:  # a JPEG may lack its end marker
        data = path.read_bytes()
        path.write_bytes(data[: len(data) - 300])
        with pytest.raises(FootageError, match="cut short"):
            read_header(path)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    # Phones append a short video to a JPEG: the end marker is then far from the end.
    for path in written(tmp_path):
        path.write_bytes(path.read_bytes() + bytes(200_000))
        assert read_header(path).width == WIDTH


def test_random_damage_gives_a_header_or_a_footage_error(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for path in written(tmp_path):
        data = bytearray(path.read_bytes())
        for _ in range(150):
            damaged = bytearray(data)
            for place in random.integers(0, min(len(data), 400), 6):
                damaged[place] = random.integers(0, 256)
            path.write_bytes(damaged)
            try:
                read_header(path)
            except FootageError as error:
                assert path.name in str(error)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"hello, world, hello, world", "not a JPEG"), (b"\xff\xd8", "not a JPEG")],
)
def test_foreign_and_empty_files_say_what_they_are(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "note.jpg"
    path.write_bytes(data)
    with pytest.raises(FootageError, match=rf"note\.jpg .*{reason}"):
        read_header(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match=r"gone\.jpg"):
        read_header(tmp_path / "gone.jpg")
