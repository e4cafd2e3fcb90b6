# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of photo gives the right pixels, or is refused by its header already."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pillow_heif
import pyjpegxl
import pytest
import tifffile
from PIL import Image, ImageCms

from sam2_splat_addon.core.errors import DamagedPhoto
from sam2_splat_addon.core.footage.headers import ImageHeader, read_header
from sam2_splat_addon.engine.images.colors import view_transform
from sam2_splat_addon.engine.images.decode import decode

from .photo_kinds import HEIGHT, WIDTH, Directory, chunk, colors, png, tiff


@dataclass(frozen=True)
class Kind:
    """A photo and what it must give.

    Attributes
    ----------
    name
        Says what it is.
    data
        The file.
    color
        (H, W, 3) uint8 or uint16.
    alpha
        (H, W), same type, or None.
    off
        The most that a value may differ.
    """

    name: str
    data: bytes
    color: np.ndarray
    alpha: np.ndarray | None = None
    off: int = 0


def wide(grey: np.ndarray) -> np.ndarray:
    """Three equal channels of one."""
    return np.repeat(grey.reshape(HEIGHT, WIDTH, 1), 3, axis=2)


def with_clear_parts(array: np.ndarray) -> np.ndarray:
    """The same colours, with alpha 0 in some places and every value of alpha in others."""
    array = array.copy()
    array[10:20, 10:40, -1] = 0
    return array


