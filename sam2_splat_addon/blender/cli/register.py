# SPDX-License-Identifier: GPL-3.0-or-later
"""Register ``blender --command sam2_splat``."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..context import session_state
from ..context.session_state import SessionPart
from . import batch


@dataclass
class _Command(SessionPart):
    """The command as Blender knows it."""

    handle: object | None = None

    def closes(self) -> None:
        """Remove the command."""
        if self.handle is not None:
            bpy.utils.unregister_cli_command(self.handle)
            self.handle = None


def register() -> None:
    """Add the command. Blender as a Python module takes it too, although it can't run it."""
    # The stub says that it gives nothing.
    handle: object = bpy.utils.register_cli_command("sam2_splat", batch.main)  # type: ignore[func-returns-value]
    session_state.part(_Command).handle = handle
