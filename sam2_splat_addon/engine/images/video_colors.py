# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn the colours of a frame of a video into those of a photo: sRGB, upright, square pixels.

Videos of the usual kind (BT.709, BT.601) keep their values: trainers and viewers take them as sRGB, as
players do. HDR (PQ and HLG) is tone-mapped, always with the same curve, so that all photos of a video
match. Other primaries (BT.2020, P3) are converted.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

Pixels = NDArray[np.unsignedinteger[Any]]  # uint8 or uint16
Floats = NDArray[np.float32]

# Numbers of ITU-T H.273.
_PQ, _HLG, _LINEAR = 16, 18, 8
_BT709, _BT601, _BT601_TOO, _BT2020 = 1, 5, 6, 9
_UNKNOWN_MATRIX: Final = (0, 2, 3)
_HD_LINES: Final = 576  # what has more lines and says nothing is BT.709, as in players

# Primaries -> the matrix to those of sRGB, for linear light. (ITU-R BT.2087, and the same way for P3.)
_TO_SRGB: Final = {
    9: ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    12: ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}  # fmt: skip

_WHITE: Final = 203.0  # nits of white paper in HDR (ITU-R BT.2408)
_HLG_PEAK: Final = 1000.0  # nits of the screen that HLG is shown on
_KNEE: Final = 0.6  # linear light above which HDR is compressed

_EXACT: Final = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


