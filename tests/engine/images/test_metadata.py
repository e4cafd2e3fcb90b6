# SPDX-License-Identifier: GPL-3.0-or-later
"""EXIF, profile, XMP and colour chunks are kept from every kind. A broken tag costs only the tag."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pillow_heif
import pyjpegxl
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from sam2_splat_addon.engine.images.decode import ImagePixels, decode
from sam2_splat_addon.engine.images.metadata import with_orientation
from sam2_splat_addon.engine.images.png import write_rgba

from .photo_kinds import HEIGHT, WIDTH, Directory, Tags, chunk, colors, png, tiff

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\xc3\xa9</a></x:xmpmeta>'


def exif() -> Image.Exif:
    block = Image.Exif()
    block[271], block[272], block[274] = "Maker", "Model", 6
    block.get_ifd(34665)[37386] = 50.0
    block.get_ifd(34665)[36867] = "2026:01:02 03:04:05"
    block.get_ifd(34853)[1] = "N"
    block.get_ifd(34853)[2] = (47.0, 22.0, 11.5)
    return block


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(colors()).save(file, kind, exif=exif(), icc_profile=SRGB, **options)
    return file.getvalue()


def as_png() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    return saved("PNG", pnginfo=text)


def by_imagemagick() -> bytes:
    """EXIF, profile and XMP as texts in hexadecimal digits."""

    def text(name: bytes, data: bytes) -> bytes:
        digits = data.hex().encode()
        lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        body = b"\n%s\n%8d\n%s\n" % (name, len(data), lines)
        return chunk(b"zTXt", b"Raw profile type " + name + b"\0\0" + zlib.compress(body))

    block = exif().tobytes()
    parts = text(b"exif", block), text(b"icc", SRGB), text(b"xmp", XMP)
    return png(colors(), 8, 2, *parts)


def as_tiff(array: np.ndarray, *, has_broken_tags: bool = False, **options: Any) -> bytes:
    maker = (2, b"Maker\0")
    more: Tags = {
        271: maker,
        272: (2, b"Model\0"),
        274: (3, [6]),
        700: (1, XMP),
        34675: (7, SRGB),
    }
    notes: dict[int, Tags] = {
        34665: {36867: (2, b"2026:01:02 03:04:05\0"), 37386: (5, [50, 1])},
        34853: {1: (2, b"N\0"), 2: (5, [47, 1, 22, 1, 115, 10])},
    }
    if has_broken_tags:
        notes[34665][37500] = (4, range(90_000, 90_300))
    page = Directory(array, options.pop("photometric", 2), more=more, **options.pop("layout", {}))
    data = tiff(page, notes=notes, **options)
    if has_broken_tags:  # tags whose values lie outside the file, and one of an unknown type
        order = options.get("order", "<")
        for tag in (37500, 282):
            entry = struct.pack(order + "H", tag)
            data = data.replace(entry + struct.pack(order + "HI", 4, 300), entry + b"\xff" * 6)
    return data


def as_heic() -> bytes:
    """As of a phone: the file says how to turn the photo, and EXIF says it once more."""
    file = io.BytesIO()
    said: dict[str, Any] = {"exif": exif().tobytes(), "icc_profile": SRGB, "xmp": XMP}
    pillow_heif.from_pillow(Image.fromarray(colors())).save(file, **said)
    return file.getvalue()


def as_exr() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.exr"
        planes = {letter: colors(np.float32)[..., at].copy() for at, letter in enumerate("RGB")}
        with OpenEXR.File({"xmp": XMP.decode()}, planes) as file:
            file.write(str(path))
        return path.read_bytes()


def read(tmp_path: Path, data: bytes) -> ImagePixels:
    path = tmp_path / "a.photo"
    path.write_bytes(data)
    return decode(path)


def tags_of(block: bytes | None) -> dict[str, Any]:
    """Read an EXIF block with Pillow."""
    assert block is not None
    read = Image.Exif()
    read.load(b"Exif\0\0" + block)
    found: dict[Any, Any] = {
        **read,
        **read.get_ifd(34665),
        **{f"GPS {k}": v for k, v in read.get_ifd(34853).items()},
    }
    return {str(name): value for name, value in found.items()}


WHOLE = {
    "271": "Maker",
    "272": "Model",
    "274": 6,
    "37386": 50.0,
    "36867": "2026:01:02 03:04:05",
    "GPS 1": "N",
    "GPS 2": (47.0, 22.0, 11.5),
}

float_rgb, grey_alpha = colors(np.float32), colors(np.uint16, 2)
WITH_ALL: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved("JPEG", xmp=XMP),
    "PNG": as_png,
    "PNG of ImageMagick": by_imagemagick,
    "WebP": lambda: saved("WEBP", xmp=XMP),
    "AVIF": lambda: saved("AVIF", xmp=XMP),
    "HEIC": lambda: as_heic(),
    "TIFF": lambda: as_tiff(colors()),
    "TIFF, big-endian": lambda: as_tiff(colors(np.uint16), order=">"),
    "BigTIFF": lambda: as_tiff(colors(), big=True),
    "BigTIFF, big-endian": lambda: as_tiff(colors(), order=">", big=True),
    "TIFF, LZW": lambda: as_tiff(colors(), layout={"compression": 5, "predictor": 2}),
    "TIFF, JPEG 2000": lambda: as_tiff(colors(), layout={"compression": 34712, "rows": HEIGHT}),
    "TIFF, grey and alpha": lambda: as_tiff(grey_alpha, photometric=1, layout={"extra": (2,)}),
    "TIFF, broken tags": lambda: as_tiff(colors(), has_broken_tags=True),
    "TIFF, broken tags, big-endian": lambda: as_tiff(colors(), has_broken_tags=True, order=">"),
}


@pytest.mark.parametrize("kind", WITH_ALL)
def test_everything_is_kept_and_baked(tmp_path: Path, kind: str) -> None:
    pixels = read(tmp_path, WITH_ALL[kind]())
    assert WHOLE.items() <= tags_of(pixels.exif).items()
    assert pixels.icc == SRGB
    assert pixels.xmp == XMP
    alpha: Any = np.full_like(pixels.array[..., 0], 255)
    path = tmp_path / "b.png"
    write_rgba(path, pixels.array, alpha, icc=pixels.icc, exif=pixels.exif, xmp=pixels.xmp)
    with Image.open(path) as baked:
        baked.load()
        assert baked.info["icc_profile"] == SRGB
        assert baked.info["xmp"] == XMP
        assert WHOLE.items() <= tags_of(baked.getexif().tobytes().removeprefix(b"Exif\0\0")).items()


def test_floats_keep_exif_but_no_profile(tmp_path: Path) -> None:
    """The view transform has made them sRGB."""
    pixels = read(tmp_path, as_tiff(float_rgb))
    assert WHOLE.items() <= tags_of(pixels.exif).items()
    assert pixels.icc is None


@pytest.mark.parametrize("tile_size", [0, 64])
def test_a_heic_says_what_its_colours_mean(tmp_path: Path, tile_size: int) -> None:
    """Also if only its tiles do."""
    file = io.BytesIO()
    meaning: dict[str, Any] = {"color_primaries": 9, "transfer_characteristics": 16}
    heif = pillow_heif.from_pillow(Image.fromarray(colors()))
    heif.save(file, tile_size=tile_size, matrix_coefficients=9, full_range_flag=1, **meaning)
    pixels = read(tmp_path, file.getvalue())
    assert dict(pixels.chunks) == {b"cICP": bytes([9, 16, 0, 1])}


def test_a_jpeg_xl_keeps_all_but_the_orientation_of_exif(tmp_path: Path) -> None:
    """Its own orientation counts."""
    said: dict[str, Any] = {
        "exif": exif().tobytes().removeprefix(b"Exif\0\0"),
        "xmp": XMP,
        "icc": SRGB,
    }
    pixels = read(tmp_path, pyjpegxl.encode_from_numpy(colors(), lossless=True, **said))
    assert {**WHOLE, "274": 1}.items() <= tags_of(pixels.exif).items()
    assert (pixels.icc, pixels.xmp) == (SRGB, XMP)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif_is_replaced_and_nothing_else(order: str, orientation: int) -> None:
    for kept in (274, 305):  # with a tag to replace, and without one
        block = exif()
        block.endian = order
        del block[274]
        block[kept] = 3 if kept == 274 else "Program"
        written = block.tobytes().removeprefix(b"Exif\0\0")
        found = tags_of(with_orientation(written, orientation))
        assert found.pop("274", 1) == orientation
        before = tags_of(written)
        before.pop("274", None)
        assert {name: found[name] for name in before if name not in ("34665", "34853")} == {
            name: before[name] for name in before if name not in ("34665", "34853")
        }


def test_without_exif_there_is_some_only_for_a_turned_photo() -> None:
    assert with_orientation(b"", 1) is None
    assert tags_of(with_orientation(b"", 8)) == {"274": 8}
    assert tags_of(with_orientation(b"II*\0\xff\xff\xff\x7f", 8)) == {"274": 8}


def test_the_xmp_of_an_exr_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path, as_exr()).xmp == XMP


def test_a_picture_behind_a_preview_has_the_tags_of_both(tmp_path: Path) -> None:
    preview = Directory(
        colors()[::4, ::4], more={254: (4, [1]), 271: (2, b"Maker\0"), 274: (3, [6])}
    )
    page = Directory(colors(), more={272: (2, b"Model\0")})
    found = tags_of(read(tmp_path, tiff(preview, page)).exif)
    assert (found["271"], found["272"], found["274"]) == ("Maker", "Model", 6)


CHUNKS = {
    b"cICP": bytes([12, 16, 0, 1]),
    b"sRGB": b"\0",
    b"gAMA": struct.pack(">I", 100000),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_chunks_that_say_what_colours_mean_are_kept(tmp_path: Path, dtype: Any) -> None:
    samples = colors(dtype)
    given = [chunk(kind, body) for kind, body in CHUNKS.items()]
    pixels = read(tmp_path, png(samples, 8 * samples.dtype.itemsize, 2, *given))
    assert dict(pixels.chunks) == CHUNKS
    path = tmp_path / "b.png"
    write_rgba(path, pixels.array, pixels.array[..., 0].copy(), chunks=pixels.chunks)
    again = decode(path)
    assert dict(again.chunks) == CHUNKS
    assert np.array_equal(again.array, samples), "colours stay as stored"


BROKEN: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved("JPEG").replace(
        b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0MM\0*\xff\xff\xff\xff"
    ),
    "JPEG, half a profile": lambda: saved("JPEG").replace(SRGB[:200], bytes(200)),
    "PNG, profile": lambda: png(colors(), 8, 2, chunk(b"iCCP", b"x\0\0no zlib")),
    "PNG, EXIF": lambda: png(colors(), 8, 2, chunk(b"eXIf", b"nothing")),
    "PNG, text": lambda: png(colors(), 8, 2, chunk(b"zTXt", b"Raw profile type exif\0\0zz")),
    "PNG, gamma": lambda: png(colors(), 8, 2, chunk(b"gAMA", b"z")),
    "PNG, XMP": lambda: png(colors(), 8, 2, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0\xff\xfe")),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_tag_costs_the_tag_and_not_the_photo(tmp_path: Path, kind: str) -> None:
    pixels = read(tmp_path, BROKEN[kind]())
    assert pixels.array.shape == (HEIGHT, WIDTH, 3)
    if kind.startswith("PNG"):
        assert np.array_equal(pixels.array, colors())
        assert (pixels.icc, pixels.exif, pixels.xmp, pixels.chunks) == (None, None, None, ())


def test_tiff_tags_cut_anywhere_cost_no_photo(tmp_path: Path) -> None:
    """Every value of the tags that describe the photo, made impossible."""
    data = as_tiff(colors())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        places = [
            (page.tags[tag].offset, page.tags[tag].code)
            for tag in (271, 272, 700, 34665, 34853, 34675)
        ]
    for offset, code in places:
        damaged = bytearray(data)
        struct.pack_into("<II", damaged, offset + 4, 0x7FFFFFFF, 0xFFFFFFF0)
        pixels = read(tmp_path, bytes(damaged))
        assert np.array_equal(pixels.array, colors()), code
