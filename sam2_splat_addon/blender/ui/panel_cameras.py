# SPDX-License-Identifier: GPL-3.0-or-later
"""The Cameras panel in the Clip Editor's sidebar."""

from __future__ import annotations

from bpy.types import Context, Panel, UILayout

from ...client.packages import installer
from ...core.cameras.found import FoundCameras
from ...core.printable import shown
from ..clip import found_cameras
from ..context import preferences, worker_session
from ..context.active_clip import require_clip
from ..context.present import present
from ..tasks.find_cameras_task import expected
from ..translations.catalogue import translated
from . import missing, widgets

_NAMED = 3  # photos without a camera that the panel names


class SAM2SPLAT_PT_cameras(widgets.ClipSidebar, Panel):
    bl_label = "Cameras"
    bl_order = 2  # below Bake, which has to be in sight on a small screen
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Context) -> None:
        layout = present(self.layout)
        clip = require_clip(context)
        found = found_cameras.of_clip(clip)
        if found is not None:
            _draw_found(layout, found)
        widgets.draw_problem(layout, clip, "cameras")
        if widgets.draw_progress(layout, "cameras"):
            return
        if not worker_session.packages_ready():
            layout.label(text="SAM 2 is not installed yet", icon="ERROR")
        elif not worker_session.finds_cameras():
            _draw_install(layout)
        else:
            column = layout.column(align=True)
            column.operator("sam2_splat.find_cameras", icon="VIEW_CAMERA")
            takes = expected(clip, preferences.threads())
            column.label(text=translated(f"It takes {takes}"), icon="TIME")
        column = layout.column(align=True)
        column.operator("sam2_splat.compare", icon="MOD_BOOLEAN")
        column.operator("sam2_splat.agree", icon="CON_FOLLOWTRACK")
        column.operator("sam2_splat.show_in_3d", icon="VIEW3D")


def _draw_found(layout: UILayout, found: FoundCameras) -> None:
    column = layout.column(align=True)
    text = translated(f"{found.placed} of {found.photos} photos have a camera")
    column.label(text=text, icon="ERROR" if found.missing else "CHECKMARK")
    if found.missing:
        column.label(text="Without a camera:")
    for name in found.missing[:_NAMED]:
        column.label(text=shown(name), icon="BLANK1")
    if len(found.missing) > _NAMED:
        more = translated(f"and {len(found.missing) - _NAMED} more")
        column.label(text=more, icon="BLANK1")


def _draw_install(layout: UILayout) -> None:
    column = layout.column()
    if worker_session.online() or missing.has_local_cameras():
        column.operator("sam2_splat.install_cameras", icon="IMPORT")
        column.label(text=translated(f"Downloads {installer.CAMERAS_SIZE}"))
    else:
        missing.draw_offline(column)


CLASSES = (SAM2SPLAT_PT_cameras,)
