# SPDX-License-Identifier: GPL-3.0-or-later
"""The mattes of a frame as the bake's options make them, kept as long as they show; imports core."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from ...core.geometry.bake_preview import soft_band, tidied
from ..clip.matte_cache import ShownMatte
from ..context.properties import SAM2SPLAT_PG_clip

# Frames, about: each is as large as the mattes it was made of.
_KEPT = 24

_Key = tuple[tuple[ShownMatte, ...], tuple[int, int], bool, int, int]
_kept: OrderedDict[_Key, tuple[ShownMatte, ...]] = OrderedDict()


def baked(
    mattes: Sequence[ShownMatte], size: tuple[int, int], settings: SAM2SPLAT_PG_clip
) -> tuple[ShownMatte, ...]:
    """Mattes with holes filled, specks dropped and a soft edge, as far as the options say so.

    Growing, feathering and inverting are the shaders' work.

    Parameters
    ----------
    size
        The photo's width and height, px.
    """
    fill, drop = int(settings.fill_holes_px), int(settings.drop_specks_px)
    soft = settings.alpha == "soft"
    if not (fill or drop or soft):
        return tuple(mattes)
    key = (tuple(mattes), size, soft, fill, drop)
    if key not in _kept:
        values = [
            soft_band(matte.values) if soft and is_soft(matte) else matte.values for matte in mattes
        ]
        made = tidied(values, size, fill_px=fill, drop_px=drop, soft=soft)
        _kept[key] = tuple(
            matte
            if one is matte.values
            else dataclasses.replace(matte, values=one.astype(np.float16))
            for matte, one in zip(mattes, made, strict=True)
        )
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def is_soft(matte: ShownMatte) -> bool:
    """Whether a matte can have a soft edge: what the user drew is hard."""
    return matte.source != "edited"


def clear() -> None:
    """Forget everything: another file is loaded, or the add-on ends."""
    _kept.clear()
