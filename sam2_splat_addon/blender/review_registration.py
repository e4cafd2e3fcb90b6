# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything of the review that is registered with Blender; imports bpy."""

from __future__ import annotations

import bpy

from . import clearing, local_edits, own_runs, panels_review, review, review_list, review_strip
from .operators import correct
from .operators import review as review_operators

CLASSES = (
    *review_list.CLASSES,
    *review_operators.CLASSES,
    *correct.CLASSES,
    *panels_review.CLASSES,
)
# A first look soon, when Blender has come up.
_FIRST_TICK = 0.5  # s


def register() -> None:
    """Begin to watch; called when `CLASSES` are registered."""
    review_list.attach()
    clearing.attach()
    review_strip.register()
    local_edits.register()
    bpy.types.MASK_MT_mask.append(correct.draw_mask_menu)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(_after_undo)
    bpy.app.handlers.load_pre.append(_before_load)
    if not bpy.app.background:
        bpy.app.timers.register(review.tick, first_interval=_FIRST_TICK, persistent=True)


def unregister() -> None:
    """Stop watching and leave nothing behind."""
    if bpy.app.timers.is_registered(review.tick):
        bpy.app.timers.unregister(review.tick)
    bpy.app.handlers.load_pre.remove(_before_load)
    for handlers in (bpy.app.handlers.redo_post, bpy.app.handlers.undo_post):
        handlers.remove(_after_undo)
    bpy.types.MASK_MT_mask.remove(correct.draw_mask_menu)
    local_edits.unregister()
    review_strip.unregister()
    review.clear()
    clearing.detach()
    review_list.detach()


@bpy.app.handlers.persistent
def _after_undo(*_: object) -> None:
    for clip in bpy.data.movieclips:
        own_runs.bring_back(clip)
    clearing.reconcile_undone()
    local_edits.after_undo()
    review.doubt_edits()


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    review.clear()
    review_strip.drop()
