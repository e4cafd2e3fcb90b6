# SPDX-License-Identifier: GPL-3.0-or-later
"""The outline of a subject's hull on each photo, as the last comparison in 3D has left it."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy

from ...core.review.agreement import Agreement, read_agreement
from ...core.system.lru import Lru
from ..context import clip_state
from ..context.clip_state import ClipPart
from . import matte_run, shown

Outline = tuple[tuple[float, float], ...]

_KEPT = 64  # photos
_FEWEST = 6  # numbers of an outline of three points


@dataclass
class _Outlines(ClipPart):
    """What was read, by subject, and the outlines by subject and frame."""

    read: dict[int, Agreement | None] = field(default_factory=dict)
    drawn: Lru[tuple[int, int], tuple[Outline, ...]] = field(default_factory=lambda: Lru(_KEPT))

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        self._forget()

    def photos_changed(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.read.clear()
        self.drawn.clear()


def agreement_of(clip: bpy.types.MovieClip, object_id: int) -> Agreement | None:
    """Return what the last comparison says of a subject; None if there was none."""
    known = clip_state.of(clip).part(_Outlines)
    if object_id not in known.read:
        store = matte_run.known_store(clip)
        known.read[object_id] = read_agreement(store, object_id) if store is not None else None
    return known.read[object_id]


def on_frame(clip: bpy.types.MovieClip, object_id: int, frame: int) -> tuple[Outline, ...]:
    """Return the hull's outlines on a frame, in shown px. Quick enough for a redraw."""

    def made() -> tuple[Outline, ...]:
        agreement = agreement_of(clip, object_id)
        of_frame = agreement.by_frame().get(frame) if agreement is not None else None
        at = shown.reader(clip)(frame)
        return tuple(
            tuple(at.point_to_shown(x, y) for x, y in zip(flat[::2], flat[1::2], strict=True))
            for flat in (of_frame.outlines if of_frame is not None else ())
            if len(flat) >= _FEWEST
        )

    return clip_state.of(clip).part(_Outlines).drawn.made((object_id, frame), made)
