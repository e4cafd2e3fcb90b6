# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything of the review that is registered with Blender; imports bpy."""

from __future__ import annotations

import bpy

from .clip import clear_results, matte_run
from .review import frame_strip, list_properties, live_review
from .tasks import local_edits
from .ui import panel_review
from .ui.operators import correct
from .ui.operators import review as review_operators

CLASSES = (
    *list_properties.CLASSES,
    *review_operators.CLASSES,
    *correct.CLASSES,
    *panel_review.CLASSES,
)
# A first look soon, when Blender has come up.
_FIRST_TICK = 0.5  # s


def register() -> None:
    """Begin to watch; called when `CLASSES` are registered."""
    list_properties.attach()
    clear_results.attach()
    frame_strip.register()
    local_edits.register()
    bpy.types.MASK_MT_mask.append(correct.draw_mask_menu)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(_after_undo)
    bpy.app.handlers.load_pre.append(_before_load)
    if not bpy.app.background:
        bpy.app.timers.register(live_review.tick, first_interval=_FIRST_TICK, persistent=True)


def unregister() -> None:
    """Stop watching and leave nothing behind."""
    if bpy.app.timers.is_registered(live_review.tick):
        bpy.app.timers.unregister(live_review.tick)
    bpy.app.handlers.load_pre.remove(_before_load)
    for handlers in (bpy.app.handlers.redo_post, bpy.app.handlers.undo_post):
        handlers.remove(_after_undo)
    bpy.types.MASK_MT_mask.remove(correct.draw_mask_menu)
    local_edits.unregister()
    frame_strip.unregister()
    live_review.clear()
    clear_results.detach()
    list_properties.detach()


@bpy.app.handlers.persistent
def _after_undo(*_: object) -> None:
    for clip in bpy.data.movieclips:
        matte_run.bring_back(clip)
    clear_results.reconcile_undone()
    local_edits.after_undo()
    live_review.doubt_edits()


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    live_review.clear()
    frame_strip.drop()
