# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where classes, properties, handlers and commands are registered; imports bpy."""

from __future__ import annotations

import bpy

from .cli import register as command_line
from .clip import clear_results, matte_run, opening, proxies
from .context import properties, stored_text, task_runner, worker_session
from .masks import key_macro
from .overlay import draw
from .review import frame_strip, list_properties, live_review
from .tasks import live_preview, local_edits
from .ui import click_tool_ui, keymap, panel_footage, panel_review, panel_run, preferences
from .ui.operators import cache, click, correct, environment, load, objects, run, view
from .ui.operators import review as review_operators

_CLASSES = (
    *properties.CLASSES,
    *preferences.CLASSES,
    *key_macro.CLASSES,
    *load.CLASSES,
    *click.CLASSES,
    *objects.CLASSES,
    *view.CLASSES,
    *run.CLASSES,
    *environment.CLASSES,
    *cache.CLASSES,
    *panel_footage.CLASSES,
    *panel_run.CLASSES,
    *list_properties.CLASSES,
    *review_operators.CLASSES,
    *correct.CLASSES,
    *panel_review.CLASSES,
    *click_tool_ui.CLASSES,
)
# The review's first look, s after Blender has come up.
_FIRST_TICK = 0.5


def register() -> None:
    """Register everything, in order."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    key_macro.define_macros()
    properties.attach()
    command_line.register()
    draw.register()
    _begin_review()
    live_preview.register()
    click_tool_ui.register()
    keymap.register()
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.load_post.append(_after_load)


def unregister() -> None:
    """End what runs and unregister everything, in reverse order."""
    task_runner.abort_current()
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.load_pre.remove(_before_load)
    keymap.unregister()
    click_tool_ui.unregister()
    proxies.unregister()
    opening.forget()
    live_preview.unregister()
    worker_session.shut_down()
    _end_review()
    draw.unregister()
    command_line.unregister()
    properties.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)


def _begin_review() -> None:
    list_properties.attach()
    clear_results.attach()
    frame_strip.register()
    local_edits.register()
    bpy.types.MASK_MT_mask.append(correct.draw_mask_menu)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(_after_undo)
    if not bpy.app.background:
        bpy.app.timers.register(live_review.tick, first_interval=_FIRST_TICK, persistent=True)


def _end_review() -> None:
    if bpy.app.timers.is_registered(live_review.tick):
        bpy.app.timers.unregister(live_review.tick)
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
    task_runner.abort_current()
    opening.forget()
    live_preview.forget()
    draw.drop()
    live_review.clear()
    frame_strip.drop()


@bpy.app.handlers.persistent
def _after_load(*_: object) -> None:
    stored_text.mend_names()
    opening.begin()
