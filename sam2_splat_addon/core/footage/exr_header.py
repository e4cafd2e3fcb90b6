# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of an EXR says, and which of its channels are the picture.

An EXR may have several parts, each with layers. The picture is the beauty pass: colours without a
layer's name, or of a layer that is named like one. Other layers are taken only if there is none.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from .tiff_tags import Malformed, Unsupported, exactly

SRGB_PRIMARIES: Final = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""CIE x and y of red, green, blue and white: what an EXR means that says nothing."""

_MANY_PARTS, _DEEP = 0x1000, 0x800
_MAX_PARTS: Final = 1024
_HALF, _FLOAT = 1, 2
_WANTED: Final = frozenset(
    {"dataWindow", "displayWindow", "channels", "compression", "chromaticities"}
    | {"name", "type", "view", "xmp"}
)
_DEFLATED: Final = 1032
_RUN_LENGTHS: Final = 64
# Bytes of pixels that one byte can stand for: no compression, run lengths, deflate (lines, blocks, PXR24).
_ROOM: Final = {b"\0": 1, b"\1": _RUN_LENGTHS, b"\2": _DEFLATED, b"\3": _DEFLATED, b"\5": _DEFLATED}

# Names of layers, in small letters: the picture, and what is surely none.
_BEAUTY: Final = frozenset(
    {"", "rgba", "rgb", "c", "ci", "beauty", "combined", "color", "colour", "main", "final"}
)
_PASSES: Final = re.compile(
    r"ao|ambient|depth|^z$|mist|normal|position|^n$|^p$|^uv|vector|motion|velocity|shadow|index|^id|matte|"
    r"mask|crypto|denois|albedo|alpha|diff|gloss|spec|trans|subsurface|sss|volume|emi|environment|"
    r"reflect|refract|direct|light|noisy|variance|debug|sample|object|material|world"
)


@dataclass(frozen=True)
class ExrHeader:
    """The picture of an EXR, before it is decoded.

    Attributes
    ----------
    part
        Which part of the file, from 0.
    colors
        Names of its channels: red, green and blue; luminance alone; or luminance and two of chroma.
    alpha
        Name of the channel of alpha; empty if there is none.
    is_luma_chroma
        Whether `colors` are luminance and chroma.
    is_layer
        Whether the picture is in a layer, or in a part with a name of its own.
    has_layers
        Whether its part, or the file, has other layers too.
    is_half
        Whether its channels have 16 bits, not 32.
    count
        Channels in its part.
    data, display
        Left, top, right, bottom, the last ones included: where pixels are, and what is shown, px.
    primaries
        CIE x and y of red, green, blue and white.
    xmp
        An XMP packet, or None.
    """

    part: int
    colors: tuple[str, ...]
    alpha: str
    is_luma_chroma: bool
    is_layer: bool
    has_layers: bool
    is_half: bool
    count: int
    data: tuple[int, int, int, int]
    display: tuple[int, int, int, int]
    primaries: tuple[float, ...]
    xmp: bytes | None

    @property
    def width(self) -> int:
        """Of the display window, px."""
        return self.display[2] - self.display[0] + 1

    @property
    def height(self) -> int:
        """Of the display window, px."""
        return self.display[3] - self.display[1] + 1


@dataclass(frozen=True)
class _Part:
    """A part: its attributes, and the type of each channel by name."""

    number: int
    attributes: dict[str, bytes] = field(repr=False)
    channels: dict[str, int]

    def text(self, name: str) -> str:
        return self.attributes.get(name, b"").decode("utf-8", "replace")


def read_exr(file: BinaryIO) -> ExrHeader:
    """Read the header of an EXR.

    Raises
    ------
    Malformed
        It is damaged or cut short.
    Unsupported
        It has no picture that can be decoded.
    """
    file.seek(4)
    (flags,) = struct.unpack("<I", exactly(file, 4))
    parts = list(_parts(file, has_many=bool(flags & _MANY_PARTS)))
    held = file.seek(0, os.SEEK_END)
    if flags & _DEEP and not flags & _MANY_PARTS:
        raise Unsupported("it is a deep EXR, which has many values in one pixel")
    candidates = [
        _Candidate(part, layer, *named) for part in parts for layer, named in _layers(part)
    ]
    if not candidates:
        if any(part.text("type").startswith("deep") for part in parts):
            raise Unsupported("it is a deep EXR, which has many values in one pixel")
        raise Unsupported("it has no colour channels")
    best = min(candidates, key=lambda candidate: candidate.rank)
    part = best.part
    data, display = _window(part, "dataWindow"), _window(part, "displayWindow")
    _require_overlap(data, display)
    width, height = data[2] - data[0] + 1, data[3] - data[1] + 1
    is_half = all(part.channels[name] == _HALF for name in best.colors)
    # Channels may have fewer pixels than the picture; a quarter is the least in use.
    room = _ROOM.get(part.attributes.get("compression", b"")[:1], _DEFLATED**2)
    if width * height // 4 * (1 if is_half else 2) > room * (held + 64):
        raise Malformed("the file is cut short: its header says that it has more pixels")
    return ExrHeader(
        part=part.number,
        colors=best.colors,
        alpha=best.alpha,
        is_luma_chroma=best.is_luma_chroma,
        is_layer=bool(best.layer),
        has_layers=len(parts) > 1 or any("." in name for name in part.channels),
        is_half=is_half,
        count=len(part.channels),
        data=data,
        display=display,
        primaries=_primaries(part),
        xmp=part.attributes.get("xmp") or None,
    )


@dataclass(frozen=True)
class _Candidate:
    """Channels that may be the picture."""

    part: _Part
    layer: str
    colors: tuple[str, ...]
    alpha: str
    is_luma_chroma: bool

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller is more likely the picture."""
        leaf = re.split(r"[./:]", self.layer)[-1].casefold().strip()
        # A stereo part of one view, such as "left" or "main.left", is named after the view.
        view = self.part.text("view").casefold()
        if view and leaf == view:
            leaf = re.split(r"[./:]", self.layer.casefold())[0].removesuffix(view).rstrip("._")
        has_colors = len(self.colors) == 3
        if leaf in _BEAUTY:
            return (0 if has_colors else 1), len(self.layer)
        return (4 if _PASSES.search(leaf) else 2) + (not has_colors), 0


