# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoded photos equal what was stored: depth, order, alpha, ICC and EXIF."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.content_hashes import ContentHashes
from sam2_splat_addon.core.footage.headers import ImageHeader
from sam2_splat_addon.engine.images import decode as decoding
from sam2_splat_addon.engine.images.colors import to_8_bit, view_transform
from sam2_splat_addon.engine.images.decode import decode

WIDTH, HEIGHT = 31, 47
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def array(dtype: Any, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(4)
    top = 1.0 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    return (random.random((HEIGHT, WIDTH, channels)) * top).astype(dtype).squeeze()


def exif(orientation: int = 6) -> Image.Exif:
    block = Image.Exif()
    block[271] = "Maker"
    block[274] = orientation
    block.get_ifd(34665)[37386] = 50.0  # the focal length, which trainers read
    return block


def tags_of(block: bytes) -> tuple[Any, ...]:
    read = Image.Exif()
    read.load(b"Exif\0\0" + block)
    return read[271], read[274], float(read.get_ifd(34665)[37386])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_decode_to_pillows_pixels_in_stored_order(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(array(np.uint8)).convert(mode).save(path, exif=exif(), icc_profile=SRGB)
    pixels = decode(path)
    with Image.open(path) as image:
        assert np.array_equal(pixels.array, np.asarray(image.convert("RGB")))
    assert pixels.array.shape == (HEIGHT, WIDTH, 3)
    assert pixels.alpha is None
    assert pixels.icc == SRGB
    assert pixels.exif is not None
    assert tags_of(pixels.exif) == ("Maker", 6, 50.0)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_colour_jpeg_decodes_to_pillows_pixels(
    tmp_path: Path, subsampling: int, progressive: bool
) -> None:
    path = tmp_path / "a.jpg"
    small = array(np.uint8)[:9, :7]
    image = Image.fromarray(cv2.resize(small, (211, 333), interpolation=cv2.INTER_CUBIC))
    image.save(path, subsampling=subsampling, progressive=progressive)
    with Image.open(path) as image:
        assert np.array_equal(decode(path).array, np.asarray(image))


def test_profiles_of_other_colour_models_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    Image.fromarray(array(np.uint8)).convert("L").save(path, icc_profile=profile)
    assert decode(path).icc is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pngs_of_8_and_16_bit_are_whole(tmp_path: Path, dtype: Any, channels: int) -> None:
    path = tmp_path / "a.png"
    stored = array(dtype, channels)
    swap = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[channels]
    cv2.imwrite(str(path), stored if swap is None else cv2.cvtColor(stored, swap))
    pixels = decode(path)
    expected = stored[:, :, :3] if channels > 1 else np.dstack([stored] * 3)
    assert pixels.array.dtype == dtype
    assert np.array_equal(pixels.array, expected)
    if channels == 4:
        assert pixels.alpha is not None
        assert np.array_equal(pixels.alpha, stored[:, :, 3])
    else:
        assert pixels.alpha is None


def test_palette_transparency_and_grey_alpha_become_alpha(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(array(np.uint8)).quantize(8).save(path, transparency=2)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGBA"))
    pixels = decode(path)
    assert pixels.alpha is not None
    assert np.array_equal(np.dstack([pixels.array, pixels.alpha]), expected)
    grey_alpha = array(np.uint8, 2)
    Image.fromarray(grey_alpha).save(path)
    pixels = decode(path)
    assert pixels.alpha is not None
    assert np.array_equal(pixels.alpha, grey_alpha[:, :, 1])
    assert np.array_equal(pixels.array[:, :, 2], grey_alpha[:, :, 0])


def test_16_bit_pngs_keep_exif_and_profile(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(array(np.uint16, 1)).save(path, exif=exif(3), icc_profile=SRGB)
    pixels = decode(path)
    assert pixels.array.dtype == np.uint16
    assert pixels.icc == SRGB
    assert pixels.exif is not None
    assert tags_of(pixels.exif) == ("Maker", 3, 50.0)


def test_16_bit_pngs_keep_exif_that_stands_behind_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(array(np.uint16, 1)).save(path, exif=exif(3))
    data = path.read_bytes()
    place = data.index(b"eXIf") - 4
    end = place + 12 + int.from_bytes(data[place : place + 4], "big")
    last = data.index(b"IEND") - 4
    path.write_bytes(data[:place] + data[end:last] + data[place:end] + data[last:])
    found = decode(path).exif
    assert found is not None
    assert tags_of(found) == ("Maker", 3, 50.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"compression": "deflate"},
        {"planarconfig": "separate"},
        {"tile": (16, 32)},
    ],
)
def test_tiffs_are_whole_in_any_layout_and_never_turned(
    tmp_path: Path, dtype: Any, channels: int, layout: dict[str, Any]
) -> None:
    path = tmp_path / "a.tif"
    stored = array(dtype, channels)
    given = stored
    if channels == 1:
        layout = {key: value for key, value in layout.items() if key != "planarconfig"}
    if "planarconfig" in layout:
        given = np.ascontiguousarray(np.moveaxis(stored, 2, 0))
    if channels == 4:
        layout = {**layout, "extrasamples": ["unassalpha"]}
    photometric = "minisblack" if channels == 1 else "rgb"
    turned = [(274, "H", 1, 8, True), (34675, "B", len(SRGB), SRGB, True)]
    tifffile.imwrite(path, given, photometric=photometric, extratags=turned, **layout)
    pixels = decode(path)
    expected = stored[:, :, :3] if channels > 1 else np.dstack([stored] * 3)
    assert pixels.array.dtype == dtype
    assert np.array_equal(pixels.array, expected)
    assert (pixels.alpha is not None) == (channels == 4)
    assert pixels.icc == SRGB


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_compressed_tiffs_decode_unturned_and_keep_the_orientation_tag(
    tmp_path: Path, compression: str, orientation: int
) -> None:
    path = tmp_path / "a.tif"
    stored = array(np.uint8)
    tags = {271: "Maker", 274: orientation}
    Image.fromarray(stored).save(path, compression=compression, tiffinfo=tags)
    pixels = decode(path)
    assert np.array_equal(pixels.array, stored)
    assert pixels.exif is not None
    read = Image.Exif()
    read.load(pixels.exif)
    assert dict(read) == tags


def test_tiffs_keep_the_exif_that_trainers_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    stored = array(np.uint8)
    Image.fromarray(stored).save(path, exif=exif(6).tobytes())
    pixels = decode(path)
    assert np.array_equal(pixels.array, stored)
    assert pixels.exif is not None
    assert tags_of(pixels.exif) == ("Maker", 6, 50.0)


def test_16_bit_lzw_tiffs_decode_unturned(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    stored = array(np.uint16)
    cv2.imwrite(str(path), stored[:, :, ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.compression == tifffile.COMPRESSION.LZW
    assert np.array_equal(decode(path).array, stored)


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr"])
def test_tiffs_of_other_colour_models_look_like_pillows(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"compression": "jpeg", "quality": 95} if mode == "YCbCr" else {}
    Image.fromarray(array(np.uint8)).convert(mode).save(path, **options)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(decode(path).array.astype(int) - expected).max() <= 1


def test_webp_is_pillows(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    stored = array(np.uint8, 4)
    Image.fromarray(stored).save(path, lossless=True, exact=True, exif=exif(), icc_profile=SRGB)
    pixels = decode(path)
    assert pixels.alpha is not None
    assert np.array_equal(np.dstack([pixels.array, pixels.alpha]), stored)
    assert pixels.icc == SRGB
    assert pixels.exif is not None
    assert tags_of(pixels.exif) == ("Maker", 6, 50.0)


def srgb_16(linear: float) -> int:
    """IEC 61966-2-1, written out for one value."""
    v = min(max(linear, 0.0), 1.0)
    return round(65535 * (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055))


def write_exr(path: Path, **channels: np.ndarray) -> None:
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, channels).write(str(path))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exr_goes_through_the_stated_view_transform(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "a.exr"
    linear = array(dtype) * dtype(1.4) - dtype(0.2)
    write_exr(path, **{c: np.ascontiguousarray(linear[:, :, i]) for i, c in enumerate("RGB")})
    pixels = decode(path)
    assert pixels.array.dtype == np.uint16
    expected = np.vectorize(srgb_16)(linear.astype(np.float64))
    assert np.abs(pixels.array.astype(int) - expected).max() <= 1
    brighter = decode(path, exposure=1.0).array
    expected = np.vectorize(srgb_16)(linear.astype(np.float64) * 2)
    assert np.abs(brighter.astype(int) - expected).max() <= 1


def test_exr_of_one_channel_of_a_layer_and_with_alpha(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    planes = [np.ascontiguousarray(array(np.float32)[:, :, i]) for i in range(3)]
    write_exr(path, Y=planes[0])
    assert np.array_equal(decode(path).array, np.dstack([view_transform(planes[0])] * 3))
    layer = {f"view.{c}": planes[i] for i, c in enumerate("RGB")}
    write_exr(path, Z=planes[0], **layer)
    assert np.array_equal(decode(path).array, view_transform(np.dstack(planes)))
    half = np.full((HEIGHT, WIDTH), 0.5, dtype=np.float32)
    write_exr(path, A=half, **{c: planes[i] * half for i, c in enumerate("RGB")})
    assert np.array_equal(decode(path).array, view_transform(np.dstack(planes)))
    assert np.all(decode(path).alpha == 32768)


def test_float_tiffs_are_scene_linear(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    linear = array(np.float32)
    tifffile.imwrite(path, linear, photometric="rgb")
    assert np.array_equal(decode(path).array, view_transform(linear))


def test_values_that_are_no_number_stay_in_range() -> None:
    odd = np.array([[np.nan, np.inf, -np.inf, 2.0, -1.0, 0.0, 1.0]], dtype=np.float32)
    assert view_transform(odd).tolist() == [[0, 65535, 0, 65535, 0, 0, 65535]]


def test_16_bit_values_round_to_the_nearest_8_bit_ones() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(to_8_bit(every), np.rint(every / 257).astype(np.uint8))


def test_damaged_photos_are_named(tmp_path: Path) -> None:
    stored = array(np.uint8)
    # Decoders of lossy formats accept any bytes as a picture, so nothing shows such damage.
    for name in ("a.png", "a.tif"):
        path = tmp_path / name
        Image.fromarray(stored).save(path)
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 400] = bytes(400)
        path.write_bytes(data[: middle + 400] if name == "a.tif" else data)
        with pytest.raises(FootageError, match=name.replace(".", r"\.")):
            decode(path)
    exr = tmp_path / "a.exr"
    write_exr(exr, R=array(np.float32, 1), G=array(np.float32, 1), B=array(np.float32, 1))
    exr.write_bytes(exr.read_bytes()[:-900])
    with pytest.raises(FootageError, match=r"a\.exr"):
        decode(exr)


def test_kinds_that_can_not_be_baked_say_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array(np.uint32), photometric="rgb")
    with pytest.raises(FootageError, match="8 or 16 bits"):
        decode(path)
    exr = tmp_path / "a.exr"
    write_exr(exr, Z=array(np.float32, 1))
    with pytest.raises(FootageError, match="no colour channels"):
        decode(exr)


ALPHA_KINDS = {
    "unassociated": ("unassalpha", 1.0),
    "associated": ("assocalpha", 0.5),  # colours are multiplied by alpha
}


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("kind", ALPHA_KINDS)
def test_tiffs_with_alpha_have_straight_colours(tmp_path: Path, dtype: str, kind: str) -> None:
    extra, multiplied = ALPHA_KINDS[kind]
    full = 1.0 if dtype == "f4" else float(np.iinfo(dtype).max)
    color = np.array([0.8, 0.4, 0.2])
    stored = np.empty((HEIGHT, WIDTH, 4))
    stored[..., :3], stored[..., 3] = color * multiplied * full, 0.5 * full
    if dtype != "f4":
        stored = np.rint(stored)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored.astype(dtype), photometric="rgb", extrasamples=[extra])
    pixels = decode(path)
    assert pixels.alpha is not None
    most = float(np.iinfo(pixels.array.dtype).max)
    assert np.abs(pixels.alpha / most - 0.5).max() <= 1 / most, "alpha goes through no curve"
    expected = view_transform(color.astype(np.float32)) / most if dtype == "f4" else color
    assert np.abs(pixels.array / most - expected).max() <= 1.5 / most


def test_lzw_tiffs_with_alpha_have_straight_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    stored = np.full((HEIGHT, WIDTH, 4), (200, 100, 50, 128), np.uint8)
    Image.fromarray(stored).save(path, compression="tiff_lzw")
    pixels = decode(path)
    assert pixels.alpha is not None
    assert (pixels.alpha == 128).all()
    assert np.abs(pixels.array.astype(int) - stored[..., :3]).max() <= 1, "libtiff rounds once"


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_what_a_tiff_does_not_call_alpha_is_none(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.tif"
    for channels, photometric in ((4, "rgb"), (2, "minisblack")):
        stored = np.zeros((HEIGHT, WIDTH, channels), dtype)
        tifffile.imwrite(
            path,
            stored,
            photometric=photometric,
            planarconfig="contig",
            extrasamples=["unspecified"],
        )
        assert decode(path).alpha is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_tiffs_with_white_at_zero_are_no_negatives(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((HEIGHT, WIDTH), 10, dtype), photometric="miniswhite")
    assert (decode(path).array == np.iinfo(dtype).max - 10).all()


def test_a_png_with_a_long_editing_history_is_no_attack(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    history = PngImagePlugin.PngInfo()
    history.add_itxt("XML:com.adobe.xmp", "<step/>" * 300_000, zip=True)
    Image.fromarray(array(np.uint8)).save(path, pnginfo=history)
    assert np.array_equal(decode(path).array, array(np.uint8))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX has these")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.exr"])
def test_a_photo_that_becomes_a_pipe_keeps_nobody_waiting(name: str, tmp_path: Path) -> None:
    path, ended = tmp_path / name, list[bool]()
    kind: Any = {"jpg": "jpeg", "tif": "tiff"}.get(name[2:], name[2:])
    header = ImageHeader(kind, 12, 16, 3, 8, False, 1, "rgb", False)
    os.mkfifo(path)

    def read() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoding, "read_header", lambda _: header)  # it was a photo a moment ago
            with pytest.raises(FootageError):
                decode(path)
        with pytest.raises(OSError):
            ContentHashes().of(path)
        ended.append(True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert ended


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_colour_tiff_whose_tag_says_grey_and_inverted_is_damaged(
    dtype: str, compression: str | None, channels: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    values = np.random.default_rng(1).integers(0, 255, (24, 36, channels)).astype(dtype)
    extra: Any = ["unassalpha"] if channels == 4 else None
    tifffile.imwrite(path, values, photometric="rgb", compression=compression, extrasamples=extra)
    assert np.array_equal(decode(path).array, values[..., :3])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags[262].overwrite(0)
    with pytest.raises(FootageError, match="header is damaged"):
        decode(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_grey_tiff_that_says_that_0_is_white_is_taken_at_its_word(
    dtype: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(1).integers(0, 255, (24, 36)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    found = decode(tmp_path / "a.tif").array[..., 0]
    assert np.array_equal(found, np.iinfo(dtype).max - values)
