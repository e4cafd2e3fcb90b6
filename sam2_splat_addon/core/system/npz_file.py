# SPDX-License-Identifier: GPL-3.0-or-later
"""Read numpy's own files of arrays without trusting them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# What numpy and zipfile raise for bad bytes. RuntimeError: a bit says that the file is encrypted, or packed
# in another way. TypeError: it is a single array.
_DAMAGED: Final = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError),
    *(ValueError, struct.error, zipfile.BadZipFile, zlib.error),
)


def read_npz(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file by name; raises ValueError if it is damaged."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _DAMAGED as problem:
        raise ValueError("it is damaged") from problem
