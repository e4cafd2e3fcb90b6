# SPDX-License-Identifier: GPL-3.0-or-later
"""The mattes of a frame after the bake's options, kept as long as they are shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ...core.geometry.bake_preview import soft_band, tidied
from ...core.system.lru import Lru
from ..clip.matte_cache import ShownMatte
from ..context import session_state
from ..context.properties import SAM2SPLAT_PG_clip
from ..context.session_state import SessionPart

# About this many frames are kept. Each is as large as the mattes it was made from.
_KEPT = 24

_Key = tuple[tuple[ShownMatte, ...], tuple[int, int], bool, int, int]


@dataclasses.dataclass
class _Baked(SessionPart):
    of_file: ClassVar[bool] = True
    frames: Lru[_Key, tuple[ShownMatte, ...]] = dataclasses.field(
        default_factory=lambda: Lru(_KEPT)
    )


def baked(
    mattes: Sequence[ShownMatte], size: tuple[int, int], settings: SAM2SPLAT_PG_clip
) -> tuple[ShownMatte, ...]:
    """Fill holes, drop specks and make a soft edge, as the options say.

    The shaders grow, feather and invert.

    Parameters
    ----------
    size
        The photo's width and height, px, if the mattes have no own size.
    """
    fill, drop = int(settings.fill_holes_px), int(settings.drop_specks_px)
    soft = settings.alpha == "soft"
    # During a stroke of the brush, or close up, a matte covers only a part of the photo.
    in_part = any(matte.part is not None and matte.size is None for matte in mattes)
    if in_part or not (fill or drop or soft):
        return tuple(mattes)
    size = next((matte.size for matte in mattes if matte.size is not None), size)

    def made() -> tuple[ShownMatte, ...]:
        values = [
            soft_band(matte.values) if soft and is_soft(matte) else matte.values for matte in mattes
        ]
        tidy = tidied(values, size, fill_px=fill, drop_px=drop, soft=soft)
        return tuple(
            matte
            if one is matte.values
            else dataclasses.replace(matte, values=one.astype(np.float16))
            for matte, one in zip(mattes, tidy, strict=True)
        )

    key = (tuple(mattes), size, soft, fill, drop)
    return session_state.part(_Baked).frames.made(key, made)


def is_soft(matte: ShownMatte) -> bool:
    """Whether a matte can have a soft edge. What the user drew has a hard one."""
    return matte.source != "edited"
