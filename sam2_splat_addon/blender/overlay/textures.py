# SPDX-License-Identifier: GPL-3.0-or-later
"""The textures and the off-screen picture that the overlay draws with.

They stay as long as they are shown, up to a limit. They are dropped when another file is opened,
because they must not outlive the window's graphics context.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import gpu
import numpy as np

from ...core.system.lru import Lru
from ..clip.matte_cache import ShownMatte
from ..context import session_state
from ..context.session_state import SessionPart

# Most texels of all textures together: 32 MB at 2 bytes each, or 256 mattes of the largest model.
_KEPT_TEXELS = 1 << 24

# Blender's stubs have no constructors for these.
_types: Any = gpu.types


def _textures() -> Lru[ShownMatte, gpu.types.GPUTexture]:
    return Lru(_KEPT_TEXELS, lambda matte, _: int(matte.values.size))


@dataclass
class _OnCard(SessionPart):
    of_file: ClassVar[bool] = True
    textures: Lru[ShownMatte, gpu.types.GPUTexture] = field(default_factory=_textures)
    screen: gpu.types.GPUOffScreen | None = None


def texture_of(matte: ShownMatte) -> gpu.types.GPUTexture:
    """Return the matte's values as a float texture. Its first row is the matte's top row."""

    def made() -> gpu.types.GPUTexture:
        rows, columns = matte.values.shape
        flat = np.ascontiguousarray(matte.values, dtype=np.float32).ravel()
        data = _types.Buffer("FLOAT", flat.size, flat)
        texture: gpu.types.GPUTexture = _types.GPUTexture((columns, rows), format="R16F", data=data)
        return texture

    return session_state.part(_OnCard).textures.made(matte, made)


def off_screen(width: int, height: int) -> gpu.types.GPUOffScreen:
    """Return a picture of a size in px, to draw into."""
    on_card = session_state.part(_OnCard)
    screen = on_card.screen
    if screen is None or (screen.width, screen.height) != (width, height):
        on_card.screen = None  # drop it first, so that there are never two
        screen = on_card.screen = _types.GPUOffScreen(width, height, format="RGBA8")
    return screen
