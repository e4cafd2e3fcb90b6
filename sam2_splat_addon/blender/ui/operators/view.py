# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that show, hide and change the overlay."""

from __future__ import annotations

from bpy.types import Context, Operator

from ...context import editors, properties
from ...context.properties import OVERLAY_ITEMS
from ...context.task_runner import Result


class SAM2SPLAT_OT_toggle_masks(Operator):
    """Show or hide the masks over the photo"""

    bl_idname = "sam2_splat.toggle_masks"
    bl_label = "Show or Hide Masks"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        look = properties.of_scene(context.scene)
        look.show_overlay = not look.show_overlay
        editors.redraw()
        return {"FINISHED"}


class SAM2SPLAT_OT_next_view(Operator):
    """Change between colour, black-and-white, cut-out and what the trainer uses"""

    bl_idname = "sam2_splat.next_view"
    bl_label = "Next View of Masks"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        look = properties.of_scene(context.scene)
        names = [name for name, _, _ in OVERLAY_ITEMS]
        look.overlay_mode = names[(names.index(look.overlay_mode) + 1) % len(names)]
        editors.redraw()
        return {"FINISHED"}


CLASSES = (SAM2SPLAT_OT_toggle_masks, SAM2SPLAT_OT_next_view)