def tiff_layouts() -> Iterator[Kind]:
    layouts = itertools.product(
        (np.uint8, np.uint16), (1, 5, 8, 32773, 34925, 50000), (1, 2), (1, 2), (None, (16, 32))
    )
    for number, (dtype, compression, predictor, planar, tile) in enumerate(layouts):
        order, big = "<>"[number // 2 % 2], number // 4 % 2 == 1
        samples = colors(dtype)
        data = tiff(
            Directory(samples, 2, 0, compression, predictor, planar, tile), order=order, big=big
        )
        name = f"{np.dtype(dtype).name}, {compression=}, {predictor=}, {planar=}, {tile=}"
        yield Kind(f"TIFF {name}, {order}, {big=}", data, samples)


def tiff_channels() -> Iterator[Kind]:
    for dtype, compression, planar in itertools.product(
        (np.uint8, np.uint16), (1, 5, 50000), (1, 2)
    ):
        name = f"TIFF {np.dtype(dtype).name}, {compression=}, {planar=}"
        layout: dict[str, Any] = {"compression": compression, "planar": planar, "predictor": 1}
        full = 255 if dtype is np.uint8 else 65535
        grey = colors(dtype, 1)
        yield Kind(f"{name}, grey", tiff(Directory(grey, 1, **layout)), wide(grey))
        yield Kind(
            f"{name}, grey, 0 is white", tiff(Directory(grey, 0, **layout)), wide(full - grey)
        )
        two = with_clear_parts(colors(dtype, 2))
        data = tiff(Directory(two, 1, extra=(2,), **layout))
        yield Kind(f"{name}, grey and alpha", data, wide(two[..., 0]), two[..., 1])
        data = tiff(Directory(two, 1, extra=(0,), **layout))
        yield Kind(f"{name}, grey and another sample", data, wide(two[..., 0]))
        four = with_clear_parts(colors(dtype, 4))
        data = tiff(Directory(four, 2, extra=(2,), **layout))
        yield Kind(f"{name}, straight alpha", data, four[..., :3], four[..., 3])
        data = tiff(Directory(four, 2, extra=(0,), **layout))
        yield Kind(f"{name}, a fourth sample", data, four[..., :3])
        data = tiff(Directory(four, 2, **layout))
        yield Kind(f"{name}, a fourth sample of unknown meaning", data, four[..., :3])
        five = with_clear_parts(colors(dtype, 5))
        data = tiff(Directory(five, 2, extra=(0, 2), **layout))
        yield Kind(f"{name}, depth, then alpha", data, five[..., :3], five[..., 4])
        data = tiff(Directory(five, 2, extra=(2, 0), **layout))
        yield Kind(f"{name}, alpha, then depth", data, five[..., :3], five[..., 3])
        # Colours multiplied by alpha: a colour times one half, rounded, must come back.
        half = np.full((HEIGHT, WIDTH, 1), full // 2 + 1, dtype)
        straight = (colors(dtype) // 2) * 2
        times = straight.astype(np.uint64) * half // full
        data = tiff(Directory(np.dstack([times.astype(dtype), half]), 2, extra=(1,), **layout))
        yield Kind(f"{name}, multiplied by alpha", data, straight, half[..., 0], 3)


def tiff_depths() -> Iterator[Kind]:
    for bits, compression in itertools.product((1, 2, 4, 6, 10, 12, 14), (1, 5)):
        full = (1 << bits) - 1
        for channels, photometric in ((1, 1), (1, 0), (3, 2)):
            samples = (colors(np.uint16, channels) >> (16 - bits)).astype(np.uint16)
            data = tiff(Directory(samples, photometric, bits, compression))
            shown = full - samples if photometric == 0 else samples
            top, dtype = (255, np.uint8) if bits <= 8 else (65535, np.uint16)
            right = np.rint(shown * (top / full)).astype(dtype)
            right = right if channels == 3 else wide(right)
            yield Kind(f"TIFF {bits=}, {compression=}, {photometric=}", data, right)
    for bits in (1, 2, 4, 8):
        places = (colors(np.uint16, 1) >> (16 - bits)).astype(np.uint8)
        table = np.random.default_rng(bits).integers(0, 256, (3, 1 << bits))
        for factor in (257, 256):
            tag = {320: (3, (table * factor).ravel().tolist())}
            data = tiff(Directory(places, 3, bits, more=tag))
            right = table.T[places[..., 0]].astype(np.uint8)
            yield Kind(f"TIFF palette {bits=}, {factor=}", data, right)
    bilevel = (colors(np.uint16, 1) >> 15).astype(np.uint8)
    data = tiff(Directory(bilevel, 1, 1, fill_order=2))
    yield Kind("TIFF bits in reverse", data, wide(bilevel * 255))
    for fax in ("group3", "group4", "tiff_ccitt"):
        file = io.BytesIO()
        image = Image.fromarray(bilevel[..., 0] * 255).convert("1")
        image.save(file, "TIFF", compression=fax)
        yield Kind(f"TIFF {fax}", file.getvalue(), wide(bilevel * 255))


def tiff_floats() -> Iterator[Kind]:
    for dtype, compression, predictor, planar, order in itertools.product(
        (np.float16, np.float32, np.float64), (1, 5, 8, 50000), (1, 2, 3), (1, 2), "<>"
    ):
        linear = colors(dtype)
        data = tiff(Directory(linear, 2, 0, compression, predictor, planar), order=order)
        name = f"TIFF {np.dtype(dtype).name}, {compression=}, {predictor=}, {planar=}, {order}"
        yield Kind(name, data, view_transform(linear.astype(np.float32)))
    linear = np.dstack([colors(np.float32), np.full((HEIGHT, WIDTH, 1), 0.5, np.float32)])
    right = view_transform(linear[..., :3].copy())
    alpha = np.full((HEIGHT, WIDTH), 32768, np.uint16)
    data = tiff(Directory(linear, 2, 0, 8, 3, extra=(2,)))
    yield Kind("TIFF float with straight alpha", data, right, alpha)
    times = linear.copy()
    times[..., :3] *= 0.5
    data = tiff(Directory(times, 2, 0, 8, 3, extra=(1,)))
    yield Kind("TIFF float multiplied by alpha", data, right, alpha, 1)


def tiff_pages() -> Iterator[Kind]:
    large, small = colors(), colors(seed=9)[::4, ::4]
    is_preview: Any = {254: (4, [1])}
    preview, page = Directory(small, more=is_preview), Directory(large)
    yield Kind("TIFF picture, then preview", tiff(page, preview), large)
    yield Kind("TIFF preview, then picture", tiff(preview, page), large)
    yield Kind("TIFF preview, picture inside", tiff(preview, inner=[page]), large)
    yield Kind("TIFF two pages", tiff(page, Directory(colors(seed=9))), large)
    mask = Directory(colors(np.uint8, 1), 1, more={254: (4, [4])})
    yield Kind("TIFF mask, then picture", tiff(mask, page), large)
    reduced = Directory(small, more={255: (3, [2])})
    yield Kind("TIFF preview of an older kind", tiff(reduced, page), large)
    lzw = Directory(large, compression=5, more={274: (3, [6])})
    yield Kind("TIFF preview, then LZW picture, BigTIFF", tiff(preview, lzw, big=True), large)
    file = io.BytesIO()
    smooth = Image.fromarray(cv2.GaussianBlur(large, (0, 0), 3))
    smooth.save(file, "TIFF", compression="jpeg", quality=95)
    yield Kind("TIFF of JPEG", file.getvalue(), np.asarray(Image.open(file).convert("RGB")), off=1)


def tiff_pictures_inside() -> Iterator[Kind]:
    for compression, dtype, channels in (
        (34712, np.uint8, 3),
        (34712, np.uint16, 3),
        (34712, np.uint8, 1),
        (34712, np.uint16, 1),
        (34933, np.uint8, 3),
        (34933, np.uint16, 3),
        (34933, np.uint16, 1),
        (34933, np.uint8, 4),
        (50001, np.uint8, 3),
        (50001, np.uint8, 4),
    ):
        samples = colors(dtype, channels)
        extra = (2,) if channels == 4 else ()
        photometric = 1 if channels == 1 else 2
        for tile in (None, (64, 80)):
            page = Directory(
                samples, photometric, compression=compression, tile=tile, rows=HEIGHT, extra=extra
            )
            name = f"TIFF {compression=}, {np.dtype(dtype).name}, {channels=}, {tile=}"
            right = wide(samples) if channels == 1 else samples[..., :3]
            alpha = samples[..., 3] if channels == 4 else None
            yield Kind(name, tiff(page), right, alpha)


def naive_cmyk(samples: np.ndarray) -> np.ndarray:
    full = float(np.iinfo(samples.dtype).max)
    ink = samples / full
    rgb = (1 - ink[..., :3]) * (1 - ink[..., 3:4])
    return np.rint(rgb * full).astype(samples.dtype)


LAB = ImageCms.createProfile("LAB")
SRGB = ImageCms.createProfile("sRGB")


def tiff_color_models() -> Iterator[Kind]:
    for dtype, compression, planar in itertools.product((np.uint8, np.uint16), (1, 5, 8), (1, 2)):
        name = f"TIFF {np.dtype(dtype).name}, {compression=}, {planar=}"
        layout: dict[str, Any] = {"compression": compression, "planar": planar}
        ink = colors(dtype, 4)
        yield Kind(f"{name}, CMYK", tiff(Directory(ink, 5, **layout)), naive_cmyk(ink), None, 2)
        inked = with_clear_parts(colors(dtype, 5))
        data = tiff(Directory(inked, 5, extra=(2,), **layout))
        yield Kind(f"{name}, CMYK and alpha", data, naive_cmyk(inked[..., :4]), inked[..., 4], 2)
    # LittleCMS gives the right values: 8 bit, so 16 bit may differ by one such step.
    exactly: Any = {"flags": ImageCms.Flags.NOOPTIMIZE}  # else its table is up to 17 levels off
    photo = Image.fromarray(colors())
    image = ImageCms.profileToProfile(photo, SRGB, LAB, outputMode="LAB", **exactly)
    assert image is not None
    lab = np.asarray(image)
    right = np.asarray(ImageCms.profileToProfile(image, LAB, SRGB, outputMode="RGB", **exactly))
    signed = np.dstack([lab[..., :1], lab[..., 1:].view(np.int8)]).astype(int)
    signed_16 = ((signed * (257, 256, 256)) & 65535).astype(np.uint16)
    offset_8 = lab ^ np.array([0, 128, 128], np.uint8)
    offset_16 = offset_8.astype(np.uint16) * 256
    for compression in (1, 5, 8):
        for label, samples, photometric in (
            ("CIELab 8", lab, 8),
            ("CIELab 16", signed_16, 8),
            ("ICCLab 8", offset_8, 9),
            ("ICCLab 16", offset_16, 9),
        ):
            data = tiff(Directory(samples, photometric, compression=compression))
            if samples.dtype == np.uint8:
                yield Kind(f"TIFF {label}, {compression=}", data, right, None, 2)
            else:
                yield Kind(
                    f"TIFF {label}, {compression=}", data, right.astype(np.uint16) * 257, None, 514
                )


def png_kinds() -> Iterator[Kind]:
    for depth in (1, 2, 4, 8, 16):
        dtype = np.uint16 if depth == 16 else np.uint8
        top = np.iinfo(dtype).max
        grey = (colors(np.uint16, 1) >> (16 - depth)).astype(dtype)
        grey[3:9, 5:30] = key = 1
        right = np.rint(grey.astype(float) * (top / ((1 << depth) - 1))).astype(dtype)
        yield Kind(f"PNG grey {depth}", png(grey, depth, 0), wide(right))
        alpha = np.where(grey[..., 0] == key, 0, top).astype(dtype)
        data = png(grey, depth, 0, chunk(b"tRNS", struct.pack(">H", key)))
        yield Kind(f"PNG grey {depth}, one is transparent", data, wide(right), alpha)
        if depth <= 8:
            table = np.random.default_rng(1).integers(0, 256, (1 << depth, 3)).astype(np.uint8)
            clear = np.arange(1 << depth).astype(np.uint8)[: 1 << max(depth - 1, 0)]
            places = grey[..., 0]
            plain = png(grey, depth, 3, chunk(b"PLTE", table.tobytes()))
            yield Kind(f"PNG palette {depth}", plain, table[places])
            chunks = (chunk(b"PLTE", table.tobytes()), chunk(b"tRNS", clear.tobytes()))
            whole = np.full(1 << depth, 255, np.uint8)
            whole[: len(clear)] = clear
            data = png(grey, depth, 3, *chunks)
            yield Kind(f"PNG palette {depth} with alpha", data, table[places], whole[places])
    for depth, dtype in ((8, np.uint8), (16, np.uint16)):
        top = np.iinfo(dtype).max
        three = colors(dtype)
        three[3:9, 5:30] = (1, 2, 3)
        alpha = np.where((three == (1, 2, 3)).all(axis=2), 0, top).astype(dtype)
        yield Kind(f"PNG RGB {depth}", png(three, depth, 2), three)
        data = png(three, depth, 2, chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
        yield Kind(f"PNG RGB {depth}, one is transparent", data, three, alpha)
        two, four = with_clear_parts(colors(dtype, 2)), with_clear_parts(colors(dtype, 4))
        yield Kind(
            f"PNG grey and alpha {depth}", png(two, depth, 4), wide(two[..., 0]), two[..., 1]
        )
        yield Kind(f"PNG RGBA {depth}", png(four, depth, 6), four[..., :3], four[..., 3])
        gamma = chunk(b"gAMA", struct.pack(">I", 100000))
        yield Kind(f"PNG of another gamma {depth}", png(three, depth, 2, gamma), three)
        # The picture is not part of the animation that follows it.
        other = zlib.compress(
            b"".join(b"\0" + bytes(WIDTH * 3 * depth // 8) for _ in range(HEIGHT))
        )
        control = chunk(b"acTL", struct.pack(">II", 1, 0))
        frame = struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
        behind = chunk(b"fcTL", frame) + chunk(b"fdAT", struct.pack(">I", 1) + other)
        yield Kind(f"APNG {depth}", png(three, depth, 2, control, behind=behind), three)
        first = chunk(b"fcTL", frame)
        yield Kind(f"APNG {depth}, its first frame", png(three, depth, 2, control, first), three)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pillows(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_kinds() -> Iterator[Kind]:
    photo = Image.fromarray(colors())
    data = encoded(photo, "JPEG", quality=95)
    right = pillows(data)
    yield Kind("JPEG", data, right)
    yield Kind("JPEG without end marker", data[:-2], right)
    yield Kind("JPEG with zeros between segments", data[:20] + bytes(4) + data[20:], right)
    other = encoded(Image.fromarray(colors(seed=8)), "JPEG")
    yield Kind("JPEG and a gain map behind it", data + other, right)
    several = encoded(photo, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    yield Kind("MPO", several, pillows(several))
    for mode in ("L", "CMYK"):
        data = encoded(photo.convert(mode), "JPEG", quality=95)
        yield Kind(f"JPEG {mode}", data, pillows(data))
    data = encoded(photo, "JPEG", keep_rgb=True)
    yield Kind("JPEG of RGB", data, pillows(data))


def webp_kinds() -> Iterator[Kind]:
    four = with_clear_parts(colors(channels=4))
    data = encoded(Image.fromarray(four), "WEBP", lossless=True, exact=True)
    yield Kind("WebP lossless with alpha", data, four[..., :3], four[..., 3])
    data = encoded(Image.fromarray(colors()), "WEBP", quality=90)
    yield Kind("WebP lossy", data, pillows(data))
    film = [Image.fromarray(colors(seed=8)), Image.fromarray(colors(seed=9))]
    photo = Image.fromarray(colors())
    data = encoded(photo, "WEBP", lossless=True, save_all=True, append_images=film)
    yield Kind("WebP of several pictures", data, colors())


def avif_kinds() -> Iterator[Kind]:
    def made(array: np.ndarray, **options: Any) -> bytes:
        return encoded(Image.fromarray(array), "AVIF", **options)

    for quality, subsampling in ((100, "4:4:4"), (60, "4:2:0")):
        data = made(colors(), quality=quality, subsampling=subsampling)
        yield Kind(f"AVIF {quality} {subsampling}", data, pillows(data))
    four = with_clear_parts(colors(channels=4))
    data = made(four, quality=100)
    seen = np.asarray(Image.open(io.BytesIO(data)))
    yield Kind("AVIF with alpha", data, seen[..., :3], seen[..., 3])
    turned = Image.Exif()
    turned[274] = 6
    data = made(colors(), exif=turned)
    yield Kind("AVIF on its side", data, pillows(data))
    film = [Image.fromarray(colors(seed=8)), Image.fromarray(colors(seed=9))]
    data = made(colors(), quality=100, save_all=True, append_images=film)
    yield Kind("AVIF of several pictures", data, pillows(data))
    data = made(colors()) + b"\0\0\0\x10free and more"
    yield Kind("AVIF with more behind it", data, pillows(data))


def heic(
    array: np.ndarray, *, mode: str = "", further: Any = (), orientation: int = 1, **options: Any
) -> bytes:
    """Write a HEIC. Without other options its colours are kept as they are."""
    exact = {"quality": -1, "chroma": "444", "matrix_coefficients": 0}
    channels = {1: "L", 3: "RGB", 4: "RGBA"}[array.shape[2]]
    mode = mode or channels + ("" if array.dtype == np.uint8 else ";16")
    file = pillow_heif.from_bytes(mode, (array.shape[1], array.shape[0]), array.tobytes())
    for other in further:
        file.add_frombytes(mode, (other.shape[1], other.shape[0]), other.tobytes())
    if orientation != 1:
        block = Image.Exif()
        block[274] = orientation
        file[0].info["exif"] = block.tobytes()
    written = io.BytesIO()
    file.save(written, **{**exact, **options})
    return written.getvalue()


def heic_kinds() -> Iterator[Kind]:
    yield Kind("HEIC", heic(colors()), colors())
    yield Kind("HEIC grey", heic(colors(channels=1)), wide(colors(channels=1)))
    four = with_clear_parts(colors(channels=4))
    yield Kind("HEIC with alpha", heic(four), four[..., :3], four[..., 3])
    half = np.dstack([colors() // 2, np.full((HEIGHT, WIDTH), 128, np.uint8)])
    data = heic(half, mode="RGBa")
    straight = np.rint(half[..., :3] / (128 / 255)).astype(np.uint8)
    yield Kind("HEIC multiplied by alpha", data, straight, half[..., 3], 1)
    for bits in (10, 12):
        samples = colors(np.uint16) >> (16 - bits)
        right = np.rint(samples * (65535 / ((1 << bits) - 1))).astype(np.uint16)
        data = heic((samples << (16 - bits)).astype(np.uint16), bit_depth=bits)
        if read_header_of(data).bit_depth == bits:
            yield Kind(f"HEIC {bits} bit", data, right)
    for matrix, whole in ((1, 1), (6, 1), (6, 0), (9, 1)):
        options: Any = {"matrix_coefficients": matrix, "full_range_flag": whole}
        data = heic(colors(), chroma="444", **options)
        yield Kind(f"HEIC of luminance and chroma, {matrix=}, {whole=}", data, colors(), off=3)
    smooth = np.asarray(cv2.GaussianBlur(colors(), (0, 0), 4))
    data = heic(smooth, quality=95, chroma="420", matrix_coefficients=6)
    yield Kind("HEIC lossy", data, smooth, off=12)
    others = colors(seed=8), colors(seed=9)
    data = heic(colors(seed=8), further=(colors(), colors(seed=9)), primary_index=1)
    yield Kind("HEIC of several pictures", data, colors())
    yield Kind("HEIC of several pictures, first", heic(colors(), further=others), colors())
    yield Kind("HEIC of tiles", heic(colors(), tile_size=64), colors())
    yield Kind("HEIC with a preview", heic(colors(), thumbnails=[32]), colors())
    yield Kind("HEIC with more behind it", heic(colors()) + b"\0\0\0\x10free and more", colors())
    for orientation in range(1, 9):
        for options in ({}, {"tile_size": 64}):
            # The library stores the pixels as given, and says how to turn them.
            data = heic(colors(), orientation=orientation, **options)
            yield Kind(f"HEIC turned, {orientation=}, {options}", data, colors())


def read_header_of(data: bytes) -> ImageHeader:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.photo"
        path.write_bytes(data)
        return read_header(path)


def jxl_kinds() -> Iterator[Kind]:
    for dtype, channels in itertools.product((np.uint8, np.uint16), (1, 2, 3, 4)):
        plain: Any = colors(dtype, channels)
        samples: Any = with_clear_parts(plain) if channels in (2, 4) else plain
        data = pyjpegxl.encode_from_numpy(samples, lossless=True)
        color = samples[..., :3] if channels > 2 else wide(samples[..., 0])
        alpha = samples[..., -1] if channels in (2, 4) else None
        yield Kind(f"JXL {np.dtype(dtype).name}, {channels=}", data, color, alpha)
    fractions: Any = colors(np.float32)
    right = np.rint(fractions * 65535).astype(np.uint16)
    data = pyjpegxl.encode_from_numpy(fractions, lossless=True)
    yield Kind("JXL of fractions", data, right, off=1)
    smooth: Any = cv2.GaussianBlur(colors(), (0, 0), 4)
    data = pyjpegxl.encode_from_numpy(smooth, quality=0.3)
    yield Kind("JXL lossy", data, smooth, off=8)
    photo = encoded(Image.fromarray(smooth), "JPEG", quality=95, subsampling=0)
    data = pyjpegxl.jpeg_to_jxl(photo)
    yield Kind("JXL of a JPEG", data, pillows(photo), off=5)
    data = pyjpegxl.encode_from_numpy(colors(), lossless=True, exif=b"II*\0\x08\0\0\0\0\0")
    yield Kind("JXL with more behind it", data + b"\0\0\0\x10free and more", colors())


# Made with cjxl of libjxl 0.7. Each has 3x2 px, and the second says one half for alpha.
JXL_TURNED = bytearray(base64.b64decode("/woIQAMEFJcECAIBAEwASxiLFcJBwxk+gCMq6tioNGAYAA=="))
JXL_MULTIPLIED = "/woIQDAAguJCCAgQAGAASxiLFcIJ4m3lLgcgrqo6c71wdxQBPAAA"
JXL_ANIMATION = "/woIQMEAAopLAggCkgkAADAASxiLFUKp0AOQAAAACAKSBQAwAEsYixXCQQEegDQAAA=="


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_xl_has_its_stored_order(tmp_path: Path, orientation: int) -> None:
    JXL_TURNED[4] = 1 + 2 * (orientation - 1)
    path = tmp_path / "a.photo"
    path.write_bytes(JXL_TURNED)
    header = read_header(path)
    assert (header.width, header.height, header.orientation) == (3, 2, orientation)
    found = decode(path)
    assert np.array_equal(found.array.ravel(), np.arange(18) * 14)
    block = Image.Exif()
    block.load(found.exif or b"")
    assert block[274] == orientation


def test_a_jpeg_xl_multiplied_by_alpha_gets_its_colours_back(tmp_path: Path) -> None:
    path = tmp_path / "a.photo"
    path.write_bytes(base64.b64decode(JXL_MULTIPLIED))
    found = decode(path)
    right = np.minimum(np.arange(18) * 7 / (128 / 255), 255)
    assert np.abs(found.array.ravel() - right).max() <= 0.5
    assert found.alpha is not None
    assert (found.alpha == 128).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_turns_of_a_heic_are_told_once(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.photo"
    path.write_bytes(heic(colors(), orientation=orientation))
    assert read_header(path).orientation == orientation
    block = Image.Exif()
    block.load(decode(path).exif or b"")
    assert block.get(274, 1) == orientation


def exr(*parts: tuple[dict[str, Any], dict[str, np.ndarray]]) -> bytes:
    """Write an EXR of parts, each with its attributes and its channels by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.exr"
        made = [
            OpenEXR.Part({"compression": OpenEXR.ZIP_COMPRESSION, **fields}, channels, name)
            for number, (fields, channels) in enumerate(parts)
            for name in [fields.pop("part", f"part {number}" if len(parts) > 1 else "")]
        ]
        with OpenEXR.File(made) as file:
            file.write(str(path))
        return path.read_bytes()


def named(linear: np.ndarray, layer: str = "", letters: str = "RGBA") -> dict[str, np.ndarray]:
    planes = np.moveaxis(linear, 2, 0)
    prefix = f"{layer}." if layer else ""
    return {
        f"{prefix}{letter}": np.ascontiguousarray(plane)
        for letter, plane in zip(letters, planes, strict=False)
    }


def box(left: int, top: int, right: int, bottom: int) -> Any:
    return np.array([left, top], "i4"), np.array([right, bottom], "i4")


ACES_AP0 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
# From ACES 2065-1 to linear sRGB, as in the OpenColorIO configuration of ACES (Bradford).
SRGB_OF_AP0 = np.array(
    [
        [2.52168618, -1.13413098, -0.38755519],
        [-0.27647992, 1.37271908, -0.09623917],
        [-0.01537805, -0.15297534, 1.16835339],
    ]
)


def exr_kinds() -> Iterator[Kind]:
    linear = colors(np.float32)
    right = view_transform(linear)
    wrong = colors(np.float32, seed=8)
    depth = {"Z": np.ascontiguousarray(wrong[..., 0])}
    yield Kind("EXR", exr(({}, named(linear))), right)
    half = linear.astype(np.float16)
    yield Kind("EXR half", exr(({}, named(half))), view_transform(half.astype(np.float32)))
    for layer in ("AO", "Ambient Occlusion", "Diffuse", "Albedo", "Normal", "View Layer.AO"):
        for beauty in (
            "",
            "Combined",
            "View Layer.Combined",
            "rgba",
            "beauty",
            "Composite.Combined",
        ):
            channels = {**named(wrong, layer), **named(linear, beauty), **depth}
            yield Kind(f"EXR {beauty!r} beside {layer}", exr(({}, channels)), right)
        channels = {**named(wrong, layer), **named(linear, "my layer")}
        yield Kind(f"EXR a layer of any name beside {layer}", exr(({}, channels)), right)
    vector = {f"Normal.{letter}": wrong[..., 0].copy() for letter in "XYZ"}
    yield Kind("EXR a vector has no luminance", exr(({}, {**vector, **named(linear, "x")})), right)
    colors_by_name = {
        f"x.{name}": np.ascontiguousarray(linear[..., place])
        for place, name in enumerate(("red", "green", "blue"))
    }
    yield Kind("EXR red, green, blue", exr(({}, colors_by_name)), right)
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    yield Kind("EXR of tiles", exr((tiles, named(linear))), right)
    grey = np.ascontiguousarray(linear[..., 0])
    yield Kind("EXR luminance", exr(({}, {"Y": grey})), wide(view_transform(grey)))
    yield Kind(
        "EXR part 2", exr(({"part": "depth"}, depth), ({"part": "rgba"}, named(linear))), right
    )
    parts = (({"part": "AO"}, named(wrong)), ({"part": "Combined"}, named(linear)))
    yield Kind("EXR parts named as passes", exr(*parts), right)
    parts = (({"part": "diffuse"}, named(wrong, "diffuse")), ({"part": "rgba"}, named(linear)))
    yield Kind("EXR parts with layers", exr(*parts), right)
    # Windows
    window = {
        "dataWindow": box(10, 5, 10 + 29, 5 + 19),
        "displayWindow": box(0, 0, WIDTH - 1, HEIGHT - 1),
    }
    small = linear[:20, :30].copy()
    framed = np.zeros_like(right)
    framed[5:25, 10:40] = view_transform(small)
    yield Kind("EXR smaller than its window", exr((dict(window), named(small))), framed)
    opaque = np.dstack([small, np.ones((20, 30, 1), np.float32)])
    alpha = np.zeros((HEIGHT, WIDTH), np.uint16)
    alpha[5:25, 10:40] = 65535
    yield Kind("EXR smaller, with alpha", exr((dict(window), named(opaque))), framed, alpha)
    large = colors(np.float32, seed=6)
    large = np.pad(linear, ((3, 2), (4, 5), (0, 0)), "edge")
    window = {
        "dataWindow": box(96, -3, 96 + WIDTH + 8, HEIGHT + 1),
        "displayWindow": box(100, 0, 100 + WIDTH - 1, HEIGHT - 1),
    }
    yield Kind("EXR larger than its window", exr((window, named(large))), right)
    # Primaries
    matrix = np.linalg.inv(SRGB_OF_AP0)
    aces = (linear.astype(np.float64) @ matrix.T).astype(np.float32)
    fields = {"chromaticities": ACES_AP0}
    yield Kind("EXR of ACES", exr((fields, named(aces))), right, None, 140)
    rec_709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
    yield Kind("EXR that says it is sRGB", exr(({"chromaticities": rec_709}, named(linear))), right)
    # Multiplied by alpha
    half_clear = np.dstack([linear * 0.5, np.full((HEIGHT, WIDTH, 1), 0.5, np.float32)])
    alpha = np.full((HEIGHT, WIDTH), 32768, np.uint16)
    yield Kind("EXR with alpha", exr(({}, named(half_clear))), right, alpha)
    # Luminance and chroma, by hand: the library would not write them.
    smooth = cv2.GaussianBlur(linear, (0, 0), 5)
    even = np.pad(smooth, ((0, HEIGHT % 2), (0, WIDTH % 2), (0, 0)), "edge")
    luma = even @ np.array([0.2126390, 0.7151687, 0.0721923], np.float32)
    chroma = [((even[..., at] - luma) / luma)[::2, ::2] for at in (2, 0)]
    data = luma_chroma(luma, *chroma)
    yield Kind(
        "EXR of luminance and chroma",
        data,
        view_transform(np.asarray(smooth, np.float32)),
        None,
        900,
    )


def luma_chroma(luma: np.ndarray, blue: np.ndarray, red: np.ndarray) -> bytes:
    """An uncompressed EXR of Y, and of BY and RY at half the size."""
    height, width = luma.shape

    def attribute(name: str, kind: str, data: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(data)) + data

    planes = (("BY", blue, 2), ("RY", red, 2), ("Y", luma, 1))
    channels = b"".join(
        name.encode() + b"\0" + struct.pack("<iB3xii", 2, 0, step, step) for name, _, step in planes
    )
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    shown = struct.pack("<4i", 0, 0, WIDTH - 1, HEIGHT - 1)
    header = struct.pack("<II", 20000630, 2) + b"".join(
        (
            attribute("channels", "chlist", channels + b"\0"),
            attribute("compression", "compression", b"\0"),
            attribute("dataWindow", "box2i", window),
            attribute("displayWindow", "box2i", shown),
            attribute("lineOrder", "lineOrder", b"\0"),
            attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
            attribute("screenWindowCenter", "v2f", bytes(8)),
            attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
            b"\0",
        )
    )
    lines = []
    for row in range(height):
        data = b"".join(
            plane[row // step].astype("<f4").tobytes()
            for _, plane, step in planes
            if not row % step
        )
        lines.append(struct.pack("<ii", row, len(data)) + data)
    offsets = np.cumsum([len(header) + 8 * height, *map(len, lines)])[:-1]
    return header + offsets.astype("<u8").tobytes() + b"".join(lines)


KINDS = [
    *tiff_layouts(),
    *tiff_channels(),
    *tiff_depths(),
    *tiff_floats(),
    *tiff_pages(),
    *tiff_pictures_inside(),
    *tiff_color_models(),
    *png_kinds(),
    *jpeg_kinds(),
    *webp_kinds(),
    *avif_kinds(),
    *heic_kinds(),
    *jxl_kinds(),
    *exr_kinds(),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_pixels_are_right(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "a.photo"
    path.write_bytes(kind.data)
    header = read_header(path)
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    found = decode(path)
    assert found.array.dtype == kind.color.dtype
    assert header.has_alpha == (kind.alpha is not None)
    assert np.abs(found.array.astype(int) - kind.color).max() <= kind.off
    if kind.alpha is None:
        assert found.alpha is None
    else:
        assert found.alpha is not None
        assert np.array_equal(found.alpha, kind.alpha)


def read_by_opencv(kind: Kind) -> bool:
    """Whether OpenCV's libtiff and libpng know this kind, and give it as it is stored."""
    if kind.name.startswith(("TIFF uint", "TIFF float32")) and kind.alpha is None:
        has_known_samples = "sample" not in kind.name and "depth" not in kind.name
        is_packed = any(f"compression={code}," in kind.name for code in (1, 5, 8, 32773))
        is_rgb = "grey" not in kind.name and "CMYK" not in kind.name
        is_known = "uint8" not in kind.name or "tile=(" not in kind.name
        return is_packed and is_known and "planar=1" in kind.name and has_known_samples and is_rgb
    is_unusual = kind.name == "JPEG without end marker"
    return kind.name.startswith(("PNG RGB", "JPEG")) and kind.alpha is None and not is_unusual


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if read_by_opencv(kind)], ids=lambda kind: kind.name
)
def test_another_reader_sees_the_same_pixels(kind: Kind) -> None:
    how = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    if kind.name.startswith("JPEG"):
        how = cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION
    found = cv2.imdecode(np.frombuffer(kind.data, np.uint8), how)[:, :, 2::-1]
    if found.dtype == np.float32:
        found = view_transform(np.asarray(found, np.float32))
    most = 3 if kind.name == "JPEG CMYK" else 0  # two ways to turn ink into light
    assert np.abs(found.astype(int) - kind.color).max() <= most


def refused() -> Iterator[tuple[str, bytes, str]]:
    """Kinds that can't be decoded: name, file, and a word of the reason."""
    three = colors(np.uint16)
    signed = Directory(three.view(np.int16))
    yield "TIFF signed", tiff(signed), "sign"
    yield "TIFF 32 bit", tiff(Directory(three.astype(np.uint32))), "32 bits"
    yield "TIFF float24", tiff(Directory(three, more={339: (3, [3] * 3), 258: (3, [24] * 3)})), "24"
    for code, word in ((34887, "LERC"), (52546, "JPEG XL"), (34661, "34661"), (0, "number 0")):
        yield f"TIFF {word}", tiff(Directory(three, more={259: (3, [code])})), word
    yield "TIFF raw sensor", tiff(Directory(three, 32803)), "colour model"
    yield (
        "TIFF separated inks",
        tiff(Directory(colors(channels=4), 5, more={332: (3, [2])})),
        "inks",
    )
    yield "TIFF mixed depths", tiff(Directory(three, more={258: (3, [16, 16, 8])})), "one type"
    yield (
        "TIFF JPEG 12 bit",
        tiff(Directory(three, more={259: (3, [7]), 258: (3, [12] * 3)})),
        "compression",
    )
    avif = encoded(Image.fromarray(colors()), "AVIF")
    yield "AVIF as HEIC", avif.replace(b"avif", b"heic").replace(b"MA1A", b"heix"), "AV1"
    photo = heic(colors())
    item = photo.index(b"infe") + 8  # its number, its protection, its coding
    for codec, word in (
        (b"avc1", "with H.264"),
        (b"unci", "another way"),
        (b"zzz\n", "another way"),
    ):
        yield f"HEIC of {codec!r}", photo[: item + 4] + codec + photo[item + 8 :], word
    yield "HEIC encrypted", photo[: item + 2] + b"\0\1" + photo[item + 4 :], "encrypted"
    yield "HEIC film", photo[:8] + b"hevc" + b"\0\0\0\0" + b"hevc" * 3, "film"
    yield "JXL animation", base64.b64decode(JXL_ANIMATION), "animation"
    jpeg = encoded(Image.fromarray(colors()), "JPEG")
    at = jpeg.index(b"\xff\xc0")
    yield "JPEG 12 bit", jpeg[: at + 4] + b"\x0c" + jpeg[at + 5 :], "12 bits"
    yield "JPEG lossless", jpeg[: at + 1] + b"\xc3" + jpeg[at + 2 :], "lossless"
    plain = exr(({}, named(colors(np.float32))))
    yield "EXR deep", plain[:5] + bytes([plain[5] | 8]) + plain[6:], "deep"
    depth = {"Z": np.ascontiguousarray(colors(np.float32)[..., 0])}
    yield "EXR without colours", exr(({}, depth)), "no colour"
    numbers = {"R": three[..., 0].astype(np.uint32), "G": three[..., 1].astype(np.uint32)}
    numbers["B"] = numbers["R"]
    yield "EXR of whole numbers", exr(({}, numbers)), "no colour"
    windows = {
        "dataWindow": box(0, 0, WIDTH - 1, HEIGHT - 1),
        "displayWindow": box(200, 0, 300, 99),
    }
    yield "EXR outside", exr((windows, named(colors(np.float32)))), "display window"


@pytest.mark.parametrize(("name", "data", "word"), list(refused()), ids=lambda part: str(part)[:30])
def test_what_can_not_be_decoded_is_refused_by_its_header(
    tmp_path: Path, name: str, data: bytes, word: str
) -> None:
    path = tmp_path / "IMG_7.photo"
    path.write_bytes(data)
    with pytest.raises(DamagedPhoto, match=rf"IMG_7\.photo can't be used: .*{word}"):
        read_header(path)


# Zstandard as libtiff writes it and JPEG 2000 have no check sums: only a missing end is told.
LENGTHS = {34925: 900, 34933: 900, 50001: 900, 50000: 1 << 20, 34712: 1 << 20}


@pytest.mark.parametrize("compression", LENGTHS)
def test_damage_in_other_compressions_is_told(tmp_path: Path, compression: int) -> None:
    smooth = cv2.resize(colors(), (200, 150), interpolation=cv2.INTER_CUBIC)
    data = tiff(Directory(smooth, compression=compression, rows=150))
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    decode(path)
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        end = page.dataoffsets[0] + page.databytecounts[0]
    for seed in range(12):
        begin = int(np.random.default_rng(seed).integers(100, end - 1500))
        size = min(LENGTHS[compression], end - begin)
        path.write_bytes(data[:begin] + bytes(size) + data[begin + size :])
        with pytest.raises(DamagedPhoto, match=r"a\.tif .*damaged or cut short"):
            decode(path)


def test_a_photo_that_ends_early_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.photo"
    for data, by_header in (
        (encoded(Image.fromarray(colors()), "AVIF"), True),
        (heic(colors()), True),
        (heic(colors(), tile_size=64), True),
        (pyjpegxl.encode_from_numpy(colors(), lossless=True), False),
        (pyjpegxl.encode_from_numpy(colors(), lossless=True, exif=b"II*\0\x08\0\0\0"), False),
    ):
        for size in range(20, len(data), 97):
            path.write_bytes(data[:size])
            with pytest.raises(DamagedPhoto, match=r"a\.photo can't be (read|decoded|used)"):
                (read_header if by_header else decode)(path)


@pytest.mark.parametrize("kind", ["AVIF", "HEIC", "HEIC of tiles", "JXL"])
def test_random_damage_gives_a_picture_or_a_named_error(tmp_path: Path, kind: str) -> None:
    four = colors(channels=4)
    data = {
        "AVIF": lambda: encoded(Image.fromarray(four), "AVIF"),
        "HEIC": lambda: heic(four),
        "HEIC of tiles": lambda: heic(colors(), tile_size=64),
        "JXL": lambda: pyjpegxl.encode_from_numpy(four, lossless=True, exif=b"II*\0\x08\0\0\0"),
    }[kind]()
    path = tmp_path / "a.photo"
    random = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(data)
        for place in random.integers(0, 500, 5):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(DamagedPhoto):
            decode(path)
