# SPDX-License-Identifier: GPL-3.0-or-later
"""The textures and the off-screen picture that the overlay draws with; imports gpu and numpy.

They live as long as something shows them, within bounds, and not longer than the window's graphics
context: :func:`drop` lets go of all.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import gpu
import numpy as np

from ..clip.matte_cache import ShownMatte

# Texels of all textures together: 32 MB at 2 bytes each, or 256 mattes of the largest model.
_KEPT_TEXELS = 1 << 24

# Its stubs know no constructors.
_types: Any = gpu.types

_textures: OrderedDict[ShownMatte, gpu.types.GPUTexture] = OrderedDict()
_screen: gpu.types.GPUOffScreen | None = None


def texture_of(matte: ShownMatte) -> gpu.types.GPUTexture:
    """The matte's values as a float texture, its first row the matte's uppermost."""
    texture = _textures.get(matte)
    if texture is None:
        rows, columns = matte.values.shape
        flat = np.ascontiguousarray(matte.values, dtype=np.float32).ravel()
        data = _types.Buffer("FLOAT", flat.size, flat)
        texture = _textures[matte] = _types.GPUTexture((columns, rows), format="R16F", data=data)
        while sum(kept.values.size for kept in _textures) > _KEPT_TEXELS and len(_textures) > 1:
            _textures.popitem(last=False)
    _textures.move_to_end(matte)
    return texture


def off_screen(width: int, height: int) -> gpu.types.GPUOffScreen:
    """A picture of that size in px to draw into."""
    global _screen
    if _screen is None or (_screen.width, _screen.height) != (width, height):
        _screen = None
        _screen = _types.GPUOffScreen(width, height, format="RGBA8")
    return _screen


def drop() -> None:
    """Let go of everything; a later drawing makes it again."""
    global _screen
    _textures.clear()
    _screen = None
