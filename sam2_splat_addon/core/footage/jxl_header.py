# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of a JPEG XL says: ISO/IEC 18181-1, in boxes of ISO/IEC 18181-2 or without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from .heif_header import boxes_of
from .tiff_tags import Malformed, Unsupported

_BARE: Final = b"\xff\x0a"
_BOXED: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
_MOST: Final = 1 << 14  # bytes of the codestream that are searched for its header

_ALPHA, _BLACK, _SPOT, _CFA = 0, 4, 2, 5  # kinds of extra channels
_FLOAT_BITS: Final = ((32, 0), (16, 0), (24, 0), (1, 6))
_WHOLE_BITS: Final = ((8, 0), (10, 0), (12, 0), (1, 6))
_LENGTHS: Final = ((1, 9), (1, 13), (1, 18), (1, 30))
_ENUM: Final = ((0, 0), (1, 0), (2, 4), (18, 6))
_PREVIEW: Final = ((1, 6), (65, 8), (321, 10), (1345, 12))
# Width to height, by the number that stands for it.
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True)
class JxlHeader:
    """The picture of a JPEG XL, before it is decoded.

    Attributes
    ----------
    width, height
        px, stored order.
    bits
        Bits of a channel.
    is_float
        Whether its numbers have a fraction.
    has_alpha
        Whether one of its channels is alpha.
    is_multiplied
        Whether colours are multiplied by alpha.
    orientation
        1 to 8, as in EXIF.
    """

    width: int
    height: int
    bits: int
    is_float: bool
    has_alpha: bool
    is_multiplied: bool
    orientation: int


class _Bits:
    """Reads numbers, the lowest bit first. Raises Malformed at the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise Malformed("the file is cut short")
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return found

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, ways: tuple[tuple[int, int], ...]) -> int:
        """Read a number in one of four ways: what is added, and the bits."""
        added, bits = ways[self.take(2)]
        return added + self.take(bits)


def is_jxl(start: bytes) -> bool:
    """Whether these are the first bytes of a JPEG XL."""
    return start.startswith((_BARE, _BOXED))


def read_jxl(file: BinaryIO) -> JxlHeader:
    """Read the header of a JPEG XL.

    Raises
    ------
    Malformed
        It is damaged or cut short.
    Unsupported
        It is an animation, or its colours are inks.
    """
    bits = _Bits(_codestream(file))
    if bits.take(16) != int.from_bytes(_BARE, "little"):
        raise Malformed("its header is damaged")
    width, height = _size(bits)
    depth, is_float, orientation = 8, False, 1
    has_alpha = is_multiplied = False
    if not bits.flag():
        if bits.flag():
            orientation = 1 + bits.take(3)
            if bits.flag():
                _size(bits)  # the size in which it wants to be shown
            if bits.flag():
                _preview_size(bits)
            if bits.flag():
                raise Unsupported("it is an animation")
        depth, is_float = _depth(bits)
        bits.flag()
        for _ in range(bits.choice(((0, 0), (1, 0), (2, 4), (1, 12)))):
            kind, multiplies = _extra_channel(bits)
            if kind == _BLACK:
                raise Unsupported("its colours are inks (CMYK)")
            if kind == _ALPHA and not has_alpha:
                has_alpha, is_multiplied = True, multiplies
    return JxlHeader(width, height, depth, is_float, has_alpha, is_multiplied, orientation)


def _codestream(file: BinaryIO) -> bytes:
    """Return the beginning of the picture's data."""
    file.seek(0)
    if file.read(2) == _BARE:
        file.seek(0)
        return file.read(_MOST)
    data = b""
    for kind, begin, length in boxes_of(file):
        skipped = {b"jxlc": 0, b"jxlp": 4}.get(kind)  # a part begins with its number
        if skipped is None or len(data) >= _MOST:
            continue  # the boxes behind it tell whether the file is whole
        file.seek(begin + skipped)
        data += file.read(max(0, min(length - skipped, _MOST - len(data))))
    if not data:
        raise Malformed("it holds no image")
    return data


def _size(bits: _Bits) -> tuple[int, int]:
    by_8 = bits.flag()

    def length() -> int:
        return 8 * (1 + bits.take(5)) if by_8 else bits.choice(_LENGTHS)

    height = length()
    ratio = bits.take(3)
    if ratio == 0:
        return length(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _preview_size(bits: _Bits) -> None:
    ways = ((16, 0), (32, 0), (1, 5), (33, 9)) if bits.flag() else _PREVIEW
    bits.choice(ways)
    if bits.take(3) == 0:
        bits.choice(ways)


def _depth(bits: _Bits) -> tuple[int, bool]:
    """Read the bits of a channel, and whether its numbers have a fraction."""
    if not bits.flag():
        return bits.choice(_WHOLE_BITS), False
    depth = bits.choice(_FLOAT_BITS)
    bits.take(4)
    return depth, True


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """Read the kind of a channel that is no colour, and whether colours are multiplied by it."""
    if bits.flag():
        return _ALPHA, False
    kind = bits.choice(_ENUM)
    _depth(bits)
    bits.choice(((0, 0), (3, 0), (4, 0), (1, 3)))
    name = bits.choice(((0, 0), (0, 4), (16, 5), (48, 10)))
    bits.take(8 * name)
    multiplies = kind == _ALPHA and bits.flag()
    if kind == _SPOT:
        bits.take(64)
    elif kind == _CFA:
        bits.choice(((1, 0), (0, 2), (3, 4), (19, 8)))
    return kind, multiplies
