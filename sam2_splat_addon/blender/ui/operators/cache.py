# SPDX-License-Identifier: GPL-3.0-or-later
"""Empty the cache from the preferences."""

from __future__ import annotations

import bpy
from bpy.types import Context, Operator

from ....core.errors import SplatError
from ...clip import cache_usage, proxies
from ...context.present import present
from ...context.task_runner import Result, report_error
from ...translations.catalogue import translated_report
from .polls import nothing_runs


class SAM2SPLAT_OT_clear_cache(Operator):
    """Delete links to photos and small copies, and keep photos and masks"""

    bl_idname = "sam2_splat.clear_cache"
    bl_label = "Clear Cache"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: Context) -> bool:
        return nothing_runs(cls)

    def invoke(self, context: Context, event: bpy.types.Event) -> Result:
        return present(context.window_manager).invoke_confirm(self, event)

    def execute(self, context: Context) -> Result:
        try:
            freed = cache_usage.clear()
        except SplatError as error:
            return report_error(self, error)
        proxies.drop_missing()
        self.report({"INFO"}, translated_report(f"{freed / 1e6:.0f} MB deleted"))
        return {"FINISHED"}


CLASSES = (SAM2SPLAT_OT_clear_cache,)
