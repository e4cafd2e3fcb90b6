# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the positions of the points in a PLY file."""

from __future__ import annotations

import itertools
import os
from io import BufferedReader
from pathlib import Path
from typing import Final

import numpy as np

from ..system.safe_read import open_plain
from .lens import Floats

_TYPES: Final = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_MOST_LINES = 1000


def read_points(path: Path) -> Floats:
    """Return the points, (n, 3) float64.

    Raises
    ------
    OSError
        The file can't be read.
    ValueError
        It is no PLY file with points at its beginning, or is cut off.
    """
    with open_plain(path) as file:
        form, count, fields = _header(file)
        if not 0 <= count <= os.fstat(file.fileno()).st_size:  # a point takes more than a byte
            raise ValueError("it is cut off")
        names = [name for name, _ in fields]
        if not {"x", "y", "z"} <= set(names):
            raise ValueError("its points have no x, y and z")
        if not count:
            return np.zeros((0, 3))
        if form == "ascii":
            lines = list(itertools.islice(file, count))
            data = np.loadtxt(lines, ndmin=2, usecols=[names.index(one) for one in "xyz"])
            places: Floats = data.astype(np.float64)
        else:
            sign = "<" if form == "binary_little_endian" else ">"
            kind = np.dtype([(name, sign + code) for name, code in fields])
            found = np.frombuffer(file.read(count * kind.itemsize), kind)
            places = np.stack([found[one].astype(np.float64) for one in "xyz"], axis=-1)
        if len(places) < count:
            raise ValueError("it is cut off")
        return places


def _header(file: BufferedReader) -> tuple[str, int, list[tuple[str, str]]]:
    """Return the format, the number of points, and their fields with types."""
    if file.readline(8).strip() != b"ply":
        raise ValueError("it is no PLY file")
    form, count, element = "", 0, ""
    fields: list[tuple[str, str]] = []
    for _ in range(_MOST_LINES):
        words = file.readline(_MOST_LINES).decode("ascii", "replace").split()
        if words[:1] == ["end_header"]:
            if form not in ("ascii", "binary_little_endian", "binary_big_endian"):
                break
            return form, count, fields
        if words[:1] == ["format"] and len(words) > 1:
            form = words[1]
        elif words[:1] == ["element"] and len(words) == 3:
            if element == "" and words[1] != "vertex":
                raise ValueError("its points do not come first")
            element = words[1]
            count = int(words[2]) if element == "vertex" else count
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _TYPES:
                raise ValueError("its points have a list or an unknown type")
            fields.append((words[2], _TYPES[words[1]]))
    raise ValueError("its header does not end")
