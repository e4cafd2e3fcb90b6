# SPDX-License-Identifier: GPL-3.0-or-later
"""Registers ``blender --command sam2_splat``."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..context import session_state
from ..context.session_state import SessionPart
from . import batch


@dataclass
class _Command(SessionPart):
    """What Blender knows the command by."""

    handle: object | None = None

    def closes(self) -> None:
        """Take the command away."""
        if self.handle is not None:
            bpy.utils.unregister_cli_command(self.handle)
            self.handle = None


def register() -> None:
    """Add the command; Blender's module takes it too, though it can't run it."""
    # The stub says that it gives nothing.
    handle: object = bpy.utils.register_cli_command("sam2_splat", batch.main)  # type: ignore[func-returns-value]
    session_state.part(_Command).handle = handle
