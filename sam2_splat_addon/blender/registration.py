# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where classes, properties, handlers and commands are registered; imports bpy."""

from __future__ import annotations

import bpy

from . import (
    command_line,
    footage_proxy,
    key_writing,
    keymap,
    live_preview,
    opening,
    overlay,
    panels,
    panels_run,
    panels_tool,
    preferences,
    properties,
    review_registration,
    running,
    stored,
    worker,
)
from .operators import cache, click, environment, load, objects, run, view

_CLASSES = (
    *properties.CLASSES,
    *preferences.CLASSES,
    *key_writing.CLASSES,
    *load.CLASSES,
    *click.CLASSES,
    *objects.CLASSES,
    *view.CLASSES,
    *run.CLASSES,
    *environment.CLASSES,
    *cache.CLASSES,
    *panels.CLASSES,
    *panels_run.CLASSES,
    *review_registration.CLASSES,
    *panels_tool.CLASSES,
)


def register() -> None:
    """Register everything, in order."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    key_writing.define_macro()
    properties.attach()
    command_line.register()
    overlay.register()
    review_registration.register()
    live_preview.register()
    panels_tool.register()
    keymap.register()
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.load_post.append(_after_load)


def unregister() -> None:
    """End what runs and unregister everything, in reverse order."""
    running.abort_current()
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.load_pre.remove(_before_load)
    keymap.unregister()
    panels_tool.unregister()
    footage_proxy.unregister()
    opening.forget()
    live_preview.unregister()
    worker.shut_down()
    review_registration.unregister()
    overlay.unregister()
    command_line.unregister()
    properties.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)


@bpy.app.handlers.persistent
def _before_load(*_: object) -> None:
    running.abort_current()
    opening.forget()
    live_preview.forget()
    overlay.drop()


@bpy.app.handlers.persistent
def _after_load(*_: object) -> None:
    stored.mend_names()
    opening.begin()
