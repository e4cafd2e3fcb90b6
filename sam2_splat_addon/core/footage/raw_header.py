# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell camera RAW from other photos, and find those that were cut short.

Nearly every maker has a format of its own, and only LibRaw knows them all. So the SAM 2 process reads
their headers; see `raw_photos`. Here only so much is read as needs no library.
"""

from __future__ import annotations

import os
import struct
from pathlib import PurePath
from typing import BinaryIO, Final

from .heif_header import boxes_of
from .tiff_tags import Malformed, directories, integer_tags

RAW_EXTENSIONS: Final = frozenset(
    (
        *(".3fr", ".ari", ".arw", ".bay", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dcs", ".dng"),
        *(".drf", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mdc", ".mef", ".mos", ".mrw"),
        *(".nef", ".nrw", ".orf", ".ori", ".pef", ".ptx", ".pxn", ".raf", ".raw", ".rw2", ".rwl"),
        *(".rwz", ".sr2", ".srf", ".srw", ".x3f"),
    )
)

_TIFF: Final = (b"II*\0", b"MM\0*")
_OLYMPUS: Final = (b"IIRO", b"IIRS", b"MMOR")
_FUJI: Final = b"FUJIFILMCCD-RAW"
_SIGNS: Final = (*_OLYMPUS, b"IIU\0", _FUJI, b"\0MRM", b"FOVb", b"ARRI")
_CANON_2, _CANON_3, _CANON_1 = b"CR\x02", b"ftypcrx ", b"HEAPCCDR"

_PHOTOMETRIC, _DNG_VERSION = 262, 50706
_OFFSETS_AND_COUNTS: Final = ((273, 279), (324, 325))  # strips, tiles
_SENSOR: Final = frozenset({(32803,), (34892,)})  # one colour a pixel, all colours


def is_raw(start: bytes, name: str, file: BinaryIO) -> bool:
    """Whether a file is a camera RAW.

    Its first 16 bytes tell it. Many are built like a TIFF: then it must say that it is a DNG, or have
    the name of a RAW.
    """
    if start.startswith(_SIGNS) or start[4:12] == _CANON_3 or start[6:14] == _CANON_1:
        return True
    if not start.startswith(_TIFF):
        return False
    return (
        start[8:11] == _CANON_2
        or PurePath(name).suffix.lower() in RAW_EXTENSIONS
        or _DNG_VERSION in integer_tags(file, frozenset({_DNG_VERSION}))
    )


def require_whole_raw(start: bytes, file: BinaryIO) -> None:
    """Raise Malformed if a camera RAW was cut short. LibRaw would not say it."""
    size = file.seek(0, os.SEEK_END)
    end = 0
    if start[4:12] == _CANON_3:
        for _ in boxes_of(file):
            pass
    elif start.startswith(_FUJI):
        file.seek(84)
        numbers = struct.unpack(">6I", file.read(24).ljust(24, b"\xff"))
        end = max(at + held for at, held in zip(numbers[::2], numbers[1::2], strict=True))
    elif start.startswith((*_TIFF, *_OLYMPUS)):
        is_canon = start[8:11] == _CANON_2
        wanted = frozenset({_PHOTOMETRIC}).union(*_OFFSETS_AND_COUNTS)
        for directory in directories(file, wanted):
            tags = directory.tags
            if is_canon or start.startswith(_OLYMPUS) or tags.get(_PHOTOMETRIC) in _SENSOR:
                for offsets, counts in _OFFSETS_AND_COUNTS:
                    ends = map(sum, zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
                    end = max(end, *ends, 0)
    if end > size:
        raise Malformed("the file is cut short")
