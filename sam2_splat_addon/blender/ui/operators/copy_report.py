# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy a report for those who help."""

from __future__ import annotations

from bpy.types import Context, Operator

from ...context.present import present
from ...context.task_runner import Result
from ..help_report import report


class SAM2SPLAT_OT_copy_report(Operator):
    """Copy versions, settings, errors and the last lines of the log, without private paths"""

    bl_idname = "sam2_splat.copy_report"
    bl_label = "Copy Report"
    bl_options = {"INTERNAL"}

    def execute(self, context: Context) -> Result:
        present(context.window_manager).clipboard = report()
        self.report({"INFO"}, "The report is copied. Paste it where you ask for help")
        return {"FINISHED"}


CLASSES = (SAM2SPLAT_OT_copy_report,)