def _layers(part: _Part) -> Iterator[tuple[str, tuple[tuple[str, ...], str, bool]]]:
    """Yield the layers of a part that have colours: name, channels, alpha, whether luma and chroma."""
    if part.text("type").startswith("deep"):
        return
    usable = {name for name, kind in part.channels.items() if kind in (_HALF, _FLOAT)}
    own = part.text("name")
    for layer in sorted({name.rpartition(".")[0] for name in part.channels}):
        prefix = f"{layer}." if layer else ""
        by_letter = {
            name.removeprefix(prefix).casefold(): name
            for name in sorted(usable, reverse=True)
            if name.rpartition(".")[0] == layer
        }
        full = ".".join(filter(None, (own if own.casefold() != layer.casefold() else "", layer)))
        alpha = by_letter.get("a") or by_letter.get("alpha") or ""
        for letters, is_chroma in (
            (("r", "g", "b"), False),
            (("red", "green", "blue"), False),
            (("y", "ry", "by"), True),
            (("y",), False),
        ):
            is_vector = letters == ("y",) and ("x" in by_letter or "z" in by_letter)
            if all(letter in by_letter for letter in letters) and not is_vector:
                colors = tuple(by_letter[letter] for letter in letters)
                yield full, (colors, alpha, is_chroma)
                break


def _parts(file: BinaryIO, *, has_many: bool) -> Iterator[_Part]:
    number = 0
    while number < _MAX_PARTS:
        attributes = dict(_attributes(file))
        if not attributes and has_many:
            return
        if not {"dataWindow", "channels"} <= attributes.keys():
            raise Malformed("its header is damaged")
        yield _Part(number, attributes, _channels(attributes["channels"]))
        number += 1
        if not has_many:
            return


def _channels(rest: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    while rest and rest[0]:
        name, rest = rest.split(b"\0", 1)
        found[name.decode("utf-8", "replace")] = struct.unpack("<i", rest[:4])[0]
        rest = rest[16:]
    return found


def _attributes(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    def text() -> str:
        letters = bytearray()
        while (letter := exactly(file, 1)) != b"\0":
            letters += letter
            if len(letters) > 255:
                raise Malformed("its header is damaged")
        return letters.decode("utf-8", "replace")

    while name := text():
        text()  # the type of the attribute: the name tells it already
        (size,) = struct.unpack("<i", exactly(file, 4))
        if size < 0 or size > 1 << 24:
            raise Malformed("its header is damaged")
        if name in _WANTED:
            yield name, exactly(file, size)
        else:
            file.seek(size, os.SEEK_CUR)


def _window(part: _Part, name: str) -> tuple[int, int, int, int]:
    data = part.attributes.get(name, part.attributes["dataWindow"])
    left, top, right, bottom = struct.unpack("<4i", data)
    return left, top, right, bottom


def _require_overlap(data: tuple[int, int, int, int], display: tuple[int, int, int, int]) -> None:
    for window in (data, display):
        if window[2] < window[0] or window[3] < window[1]:
            raise Malformed("its header has no image size")
    if data[0] > display[2] or data[2] < display[0] or data[1] > display[3] or data[3] < display[1]:
        raise Unsupported("none of its pixels is inside its display window")


def _primaries(part: _Part) -> tuple[float, ...]:
    """Return the primaries; those of sRGB if it has none, or impossible ones."""
    data = part.attributes.get("chromaticities", b"")
    if len(data) != 32:
        return SRGB_PRIMARIES
    found = struct.unpack("<8f", data)
    (rx, ry, gx, gy, bx, by, _, wy) = found
    area = (gx - rx) * (by - ry) - (bx - rx) * (gy - ry)
    if not all(math.isfinite(value) for value in found) or abs(area) < 1e-4 or wy < 1e-3:
        return SRGB_PRIMARIES
    if all(abs(a - b) < 1e-4 for a, b in zip(found, SRGB_PRIMARIES, strict=True)):
        return SRGB_PRIMARIES
    return found
