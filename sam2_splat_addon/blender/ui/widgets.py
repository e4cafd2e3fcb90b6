# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that several panels of the sidebar draw, such as the last problem and a running task."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from bpy.types import Context, MovieClip, UILayout

from ...client.packages import installer
from ...client.packages.torch_build import BUILDS
from ...client.worker.job import describe_silence
from ...core.errors import CameraError, PackageError
from ..context import preferences, properties, task_runner, worker_session
from ..context.active_clip import active_clip
from ..context.last_error import PanelName
from ..tasks import live_preview
from ..tasks.job_task import JobTask
from ..translations.catalogue import translated
from . import error_panel, missing

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import RegionTypeItems, SpaceTypeItems

# What stays on one line: a word, or one Chinese or Japanese letter, with the punctuation after it.
_PIECE = re.compile(
    r" ?(?:[\u3040-\u30ff\u3400-\u9fff]|[^ \u3000-\u30ff\u3400-\u9fff\uff00-\uff60]+|.)"
    r"[\u3001\u3002\u300d\u300f\u30fc\uff01\uff09\uff0c\uff1a\uff1b\uff1f]*"
)
_LETTERS = 28  # that fit on a line of the sidebar, beside an icon


class Sidebar:
    """A panel in the add-on's tab of the sidebar."""

    # Blender 5.2 evaluates a panel's annotations, and only its stubs have these types.
    if TYPE_CHECKING:
        bl_space_type: SpaceTypeItems
        bl_region_type: RegionTypeItems
    bl_space_type = "CLIP_EDITOR"
    bl_region_type = "UI"
    bl_category = "SAM2 Splat"


class ClipSidebar(Sidebar):
    """A panel that needs a clip."""

    @classmethod
    def poll(cls, context: Context) -> bool:
        """Show the panel when there is a clip."""
        return active_clip(context) is not None


def draw_problem(layout: UILayout, clip: MovieClip | None, panel: PanelName) -> None:
    """Draw what went wrong last with a panel's buttons, and what helps."""
    if task_runner.current() is not None:
        return
    problem = error_panel.current(panel, clip)
    if problem is None:
        return
    box = layout.box().column()
    box.use_property_split = False
    row = box.row()
    lines = wrapped(problem.sentence, _LETTERS)
    row.label(text=lines[0], icon="ERROR")
    row.operator("sam2_splat.copy_report", text="", icon="COPYDOWN", emboss=False)
    row.operator("sam2_splat.dismiss", text="", icon="X", emboss=False).panel = panel
    for line in lines[1:]:
        box.label(text=line)
    if panel == "install" and not worker_session.packages_ready():
        return  # the button stands above
    if panel == "cameras" and issubclass(problem.kind, CameraError | PackageError):
        return  # the button stands below
    error_panel.draw_fix(box, problem, properties.of_clip(clip) if clip is not None else None)


def draw_preview_problem(layout: UILayout) -> None:
    """Say why the newest clicks have no mask, with the button that starts SAM 2 anew."""
    if task_runner.current() is None and live_preview.problem():
        box = layout.box().column()
        _draw_lines(box, live_preview.problem())
        box.operator("sam2_splat.restart_worker", icon="FILE_REFRESH")


def draw_progress(layout: UILayout, panel: PanelName) -> bool:
    """Draw the bar and the Cancel button of a panel's task. Return False when it runs none."""
    task = task_runner.current()
    if task is None or task_runner.panel() not in (panel, None):
        return False
    column = layout.column(align=True)
    column.progress(factor=task.fraction, text=f"{translated(task.title)} {task.fraction:.0%}")
    if isinstance(task, JobTask) and task.silence:
        _draw_lines(column, f"{describe_silence(task.silence)}.")
        row = column.row(align=True)
        row.operator("sam2_splat.cancel", icon="CANCEL")
        row.operator("sam2_splat.restart_worker", text="Restart", icon="FILE_REFRESH")
        return True
    # The sidebar is narrow. One line says what runs and on which frame, the next says how fast and how long.
    parts = task.sentence.split(", ")
    for words in (parts[:2], parts[2:]):
        if words:
            column.label(text=translated(", ".join(words)))
    column.operator("sam2_splat.cancel", icon="CANCEL")
    return True


def _draw_lines(column: UILayout, sentence: str) -> None:
    """Draw a warning in as many labels as it needs."""
    first, *rest = wrapped(sentence, _LETTERS)
    column.label(text=first, icon="ERROR")
    for line in rest:
        column.label(text=line)


def wrapped(text: str, width: int) -> list[str]:
    """Translate a sentence and break it into lines, since Blender's labels don't wrap.

    A line has at most ``width`` letters. A Chinese or Japanese letter counts as two.
    """
    lines = [""]
    for piece in _PIECE.findall(" ".join(translated(text).split())):
        if lines[-1] and _width(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] = lines[-1] + piece if lines[-1] else piece.lstrip()
    return lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def draw_environment(layout: UILayout) -> None:
    """Say when SAM 2 is not installed, and draw the button that installs it, or its progress."""
    if worker_session.packages_ready():
        draw_problem(layout, None, "install")
        return
    box = layout.box().column()
    if not draw_progress(box, "install"):
        missing.draw_packages(box)
    draw_problem(box, None, "install")


def draw_torch(layout: UILayout) -> None:
    """Say which build of PyTorch is installed, and offer the chosen build if it is another."""
    wish = preferences.torch_build()
    stamp = installer.read_stamp(preferences.packages_folder())
    if stamp is None:
        return
    build = BUILDS.get(stamp.torch)
    box = layout.box().column()
    said = f"Installed for {build.title}" if build else "Installed as the standard build"
    box.label(text=translated(said))
    if wish not in ("auto", stamp.torch) and worker_session.online():
        box.operator("sam2_splat.install_packages", text="Install This One", icon="IMPORT")
        draw_progress(box, "install")