@dataclass(frozen=True)
class Look:
    """How the frames of a video are stored, as its first frame says.

    Attributes
    ----------
    is_deep
        More than 8 bit.
    transfer, primaries
        Numbers of ITU-T H.273.
    is_interlaced
        Whether a frame holds two moments, in its even and its odd lines.
    turn
        Whether rows become columns, and whether columns and rows are then reversed.
    stretch
        Width of a pixel by its height.
    """

    width: int
    height: int
    is_deep: bool
    transfer: int
    primaries: int
    is_interlaced: bool
    turn: tuple[bool, bool, bool]
    stretch: float

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (_PQ, _HLG)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of a photo, upright, with square pixels."""
        width, height = self.square
        return (height, width) if self.turn[0] else (width, height)

    @property
    def square(self) -> tuple[int, int]:
        """(width, height) with square pixels, as stored. No side gets shorter."""
        if self.stretch >= 1.0:
            return round(self.width * self.stretch), self.height
        return self.width, round(self.height / self.stretch)

    def facts(self) -> tuple[str, ...]:
        """Return sentences that the user must know."""
        said = []
        if self.is_hdr:
            kind = "PQ" if self.transfer == _PQ else "HLG"
            said.append(f"The video is HDR ({kind}): its colours are tone-mapped to sRGB.")
        elif self.transfer == _LINEAR:
            said.append("The video has linear light: its values are kept and look dark.")
        elif self.primaries in _TO_SRGB:
            said.append("The video has wide colours: they are converted to sRGB.")
        if self.is_interlaced:
            said.append(
                "The video is interlaced: photos have every second line, and the lines between are"
                " filled."
            )
        if self.stretch != 1.0:
            width, height = self.size
            said.append(f"The pixels are not square: photos are stretched to {width}x{height} px.")
        return tuple(said)


def look_of(frame: av.VideoFrame, stretch: float) -> Look:
    """Read how a frame is stored. ``stretch`` is the width of a pixel by its height, 0 if unknown."""
    if not 0.1 <= stretch <= 10.0:
        stretch = 1.0
    return Look(
        frame.width,
        frame.height,
        _bits(frame) > 8,
        int(frame.color_trc),
        int(frame.color_primaries),
        bool(frame.interlaced_frame),
        _turn(frame),
        stretch,
    )


def _bits(frame: av.VideoFrame) -> int:
    return max(component.bits for component in frame.format.components)


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Read a display matrix, as the nearest of the eight ways to turn and mirror a picture."""
    all_data: Any = frame.side_data  # its stub is of another type
    for data in all_data:
        if data.type is SideDataType.DISPLAYMATRIX:
            break
    else:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(data), "<i4" if np.little_endian else ">i4")[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def luma(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a frame's brightness as stored, shrunk to (width, height), 8 bit. Never turned."""
    plane: Any
    plane, bits = _bright_plane(frame)
    if frame.interlaced_frame:
        plane = plane[::2]
    if plane.shape[::-1] != size:
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    if plane.dtype == np.uint8:
        return np.ascontiguousarray(plane)
    return np.asarray(plane >> (bits - 8), np.uint8)


def _bright_plane(frame: av.VideoFrame) -> tuple[Pixels, int]:
    """Return the plane of brightness, (height, width), and its bits. No copy for usual formats."""
    name = frame.format.name
    planar = name.startswith(("yuv4", "yuva4", "yuvj4", "nv", "gray", "p0", "p2", "p4"))
    if not planar or name.endswith("be") or "f32" in name or "f16" in name:
        frame, name = frame.reformat(format="gray"), "gray"
    first: Any = frame.planes[0]
    bits = 16 if name.startswith("p") else _bits(frame)
    kind = np.uint8 if bits == 8 else np.uint16
    rows: Any = np.frombuffer(first, kind).reshape(-1, first.line_size // np.dtype(kind).itemsize)
    return rows[: frame.height, : frame.width], bits


def photo(frame: av.VideoFrame, look: Look, *, deep: bool) -> Pixels:
    """Return a frame as a photo: (height, width, 3) RGB, upright, with square pixels, in sRGB.

    Parameters
    ----------
    deep
        Whether to keep more than 8 bit (then uint16).
    """
    converted = look.is_hdr or look.primaries in _TO_SRGB
    wide = converted or (deep and look.is_deep)
    rgb: Any = _rgb(frame, wide=wide)
    if frame.interlaced_frame:
        rgb = _one_field(rgb)
    if converted:
        rgb = _to_srgb(rgb, look)
        if not (deep and look.is_deep):
            rgb = ((rgb.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if look.square != (look.width, look.height):
        rgb = cv2.resize(rgb, look.square, interpolation=cv2.INTER_CUBIC)
    swapped, columns, rows = look.turn
    if swapped:
        rgb = rgb.transpose(1, 0, 2)
    if columns:
        rgb = rgb[:, ::-1]
    if rows:
        rgb = rgb[::-1]
    upright: Pixels = np.ascontiguousarray(rgb)
    return upright


def _rgb(frame: av.VideoFrame, *, wide: bool) -> Pixels:
    space = int(frame.colorspace)
    if space in _UNKNOWN_MATRIX:
        space = _BT709 if frame.height > _HD_LINES else _BT601
    if space == _BT601_TOO:
        space = _BT601
    if space == _BT2020 + 1:
        space = _BT2020
    made = frame.reformat(
        format="rgb48le" if wide else "rgb24",
        src_colorspace=space,
        dst_colorspace=space,
        interpolation=_EXACT,
        dst_color_range="JPEG",
        threads=1,
    )
    plane: Any = made.planes[0]
    kind = np.dtype("<u2" if wide else np.uint8)
    rows: Any = np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)
    pixels: Pixels = rows[: made.height, : 3 * made.width].reshape(made.height, made.width, 3)
    return pixels


def _one_field(rgb: Pixels) -> Pixels:
    """Keep the even lines. The lines between become the mean of their neighbours."""
    filled = np.repeat(rgb[::2], 2, axis=0)[: len(rgb)]
    between = (filled[0:-2:2].astype(np.uint32) + filled[2::2] + 1) // 2
    filled[1 : 2 * len(between) : 2] = between.astype(rgb.dtype)
    return filled


def _to_srgb(rgb: Pixels, look: Look) -> Pixels:
    """Convert 16 bit RGB to sRGB, 16 bit, in strips: floats need four times the memory."""
    out = np.empty_like(rgb)
    rows = max(1, (1 << 21) // rgb.shape[1])
    for top in range(0, len(rgb), rows):
        out[top : top + rows] = _strip_to_srgb(rgb[top : top + rows], look)
    return out


def _strip_to_srgb(rgb: Pixels, look: Look) -> Pixels:
    light: Any = _light_table(look.transfer)[rgb]
    if look.transfer == _HLG:
        # The screen's part of HLG: its exponent for 1,000 nits, on brightness (ITU-R BT.2100).
        bright = cv2.transform(light, np.array([[0.2627, 0.6780, 0.0593]], np.float32))
        light *= (np.maximum(bright, 1e-6) ** np.float32(0.2))[..., None] * (_HLG_PEAK / _WHITE)
    matrix = _TO_SRGB.get(look.primaries)
    if matrix is not None:
        light = cv2.transform(light, np.array(matrix, np.float32))
    if look.is_hdr:
        most = np.maximum(light.max(axis=2), np.float32(1e-6))
        over = np.maximum(most - np.float32(_KNEE), 0) / np.float32(1 - _KNEE)
        tamed = np.minimum(most, _KNEE) + (1 - _KNEE) * (1 - np.exp(-over))
        light *= (tamed / most)[..., None]
    at = np.clip(light, 0.0, 1.0) * np.float32(65535.0) + np.float32(0.5)
    values: Pixels = _srgb_table()[at.astype(np.uint16)]
    return values


@functools.cache
def _light_table(transfer: int) -> Floats:
    """Return linear light for each 16 bit value; 1 is white. HLG gives the light of the scene."""
    value = np.arange(65536, dtype=np.float64) / 65535.0
    if transfer == _PQ:
        root = value ** (1 / 78.84375)
        part = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return np.asarray(10000.0 / _WHITE * part ** (1 / 0.1593017578125), np.float32)
    if transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
        return np.asarray(light, np.float32)
    low = value / 12.92
    return np.asarray(np.where(value <= 0.04045, low, ((value + 0.055) / 1.055) ** 2.4), np.float32)


@functools.cache
def _srgb_table() -> NDArray[np.uint16]:
    light = np.arange(65536, dtype=np.float64) / 65535.0
    high = 1.055 * light ** (1 / 2.4) - 0.055
    return np.asarray(
        np.round(65535.0 * np.where(light <= 0.0031308, 12.92 * light, high)), np.uint16
    )
