# SPDX-License-Identifier: GPL-3.0-or-later
"""What the header of a TIFF says, and whether the engine can decode such a TIFF.

The engine decodes exactly the kinds that pass here: see `engine/images/tiff.py`. So a kind that
can't be decoded is refused when photos are loaded, and never in a run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from .tiff_tags import ORIENTATION, Malformed, Unsupported, picture_directory, valid_orientation

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 259, 262, 277
_PLANAR, _PREDICTOR, _INKS, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 284, 317, 332, 338, 339
_OFFSETS_AND_COUNTS = ((273, 279), (324, 325))  # strips, tiles
_WANTED: Final = frozenset(
    (
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, ORIENTATION),
        *(_PLANAR, _PREDICTOR, _INKS, _EXTRA_SAMPLES, _SAMPLE_FORMAT),
    )
).union(*_OFFSETS_AND_COUNTS)

Model = Literal["grey", "rgb", "palette", "cmyk", "lab", "ycbcr", "logluv"]

_MODELS: Final[dict[int, Model]] = {
    0: "grey",
    1: "grey",
    2: "rgb",
    3: "palette",
    5: "cmyk",
    6: "ycbcr",
    8: "lab",
    9: "lab",
    32844: "logluv",
    32845: "logluv",
}
_COLORS: Final[dict[Model, int]] = {"grey": 1, "palette": 1, "cmyk": 4}
"""Samples that make the colour; 3 for the others."""

WHITE_IS_0: Final = 0
BYTES_PACKED: Final = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
"""None, LZW, two names of deflate, run lengths, LZMA, zstd: these pack bytes."""

PREDICTED: Final = frozenset({5, 8, 32946, 34925, 50000})
"""The compressions that a predictor belongs to. Beside others its tag means nothing."""

PICTURES: Final = frozenset({34712, 34933, 50001})
"""JPEG 2000, PNG, WebP: each strip or tile is a file of its own."""

BY_LIBTIFF: Final = frozenset({2, 3, 4, 6, 7, 34676, 34677})
"""Faxes, JPEG of two kinds, LogLuv: only libtiff itself decodes them, through OpenCV."""

_SHOWN: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32946, 32773})
"""The compressions that Blender knows."""

_NAMES: Final = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    52546: "JPEG XL",
    50002: "JPEG XL",
}

# Bytes of pixels that one byte can stand for, by compression. 7 is JPEG: there it counts pixels.
_JPEG: Final = 7
_JPEG_PIXELS: Final = 512  # a bit for each block of 8 x 8
_ROOM: Final = {1: 1, 5: 2731, _JPEG: _JPEG_PIXELS, 8: 1032, 32946: 1032, 32773: 64}


@dataclass(frozen=True)
class TiffHeader:
    """The picture of a TIFF, before it is decoded.

    Attributes
    ----------
    directory
        Where its directory begins, bytes.
    needs_copy
        Whether Blender can't show it: a preview stands ahead of it, or Blender does not know its kind.
    width, height
        px, stored order.
    samples
        Stored samples of a pixel.
    bits
        Bits of a sample.
    is_float
        True for floating-point samples.
    model
        How samples make a colour.
    alpha
        Which sample is alpha, from 0; None if no sample is.
    is_multiplied
        Whether colours are multiplied by alpha.
    orientation
        1 to 8.
    """

    directory: int
    needs_copy: bool
    width: int
    height: int
    samples: int
    bits: int
    is_float: bool
    model: Model
    alpha: int | None
    is_multiplied: bool
    orientation: int


def read_tiff(file: BinaryIO) -> TiffHeader:
    """Read the header of a TIFF.

    Raises
    ------
    Malformed
        It is damaged or cut short.
    Unsupported
        The engine can't decode such a TIFF.
    """
    directory = picture_directory(file, _WANTED)
    tags = directory.tags
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Malformed("its header has no image size")
    held = _held(file, tags)

    def one(tag: int, otherwise: int) -> int:
        return (tags.get(tag) or (otherwise,))[0]

    width, height, samples = tags[_WIDTH][0], tags[_HEIGHT][0], one(_SAMPLES, 1)
    compression, photometric = one(_COMPRESSION, 1), one(_PHOTOMETRIC, 1)
    extra = tags.get(_EXTRA_SAMPLES, ())
    if photometric == WHITE_IS_0 and samples - len(extra) >= 3:
        # "0 is white" exists only for grey: decoders would invert the colours.
        raise Malformed(
            "its header is damaged: it says grey, but it has the channels of a colour picture"
        )
    bits = one(_BITS, 1)
    _require_known(tags, compression, photometric, bits, samples)
    model = _MODELS[photometric]
    colors = _COLORS.get(model, 3)
    if compression in _ROOM:
        pixels = width * height
        decoded = pixels if compression == _JPEG else pixels * samples * bits // 8
        if decoded > _ROOM[compression] * (held + 64):
            raise Malformed("the file is cut short: its header says that it has more pixels")
    # Extra samples: 1 is alpha that colours are multiplied by, 2 is straight alpha, 0 is anything.
    alphas = [at for at, use in enumerate(extra) if use in (1, 2) and colors + at < samples]
    return TiffHeader(
        directory=directory.begin,
        needs_copy=not directory.is_first
        or compression not in _SHOWN
        or model in ("cmyk", "lab", "logluv"),
        width=width,
        height=height,
        samples=samples,
        bits=bits,
        is_float=one(_SAMPLE_FORMAT, 1) == 3,
        model=model,
        alpha=colors + alphas[0] if alphas else None,
        is_multiplied=bool(alphas) and extra[alphas[0]] == 1,
        orientation=valid_orientation(tags),
    )


def _held(file: BinaryIO, tags: dict[int, tuple[int, ...]]) -> int:
    """Return the bytes of all strips or tiles. Raises Malformed if the file ends before."""
    size, held = file.seek(0, os.SEEK_END), 0
    for offsets, counts in _OFFSETS_AND_COUNTS:
        ends = map(sum, zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if max(ends, default=0) > size:
            raise Malformed("the file is cut short")
        held += sum(tags.get(counts, ()))
    return held


def _require_known(
    tags: dict[int, tuple[int, ...]], compression: int, photometric: int, bits: int, samples: int
) -> None:
    """Raise Unsupported for a kind of TIFF that the engine can't decode."""
    model = _MODELS.get(photometric)
    if model is None:
        raise Unsupported(f"its colour model (number {photometric}) is not supported")
    formats, depths = set(tags.get(_SAMPLE_FORMAT, (1,))), set(tags.get(_BITS, (1,)))
    if formats - {1, 3, 4} or len(formats) > 1 or len(depths) > 1:
        raise Unsupported("only samples of one type are supported, without a sign")
    colors = _COLORS.get(model, 3)
    if samples < colors:
        raise Malformed("its header is damaged: it has too few samples for its colour model")
    is_float = formats == {3}
    if compression in BY_LIBTIFF or model in ("ycbcr", "logluv"):
        _require_known_to_libtiff(compression, model, bits, samples)
        return
    if compression not in BYTES_PACKED | PICTURES:
        name = _NAMES.get(compression, f"number {compression}")
        raise Unsupported(f"its compression ({name}) is not supported")
    if is_float and (bits not in (16, 32, 64) or model not in ("grey", "rgb") or photometric == 0):
        raise Unsupported(f"numbers with a fraction of {bits} bits are not supported here")
    if not is_float and not 1 <= bits <= 16:
        raise Unsupported(f"whole numbers of {bits} bits are not supported, only 8 or 16 bits")
    if compression in PICTURES and (
        is_float or bits not in (8, 16) or model not in ("grey", "rgb")
    ):
        raise Unsupported("only grey or RGB with 8 or 16 bits is supported with this compression")
    if model in ("cmyk", "lab") and bits not in (8, 16):
        raise Unsupported(f"this colour model is supported with 8 or 16 bits, not with {bits}")
    if model == "palette" and bits > 8:
        raise Unsupported("its palette is too large")
    if model == "cmyk" and tags.get(_INKS, (1,)) != (1,):
        raise Unsupported("its inks are not cyan, magenta, yellow and black")
    if tags.get(_PLANAR, (1,)) not in ((1,), (2,)):
        raise Malformed("its header is damaged")
    predictor = tags.get(_PREDICTOR, (1,)) if compression in PREDICTED else (1,)
    if predictor not in ((1,), (2,), (3,)) or (predictor == (3,) and not is_float):
        raise Malformed("its header is damaged")
    if predictor == (2,) and bits not in (8, 16, 32, 64):
        raise Unsupported(f"a predictor is not supported with {bits} bits")


def _require_known_to_libtiff(compression: int, model: Model, bits: int, samples: int) -> None:
    """Raise Unsupported for a kind that libtiff can't give as 8 bit colours, or as floats."""
    if compression in (34676, 34677) and model == "logluv":
        return
    known = {
        **dict.fromkeys((2, 3, 4), (("grey",), (1,), (1,))),
        6: (("ycbcr", "rgb", "grey"), (8,), (1, 3)),
        7: (("ycbcr", "rgb", "grey", "cmyk"), (8,), (1, 3, 4)),
        **dict.fromkeys(BYTES_PACKED - {34925, 50000}, (("ycbcr",), (8,), (3,))),
    }
    models, depths, counts = known.get(compression, ((), (), ()))
    if model not in models or bits not in depths or samples not in counts:
        raise Unsupported("its compression is not supported with these samples")
    if samples == 4 and model != "cmyk":
        raise Unsupported("JPEG with alpha is not supported inside a TIFF")
