# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where classes, properties, handlers and commands are registered; imports bpy."""

from __future__ import annotations

import bpy

from . import review_registration
from .cli import register as command_line
from .clip import opening, proxies
from .context import preferences, properties, stored_text, task_runner, worker_session
from .masks import key_macro
from .overlay import draw
from .tasks import live_preview
from .ui import click_tool_ui, keymap, panel_footage, panel_run
from .ui.operators import cache, click, environment, load, objects, run, view

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
    *review_registration.CLASSES,
    *click_tool_ui.CLASSES,
)


def register() -> None:
    """Register everything, in order."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    key_macro.define_macros()
    properties.attach()
    command_line.register()
    draw.register()
    review_registration.register()
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
    review_registration.unregister()
    draw.unregister()
    command_line.unregister()
    properties.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    task_runner.abort_current()
    opening.forget()
    live_preview.forget()
    draw.drop()


@bpy.app.handlers.persistent
def _after_load(*_: object) -> None:
    stored_text.mend_names()
    opening.begin()
