# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags that say how a photo is turned upright: changed where they must be, and nothing else."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from sam2_splat_addon.core.footage.headers import read_header
from sam2_splat_addon.core.footage.tiff_tags import exif_orientation
from sam2_splat_addon.core.geometry.orientation import turned_size
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.images.orientation_tag import exif_of_turned, exif_with, xmp_of_turned

WIDTH, HEIGHT = 60, 40
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:{prefix}="http://ns.adobe.com/tiff/1.0/" {attribute}>{element}</rdf:Description>
</rdf:RDF></x:xmpmeta>"""


def block(orientation: int | None, *, preview: bool = False, order: str = "<") -> bytes:
    """Make an EXIF block with a maker, the photo's own tags, and perhaps a small picture of it."""
    exif = Image.Exif()
    exif.endian = order
    exif[271] = "A maker with a long name"
    if orientation is not None:
        exif[274] = orientation
    exif.get_ifd(0x8769).update({40962: WIDTH, 40963: HEIGHT, 37500: bytes(range(200))})
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    return with_preview(data, orientation or 1, order) if preview else data


def with_preview(data: bytes, orientation: int, order: str) -> bytes:
    """Add a second directory with a JPEG, as cameras do."""
    small = np.zeros((HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    small[:5, :7] = 255
    file = io.BytesIO()
    Image.fromarray(small).save(file, "JPEG", quality=95)
    begin = len(data) + (len(data) & 1)
    entries = [(259, 3, 6), (274, 3, orientation), (513, 4, begin + 2 + 48 + 4)]
    entries.append((514, 4, file.tell()))
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(order + ("HH" if kind == 3 else "I"), *([value, 0][: 5 - kind]))
        directory += struct.pack(order + "HHI", tag, kind, 1) + packed
    out = bytearray(data.ljust(begin, b"\0") + directory + bytes(4) + file.getvalue())
    first = struct.unpack_from(order + "I", out, 4)[0]
    count = struct.unpack_from(order + "H", out, first)[0]
    struct.pack_into(order + "I", out, first + 2 + 12 * count, begin)
    return bytes(out)


def read(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


def preview_of(data: bytes) -> Image.Image:
    exif = read(data)
    tags = exif.get_ifd(ExifTags.IFD.IFD1)
    begin, size = tags[513], tags[514]
    return Image.open(io.BytesIO(data[begin : begin + size]))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_another_orientation_changes_only_the_tag(orientation: int, order: str) -> None:
    for before in (None, 1, 5, 6):
        data = block(before, order=order)
        after = exif_with(data, orientation)
        assert after is not None
        assert exif_orientation(after) == orientation
        found = read(after)
        assert found[271] == "A maker with a long name"
        assert found.get_ifd(0x8769)[37500] == bytes(range(200))
        if before is not None:  # in place
            assert len(after) == len(data)


def test_a_photo_without_exif_gets_only_a_tag_that_says_something() -> None:
    assert exif_with(None, 1) is None
    made = exif_with(None, 6)
    assert made is not None
    assert dict(read(made)) == {274: 6}


@pytest.mark.parametrize("broken", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"no TIFF at all"])
def test_broken_exif_stays_with_kept_pixels_and_goes_with_turned_ones(broken: bytes) -> None:
    assert exif_with(broken, 6) == broken
    assert exif_of_turned(broken, 6) is None
    assert exif_of_turned(broken, 1) == broken


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photo_is_turned_by_no_tag_again(orientation: int, order: str) -> None:
    data = exif_of_turned(block(orientation, preview=True, order=order), orientation)
    assert data is not None
    found = read(data)
    assert found[274] == 1
    assert found.get_ifd(ExifTags.IFD.IFD1)[274] == 1
    own = found.get_ifd(0x8769)
    assert (own[40962], own[40963]) == turned_size(WIDTH, HEIGHT, orientation)
    assert own[37500] == bytes(range(200))
    with preview_of(data) as small:
        assert small.size == turned_size(WIDTH // 4, HEIGHT // 4, orientation)
        bright = np.argwhere(np.asarray(small.convert("L")) > 128).mean(axis=0)
    stored = np.zeros((HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    stored[:5, :7] = 255
    image = Image.fromarray(stored)
    image.getexif()[274] = orientation

    expected = np.argwhere(np.asarray(ImageOps.exif_transpose(image).convert("L")) > 128)
    assert bright == pytest.approx(expected.mean(axis=0), abs=0.5)


def test_a_small_picture_that_is_damaged_is_left_out() -> None:
    data = block(6, preview=True)
    begin = read(data).get_ifd(ExifTags.IFD.IFD1)[513]
    turned = exif_of_turned(data[:begin] + bytes(40) + data[begin + 40 :], 6)
    assert turned is not None
    assert read(turned)[274] == 1
    assert not read(turned).get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("prefix", ["tiff", "t"])
def test_xmp_says_that_a_turned_photo_is_upright(prefix: str) -> None:
    for attribute, element in (
        (f'{prefix}:Orientation="6" {prefix}:Make="M"', ""),
        (f"{prefix}:Orientation = '8'", ""),
        ("", f"<{prefix}:Orientation>6</{prefix}:Orientation>"),
    ):
        xmp = XMP.format(prefix=prefix, attribute=attribute, element=element).encode()
        said = xmp_of_turned(xmp)
        assert said is not None
        changed = [(a, b) for a, b in zip(xmp, said, strict=True) if a != b]
        assert len(changed) == 1 and changed[0][1] == ord("1")
    other = XMP.format(prefix="tiff", attribute='my:Orientation="6"', element="").encode()
    assert xmp_of_turned(other) == other


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))


def image_magicks(orientation: int) -> PngImagePlugin.PngInfo:
    """EXIF as a text, as ImageMagick writes it."""
    data = b"Exif\0\0" + block(orientation)
    text = f"\nexif\n{len(data):8d}\n{data.hex()}\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    return info


def behind_the_pixels(path: Path) -> None:
    """Move the chunk with EXIF behind the pixels of a PNG."""
    data = path.read_bytes()
    at = data.index(b"eXIf") - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    path.write_bytes(data[:at] + data[end:-12] + data[at:end] + data[-12:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "kind",
    ["jpg", "png", "png behind", "png text", "webp", "tif", "bigtiff", "avif", "heic"],
)
def test_header_and_baked_tag_say_the_same_for_every_kind(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{kind.split()[0].replace('bigtiff', 'tif')}"
    if kind == "png text":
        picture().save(path, pnginfo=image_magicks(orientation))
    elif kind == "bigtiff":
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, np.asarray(picture()), bigtiff=True, extratags=tags)
    elif kind == "heic":
        file = pillow_heif.from_pillow(picture())
        file[0].info["exif"] = exif.tobytes()  # the library says how to turn the pixels
        file.save(path)
    else:
        picture().save(path, exif=exif)
    if kind == "png behind":
        behind_the_pixels(path)
    found = read_header(path).orientation
    assert found == orientation
    pixels = decode(path)
    assert pixels.orientation == found
    said = exif_with(pixels.exif, pixels.orientation)
    assert (1 if said is None else exif_orientation(said)) == found
    straight = pixels.turned()
    assert straight.array.shape[1::-1] == turned_size(WIDTH, HEIGHT, found)
    assert straight.exif is None or exif_orientation(straight.exif) == 1
