# SPDX-License-Identifier: GPL-3.0-or-later
"""Registers ``blender --command sam2_splat``; imports bpy."""

from __future__ import annotations

import bpy

from . import batch

_handle: object | None = None


def register() -> None:
    """Add the command; Blender's module takes it too, though it can't run it."""
    global _handle
    _handle = bpy.utils.register_cli_command("sam2_splat", batch.main)


def unregister() -> None:
    """Take the command away."""
    global _handle
    if _handle is not None:
        bpy.utils.unregister_cli_command(_handle)
        _handle = None
