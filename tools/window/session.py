# SPDX-License-Identifier: GPL-3.0-or-later
"""The window of Blender with the add-on, for scenarios. Runs inside Blender.

A scenario is a file with a generator function `scenario(window)`. It yields conditions. The play goes on
as soon as the condition is true. If it is not true in time, the play fails and names it. The results are
in the folder: pictures of the window, and `seen.json`, which says where on them the photo is.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from tools.window.editor import Play, Until, manager
from tools.window.input_events import InputEvents

__all__ = ["Play", "Until", "Window"]


@dataclass
class Window(InputEvents):
    """Blender's window with one large Clip Editor, mouse and keys, and the add-on."""

    # What exists.

    def addon(self, module: str) -> Any:
        """One of the modules of the add-on, such as `running`."""
        preferences = bpy.context.preferences
        assert preferences is not None
        names = [entry.module for entry in preferences.addons]
        package = next(name for name in names if name.endswith(".sam2_splat"))
        return importlib.import_module(f"{package}.blender.{module}")

    def tracks(self) -> list[bpy.types.MovieTrackingTrack]:
        """The clicks and boxes of the active subject."""
        return list(self.clip.tracking.objects.active.tracks)

    @property
    def look(self) -> Any:
        """The display settings of masks and clicks."""
        scene: Any = bpy.context.scene
        return scene.sam2_splat

    def has_mask(self) -> bool:
        """Whether the shown frame has a mask over it, from a preview or a propagation."""
        overlay, editors = self.addon("overlay.draw"), self.addon("context.editors")
        return any(True for _ in overlay._shown(self.clip, editors.clip_frame(self.space)))

    # What to wait for.

    def begin(self) -> Play:
        """Notice when a Clip Editor or a 3D Viewport is drawn, and wait for that."""
        for space in (bpy.types.SpaceClipEditor, bpy.types.SpaceView3D):
            space.draw_handler_add(self._draws, (), "WINDOW", "POST_PIXEL")
        yield from self.drawn()

    def open(self) -> Play:
        """Make the largest area a Clip Editor, with the add-on's tab in its sidebar."""
        self.area.type = "CLIP_EDITOR"
        self.space.show_region_ui = True
        self.space.show_region_toolbar = False
        # Before the first draw, the tab of the sidebar is read-only, and the view has no size.
        yield from self.begin()
        sidebar: Any = self.region("UI")
        sidebar.active_panel_category = "SAM2 Splat"
        yield from self.drawn()

    def idle(self, seconds: float = 400.0) -> Play:
        """Wait until no task of the add-on runs."""
        running = self.addon("context.task_runner")
        yield Until(lambda: running.current() is None, "the running task ends", seconds)

    # What to do.

    def run(self, operator: str, **properties: object) -> set[str]:
        """Run an operator in the Clip Editor as its button does; `sam2_splat.` may be left out."""
        group, _, name = operator.rpartition(".")
        call = getattr(getattr(bpy.ops, group or "sam2_splat"), name)
        with bpy.context.temp_override(
            window=manager().windows[0],
            area=self.area,
            region=self.region(),
            space_data=self.space,
        ):
            # With an undo step, which a call from Python does not make.
            answer: set[str] = call("INVOKE_DEFAULT", True, **properties)
        return answer

    def load(self, photos: Path) -> Play:
        """Load photos, and show the first one completely."""
        self.run("load", filepath=str(photos))
        yield from self.loaded(photos)
        yield from self.drawn()
        self.run("clip.view_all", fit_view=True)
        yield from self.drawn()

    def loaded(self, photos: Path) -> Play:
        """Wait until the editor shows the photos of a folder."""

        def shown() -> bool:
            return self.clip is not None and self.clip.sam2_splat.footage_folder == str(photos)

        running, first_look = self.addon("context.task_runner"), self.addon("ui.first_look")
        yield Until(
            lambda: running.current() is None and shown() and not first_look.is_busy(),
            f"{photos.name} are loaded",
        )

    def settled_preview(self) -> Play:
        """Wait until the preview has answered the present clicks."""
        live = self.addon("tasks.live_preview")
        # The clicks are read a few times per second; until then the last answer counts.
        noticed = time.monotonic() + 1.0
        yield Until(
            lambda: time.monotonic() > noticed and not live.is_busy() and self.has_mask(),
            "the preview shows a mask",
            120,
        )
        yield from self.drawn()

    def go_to(self, frame: int) -> Play:
        """Move the playhead."""
        scene = bpy.context.scene
        assert scene is not None
        scene.frame_current = frame
        yield from self.drawn()

    def to_end(self, operator: str) -> Play:
        """Run an operator that starts a task, such as `propagate`, and wait for the task's end."""
        answer = self.run(operator)
        assert "CANCELLED" not in answer, f"{operator} does not begin: {answer}"
        yield from self.idle()
        yield from self.drawn()

    # How to do things.

    def ctrl_click(self, x: float, y: float) -> Play:
        """Make a click as Blender itself does: a track of the active subject."""
        before = len(self.tracks())
        yield from self.click(x, y, ctrl=True)
        yield Until(lambda: len(self.tracks()) == before + 1, "Ctrl+click makes a track")

    def quit(self) -> Play:
        """Quit Blender as its menu does, without a question; this ends the play."""
        self.leave_seen()
        bpy.ops.wm.quit_blender()
        yield Until(lambda: False, "Blender quits")
