# SPDX-License-Identifier: GPL-3.0-or-later
"""Register all classes, properties, handlers and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import bpy

from .cli import register as command_line
from .clip import clear_results, opening
from .context import changes, console, properties, stored_text
from .context.preferences import console_level
from .masks import key_macro
from .overlay import brush_cursor, draw, video_preview
from .review import frame_strip, list_properties, live_review
from .tasks import live_preview, local_edits
from .translations import catalogue
from .ui import (
    click_sign,
    click_tool_ui,
    keymap,
    menus,
    panel_cameras,
    panel_footage,
    panel_queue,
    panel_review,
    panel_run,
    preferences,
    presets,
)
from .ui.operators import (
    brush,
    cache,
    cameras,
    click,
    copy_report,
    correct,
    environment,
    hold,
    job,
    load,
    objects,
    queue,
    run,
    space,
    view,
)
from .ui.operators import review as review_operators

CLASSES = (
    *properties.CLASSES,
    *preferences.CLASSES,
    *key_macro.CLASSES,
    *load.CLASSES,
    *click.CLASSES,
    *brush.CLASSES,
    *hold.CLASSES,
    *objects.CLASSES,
    *space.CLASSES,
    *view.CLASSES,
    *run.CLASSES,
    *job.CLASSES,
    *queue.CLASSES,
    *environment.CLASSES,
    *cache.CLASSES,
    *cameras.CLASSES,
    *copy_report.CLASSES,
    *presets.CLASSES,
    *panel_footage.CLASSES,
    *panel_cameras.CLASSES,
    *panel_run.CLASSES,
    *panel_queue.CLASSES,
    *list_properties.CLASSES,
    *review_operators.CLASSES,
    *correct.CLASSES,
    *panel_review.CLASSES,
    *click_tool_ui.CLASSES,
    *click_sign.CLASSES,
    *menus.CLASSES,
)


def register() -> None:
    """Register everything, in order."""
    catalogue.register()
    for cls in CLASSES:
        properties.take_properties(cls)
        properties.use_own_words(cls)
        bpy.utils.register_class(cls)
    console.set_level(console_level())
    key_macro.define_macros()
    properties.attach()
    list_properties.attach()
    clear_results.attach()
    command_line.register()
    draw.register()
    brush_cursor.register()
    frame_strip.register()
    video_preview.register()
    click_sign.register()
    local_edits.register()
    live_preview.register()
    live_review.register()
    bpy.types.MASK_MT_mask.append(correct.draw_mask_menu)
    click_tool_ui.register()
    menus.register()
    keymap.register()
    presets.register()
    for handlers, own in _handlers():
        handlers.append(own)


def unregister() -> None:
    """End what runs and unregister everything, in reverse order."""
    for handlers, own in _handlers():
        handlers.remove(own)
    presets.unregister()
    menus.unregister()
    click_tool_ui.unregister()
    bpy.types.MASK_MT_mask.remove(correct.draw_mask_menu)
    live_review.unregister()
    live_preview.unregister()
    local_edits.unregister()
    changes.add_on_ends()
    clear_results.detach()
    list_properties.detach()
    properties.detach()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    catalogue.unregister()


def _handlers() -> Iterator[tuple[list[Any], Callable[..., None]]]:
    """Yield Blender's lists of handlers, each with our handler. See `changes` for what they do."""
    yield bpy.app.handlers.undo_post, _after_undo
    yield bpy.app.handlers.redo_post, _after_undo
    yield bpy.app.handlers.depsgraph_update_post, _after_update
    yield bpy.app.handlers.load_pre, _before_load
    yield bpy.app.handlers.load_post, _after_load


@bpy.app.handlers.persistent
def _after_undo(*_: object) -> None:
    changes.undone()


@bpy.app.handlers.persistent
def _after_update(*_: object) -> None:
    changes.clips_may_be_gone()


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    changes.file_closes()


@bpy.app.handlers.persistent
def _after_load(*_: object) -> None:
    changes.file_opened()
    stored_text.mend_names()
    opening.begin()
