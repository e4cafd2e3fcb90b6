# SPDX-License-Identifier: GPL-3.0-or-later
"""When the operators' buttons are greyed out, and why."""

from __future__ import annotations

from typing import Any

from bpy.types import Context

from ...context import properties, task_runner
from ...context.active_clip import active_clip, is_linked
from ...context.editors import clip_editor_of


def nothing_runs(cls: Any) -> bool:
    """Whether no task runs. If one does, the operator's class ``cls`` gets a message."""
    if task_runner.current() is not None:
        cls.poll_message_set("Wait for the running task or cancel it")
        return False
    return True


def in_clip_editor(cls: Any, context: Context) -> bool:
    """Whether the current editor is a Clip Editor."""
    if clip_editor_of(context) is None:
        cls.poll_message_set("Go to a Movie Clip Editor")
        return False
    return True


def own_clip(cls: Any, context: Context) -> bool:
    """Whether there is a clip that can be changed."""
    clip = active_clip(context)
    if clip is None:
        cls.poll_message_set("Load photos first")
        return False
    if is_linked(clip):
        cls.poll_message_set(
            "This clip is linked from another file. Make it local or open that file"
        )
        return False
    return True


def has_clip(cls: Any, context: Context) -> bool:
    """Whether there is a clip that can be changed, and no task runs."""
    return own_clip(cls, context) and nothing_runs(cls)


def has_masks(cls: Any, context: Context, otherwise: str) -> bool:
    """Whether there is a clip with masks and no task runs. ``otherwise`` is the message without masks."""
    clip = active_clip(context)
    if clip is None or properties.of_clip(clip).mask is None:
        cls.poll_message_set(otherwise)
        return False
    return has_clip(cls, context)
