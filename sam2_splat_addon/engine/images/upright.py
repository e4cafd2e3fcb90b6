# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn the pixels of photos upright, several times as fast as numpy does."""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.geometry.orientation import AS_STORED, turning

_Pixels = TypeVar("_Pixels", bound=NDArray[np.unsignedinteger[Any]])

# OpenCV's code of a flip, by whether it flips across and down.
_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}


def upright(picture: _Pixels, orientation: int) -> _Pixels:
    """Return the same as `turned` for a picture, (h, w) or (h, w, 3), as a new array in row order.

    A picture that is stored upright is returned itself.
    """
    if orientation == AS_STORED:
        return picture
    swap, *flips = turning(orientation)
    out: Any = cv2.transpose(picture) if swap else picture
    code = _FLIPS.get((flips[0], flips[1]))
    turned: _Pixels = out if code is None else cv2.flip(out, code)
    return turned
