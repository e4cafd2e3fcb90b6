# SPDX-License-Identifier: GPL-3.0-or-later
"""Change what EXIF and XMP say about how a photo is turned upright. Nothing else in them changes.

EXIF is a TIFF structure. Its bytes are changed in place, or added at the end, because other tags may
point to anything inside it, such as the notes of the camera's maker.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from ...core.footage.tiff_tags import ORIENTATION, exif_orientation
from ...core.geometry.orientation import AS_STORED, turning
from .upright import upright

_SHORT: Final = 3
_INNER: Final = 34665  # the directory of the photo's own tags
_SIZES: Final = ((256, 257), (40962, 40963))  # width and height of the pixels
_PICTURE, _PICTURE_BYTES = 513, 514  # where the small copy of the photo is
_MAX_TAGS: Final = 4096
_TIFF_NAMESPACE: Final = rb"http://ns\.adobe\.com/tiff/1\.0/"


@dataclass(frozen=True)
class _Directory:
    """One directory of an EXIF block: tag -> where its entry begins; and where its end is."""

    entries: dict[int, int]
    begin: int
    end: int


class _Exif:
    """The bytes of an EXIF block, to be changed. Raises struct.error or ValueError if they are broken."""

    def __init__(self, block: bytes) -> None:
        self.data = bytearray(block)
        orders = {b"II*\0": "<", b"MM\0*": ">"}
        if block[:4] not in orders:
            raise ValueError
        self.order = orders[block[:4]]
        self.main = self.directory(self.number("I", 4))
        following = self.number("I", self.main.end)
        self.preview = self.directory(following) if following else None

    def number(self, code: str, at: int) -> int:
        return int(struct.unpack_from(self.order + code, self.data, at)[0])

    def put(self, code: str, at: int, *values: int) -> None:
        struct.pack_into(self.order + code, self.data, at, *values)

    def directory(self, begin: int) -> _Directory:
        count = self.number("H", begin)
        if count > _MAX_TAGS:
            raise ValueError
        places = range(begin + 2, begin + 2 + 12 * count, 12)
        entries: dict[int, int] = {}
        for at in places:
            entries.setdefault(self.number("H", at), at)
        return _Directory(entries, begin, places.stop)

    def inner(self) -> _Directory | None:
        at = self.main.entries.get(_INNER)
        return None if at is None else self.directory(self.number("I", at + 8))

    def value(self, directory: _Directory, tag: int) -> int | None:
        """Return the value of a tag with one whole number. None if there is none."""
        at = directory.entries.get(tag)
        kind, count = (0, 0) if at is None else (self.number("H", at + 2), self.number("I", at + 4))
        if at is None or count != 1 or kind not in (3, 4):
            return None
        return self.number("H" if kind == _SHORT else "I", at + 8)

    def set_orientation(self, directory: _Directory, orientation: int) -> None:
        at = directory.entries.get(ORIENTATION)
        if at is not None:
            self.put("HHIHH", at, ORIENTATION, _SHORT, 1, orientation, 0)

    def add_orientation(self, orientation: int) -> None:
        """Write the first directory once more at the end, with the tag in its place."""
        begin, end = self.main.begin + 2, self.main.end
        entries = [bytes(self.data[at : at + 12]) for at in range(begin, end, 12)]
        entry = struct.pack(self.order + "HHIHH", ORIENTATION, _SHORT, 1, orientation, 0)
        entries.append(entry)
        entries.sort(key=lambda one: struct.unpack_from(self.order + "H", one))
        link = bytes(self.data[end : end + 4])
        self.data.extend(bytes(len(self.data) & 1))
        self.put("I", 4, len(self.data))
        self.data.extend(struct.pack(self.order + "H", len(entries)) + b"".join(entries) + link)

    def swap_sizes(self) -> None:
        """Let width and height change places."""
        for directory in (self.main, self.inner()):
            for across, down in _SIZES:
                if directory is None or not {across, down} <= directory.entries.keys():
                    continue
                first, second = directory.entries[across] + 2, directory.entries[down] + 2
                values = self.data[first : first + 10], self.data[second : second + 10]
                self.data[first : first + 10], self.data[second : second + 10] = values[::-1]

    def turn_preview(self, orientation: int) -> None:
        """Turn the small copy of the photo. Leave it out if it can't be turned."""
        if self.preview is None:
            return
        begin = self.value(self.preview, _PICTURE)
        size = self.value(self.preview, _PICTURE_BYTES)
        turned = b""
        if begin is not None and size is not None:
            turned = _turned_jpeg(bytes(self.data[begin : begin + size]), orientation)
        if not turned or begin is None or size is None:
            self.put("I", self.main.end, 0)
            return
        if len(turned) > size:
            begin = len(self.data)
        self.data[begin : begin + len(turned)] = turned
        for tag, number in ((_PICTURE, begin), (_PICTURE_BYTES, len(turned))):
            self.put("HHII", self.preview.entries[tag], tag, 4, 1, number)


def _turned_jpeg(jpeg: bytes, orientation: int) -> bytes:
    """Return a small JPEG, turned; nothing if it is damaged."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return b""
    file = io.BytesIO()
    Image.fromarray(upright(pixels, orientation)).save(file, "JPEG", quality=90)
    return file.getvalue()


def exif_with(exif: bytes | None, orientation: int) -> bytes | None:
    """Return EXIF that says how the photo is turned upright. None if there is nothing to say.

    Parameters
    ----------
    exif
        A TIFF structure, or None. A broken one is returned as it is.
    orientation
        1 to 8.
    """
    if exif is None:
        if orientation == AS_STORED:
            return None
        exif = b"II*\0\x08\0\0\0\0\0\0\0\0\0"  # no tag
    if exif_orientation(exif) == orientation:
        return exif
    try:
        block = _Exif(exif)
        if ORIENTATION in block.main.entries:
            block.set_orientation(block.main, orientation)
        else:
            block.add_orientation(orientation)
    except (struct.error, ValueError):
        return exif
    return bytes(block.data)


def exif_of_turned(exif: bytes | None, orientation: int) -> bytes | None:
    """Return the EXIF of a photo after its pixels were turned upright: it is not turned any more.

    The small copy inside is turned too, and width and height change places where the photo's did.

    Parameters
    ----------
    exif
        A TIFF structure, or None. A broken one is left out, because it could turn the photo again.
    orientation
        How the pixels were turned, 1 to 8.
    """
    if exif is None or orientation == AS_STORED:
        return exif
    try:
        block = _Exif(exif)
        for directory in (block.main, block.preview):
            if directory is not None:
                block.set_orientation(directory, AS_STORED)
        if turning(orientation)[0]:
            block.swap_sizes()
        block.turn_preview(orientation)
    except (struct.error, ValueError, IndexError):
        return None
    return bytes(block.data)


def xmp_of_turned(xmp: bytes | None) -> bytes | None:
    """Return the XMP of a photo after its pixels were turned upright."""
    if xmp is None:
        return None
    for prefix in set(_prefixes(xmp)):
        name = re.escape(prefix) + rb":Orientation"
        xmp = re.sub(rb"(\b" + name + rb"\s*=\s*[\"'])\s*[0-9]+\s*([\"'])", rb"\g<1>1\g<2>", xmp)
        xmp = re.sub(rb"(<" + name + rb"\b[^>]*>)\s*[0-9]+\s*(</)", rb"\g<1>1\g<2>", xmp)
    return xmp


def _prefixes(xmp: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + _TIFF_NAMESPACE + rb"[\"']", xmp):
        yield found[1]
