# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands to use Blender's window with, as a user would; runs inside Blender, imports bpy.

A scenario is a file with a generator function `scenario(window)`. It yields conditions: the play goes
on as soon as one holds, and fails, naming it, when it does not in time. Mouse and keys go in as events,
so that Blender's own tools and keymaps answer them. What the play saw is left in the folder: pictures of
the window, and `seen.json`, which says where on them the photo is.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

_PATIENCE = 30.0
# Px between two places where a button is looked for; none is lower than that.
_STEP = 12
# Debian's own, with python-xlib.
_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Until:
    """What a step of the play waits for.

    Attributes
    ----------
    holds
        The condition.
    what
        The condition in words, for when it does not come true.
    seconds
        How long to wait for it.
    """

    holds: Callable[[], object]
    what: str
    seconds: float = _PATIENCE


Play = Iterator[Until]


@dataclass
class _Draws:
    """Counts how often the Clip Editor was drawn."""

    count: int = 0

    def __call__(self) -> None:
        self.count += 1


@dataclass
class Window:
    """Blender's window with one large Clip Editor, and hands to use it with.

    Attributes
    ----------
    folder
        Where the play leaves what it saw, and may keep files of its own.
    seen
        What goes to `seen.json`.
    """

    folder: Path
    seen: dict[str, Any] = field(default_factory=dict)
    _draws: _Draws = field(default_factory=_Draws)
    _at: tuple[int, int] | None = None

    # What there is.

    @property
    def area(self) -> bpy.types.Area:
        """The Clip Editor, or what is to become it: the largest area."""
        areas = bpy.context.window_manager.windows[0].screen.areas
        return max(areas, key=lambda area: area.width * area.height)

    @property
    def space(self) -> Any:
        """The Clip Editor's settings."""
        return self.area.spaces.active

    @property
    def clip(self) -> bpy.types.MovieClip:
        """The clip that the editor shows."""
        return self.space.clip

    def region(self, kind: str = "WINDOW") -> bpy.types.Region:
        """One region of the Clip Editor."""
        return next(region for region in self.area.regions if region.type == kind)

    def addon(self, module: str) -> Any:
        """One of the add-on's own modules, such as `running`."""
        names = [entry.module for entry in bpy.context.preferences.addons]
        package = next(name for name in names if name.endswith(".sam2_splat"))
        return importlib.import_module(f"{package}.blender.{module}")

    def tracks(self) -> list[bpy.types.MovieTrackingTrack]:
        """The clicks and boxes of the active object."""
        return list(self.clip.tracking.objects.active.tracks)

    @property
    def look(self) -> Any:
        """How masks and clicks are shown."""
        return bpy.context.scene.sam2_splat

    def has_mask(self) -> bool:
        """Whether a mask lies over the frame that is shown, from a preview or a propagation."""
        overlay, editors = self.addon("overlay"), self.addon("editors")
        return any(True for _ in overlay._shown(self.clip, editors.clip_frame(self.space)))

    def note(self, **facts: object) -> None:
        """Leave facts for the test that started the play."""
        self.seen.update(facts)

    # What to wait for.

    def open(self) -> Play:
        """Make the largest area a Clip Editor whose sidebar shows the add-on's tab."""
        self.area.type = "CLIP_EDITOR"
        self.space.show_region_ui = True
        self.space.show_region_toolbar = False
        bpy.types.SpaceClipEditor.draw_handler_add(self._draws, (), "WINDOW", "POST_PIXEL")
        # Before the first draw the sidebar's tab is read-only and the view has no size.
        yield from self.drawn()
        sidebar: Any = self.region("UI")
        sidebar.active_panel_category = "SAM2 Splat"
        yield from self.drawn()

    def drawn(self) -> Play:
        """Wait until the editor has been drawn twice more: what changed is on the screen then."""
        before = self._draws.count

        def twice() -> bool:
            for region in self.area.regions:
                region.tag_redraw()
            return self._draws.count >= before + 2

        yield Until(twice, "the Clip Editor is drawn")

    def idle(self, seconds: float = 400.0) -> Play:
        """Wait until no task of the add-on runs."""
        running = self.addon("running")
        yield Until(lambda: running.current() is None, "the running task ends", seconds)

    # What to do.

    def run(self, operator: str, **properties: object) -> set[str]:
        """Run an operator in the Clip Editor as its button would; `sam2_splat.` may be left out."""
        group, _, name = operator.rpartition(".")
        call = getattr(getattr(bpy.ops, group or "sam2_splat"), name)
        with bpy.context.temp_override(
            window=bpy.context.window_manager.windows[0],
            area=self.area,
            region=self.region(),
            space_data=self.space,
        ):
            # With an undo step of its own, which a call from Python goes without.
            answer: set[str] = call("INVOKE_DEFAULT", True, **properties)
        return answer

    def load(self, photos: Path) -> Play:
        """Load photos and show the whole of the first."""
        self.run("load", filepath=str(photos))
        yield from self.loaded(photos)
        yield from self.drawn()
        self.run("clip.view_all", fit_view=True)
        yield from self.drawn()

    def loaded(self, photos: Path) -> Play:
        """Wait until the editor shows the photos of a folder."""

        def shown() -> bool:
            return self.clip is not None and self.clip.sam2_splat.footage_folder == str(photos)

        running = self.addon("running")
        yield Until(lambda: running.current() is None and shown(), f"{photos.name} are loaded")

    def settled_preview(self) -> Play:
        """Wait until the preview answers the clicks as they are now."""
        live = self.addon("live_preview")
        # The clicks are looked at a few times a second; until then the last answer counts.
        noticed = time.monotonic() + 1.0
        yield Until(
            lambda: time.monotonic() > noticed and not live.is_busy() and self.has_mask(),
            "the preview shows a mask",
            120,
        )
        yield from self.drawn()

    def go_to(self, frame: int) -> Play:
        """Move the playhead."""
        bpy.context.scene.frame_current = frame
        yield from self.drawn()

    def to_end(self, operator: str) -> Play:
        """Run an operator that starts a task, such as `propagate`, and wait for the task's end."""
        answer = self.run(operator)
        assert "CANCELLED" not in answer, f"{operator} does not begin: {answer}"
        yield from self.idle()
        yield from self.drawn()

    def point_at(self, x: float, y: float) -> Generator[Until, None, tuple[int, int]]:
        """Move the mouse over a pixel of the photo (origin top left); gives window pixels."""
        width, height = self.clip.size
        region = self.region()
        across, up = region.view2d.view_to_region(x / width, 1 - y / height, clip=False)
        at = (int(region.x + across), int(region.y + up))
        self.send("MOUSEMOVE", "NOTHING", at)
        yield from self.drawn()
        return at

    def click(self, x: float, y: float, **modifiers: bool) -> Play:
        """Click on a pixel of the photo; modifiers as in `ctrl=True`."""
        at = yield from self.point_at(x, y)
        yield from self.strike("LEFTMOUSE", at, modifiers)

    def ctrl_click(self, x: float, y: float) -> Play:
        """Make a click as Blender does by itself, a track of the active object."""
        before = len(self.tracks())
        yield from self.click(x, y, ctrl=True)
        yield Until(lambda: len(self.tracks()) == before + 1, "Ctrl+click makes a track")

    def drag(self, start: tuple[float, float], end: tuple[float, float], **modifiers: bool) -> Play:
        """Press on a pixel of the photo, move to another and let go there."""
        at = yield from self.point_at(*start)
        self.send("LEFTMOUSE", "PRESS", at, modifiers)
        yield from self.drawn()
        for share in (0.25, 0.5, 0.75, 1.0):
            x, y = (a + (b - a) * share for a, b in zip(start, end, strict=True))
            at = yield from self.point_at(x, y)
        self.send("LEFTMOUSE", "RELEASE", at, modifiers)
        yield from self.drawn()

    def send(
        self,
        key: str,
        value: str,
        at: tuple[int, int],
        modifiers: dict[str, bool] | None = None,
    ) -> None:
        """Tell Blender of one event of the mouse or a key, at window pixels; it is handled later."""
        self._at = at
        simulate: Any = bpy.context.window_manager.windows[0].event_simulate
        simulate(type=key, value=value, x=at[0], y=at[1], **(modifiers or {}))

    def strike(
        self, key: str, at: tuple[int, int], modifiers: dict[str, bool] | None = None
    ) -> Play:
        """Press a key or a button of the mouse somewhere in the window, and let it go."""
        for value in ("PRESS", "RELEASE"):
            self.send(key, value, at, modifiers)
            yield from self.drawn()

    def press(self, key: str, **modifiers: bool) -> Play:
        """Press a key with the mouse where it is, over the middle of the editor at first."""
        region = self.region()
        at = self._at or (region.x + region.width // 2, region.y + region.height // 2)
        if self._at is None:
            self.send("MOUSEMOVE", "NOTHING", at)
            yield from self.drawn()
        yield from self.strike(key, at, modifiers)

    def button(
        self, operator: str, near: int | None = None
    ) -> Generator[Until, None, tuple[int, int]]:
        """Find an operator's button in the sidebar, for `propagate` or `load(filepath=`, say.

        Gives window pixels. The mouse goes over the sidebar, from above or from a height where the
        button may be, until Blender says that the button under it is that one.
        """
        sidebar = self.region("UI")
        called = f"bpy.ops.sam2_splat.{operator}" + ("" if "(" in operator else "(")
        across = sidebar.x + sidebar.width // 2
        top = sidebar.y + sidebar.height
        heights = sorted(
            range(top - _STEP, sidebar.y, -_STEP),
            key=lambda height: abs(height - (top if near is None else near)),
        )
        tried: list[tuple[int, int]] = []
        for height in heights:
            tried.append((across, height))
            self.send("MOUSEMOVE", "NOTHING", tried[-1])
            yield Until(lambda: True, "the mouse moves")
            if called not in self._under_mouse(sidebar):
                continue
            # Blender may be some moves of the mouse behind.
            for at in reversed(tried[-4:]):
                self.send("MOUSEMOVE", "NOTHING", at)
                yield from self.drawn()
                if called in self._under_mouse(sidebar):
                    return at
        raise AssertionError(f"the sidebar has no button for {operator}")

    def push(
        self, operator: str, near: int | None = None
    ) -> Generator[Until, None, tuple[int, int]]:
        """Click on the button of an operator in the sidebar; gives where it is."""
        at = yield from self.button(operator, near)
        # At once: while a task runs, what is above it grows and shrinks.
        self.send("LEFTMOUSE", "PRESS", at)
        self.send("LEFTMOUSE", "RELEASE", at)
        yield from self.drawn()
        return at

    def drop(self, *paths: Path) -> Play:
        """Drop files from outside onto the middle of the editor."""
        region = self.region()
        tall = bpy.context.window_manager.windows[0].height
        at = (region.x + region.width // 2, tall - (region.y + region.height // 2))
        command = [_PYTHON, str(Path(__file__).with_name("drop.py")), *map(str, (*at, *paths))]
        # Blender is to answer meanwhile.
        dropper = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        yield Until(lambda: dropper.poll() is not None, "the files are dropped", 120)
        assert dropper.returncode == 0, dropper.communicate()[1]
        yield from self.drawn()

    def quit(self) -> Play:
        """Quit Blender as its menu does, without a question; the play ends with that."""
        self.leave_seen()
        bpy.ops.wm.quit_blender()
        yield Until(lambda: False, "Blender quits")

    def leave_seen(self) -> None:
        """Write `seen.json`."""
        text = json.dumps(self.seen, indent=1)
        (self.folder / "seen.json").write_text(text, encoding="utf-8")

    def scroll(self, kind: str, notches: int) -> Play:
        """Turn the mouse wheel down over a region, such as the sidebar, `UI`."""
        region = self.region(kind)
        at = (region.x + region.width // 2, region.y + region.height // 2)
        self.send("MOUSEMOVE", "NOTHING", at)
        yield from self.drawn()
        for _ in range(notches):
            self.send("WHEELDOWNMOUSE", "PRESS", at)
        yield from self.drawn()

    def picture(self, name: str) -> Play:
        """Take a picture of the window as it is now, and note where the photo is on it."""
        yield from self.drawn()
        target = self.folder / f"{name}.png"
        shown = subprocess.run(["import", "-window", "root", str(target)], check=False)
        assert shown.returncode == 0, "the screen could not be pictured"
        pictures = self.seen.setdefault("pictures", {})
        pictures[name] = {"photo": self._photo_on_screen(), "editor": self._box(self.region())}

    # How it is done.

    def _under_mouse(self, region: bpy.types.Region) -> str:
        """What the button under the mouse would run, as Python; empty when it runs nothing."""
        manager = bpy.context.window_manager
        manager.clipboard = ""
        with bpy.context.temp_override(
            window=manager.windows[0], area=self.area, region=region, space_data=self.space
        ):
            copy: Any = bpy.ops.ui.copy_python_command_button
            if copy.poll():
                copy()
        return str(manager.clipboard)

    def _photo_on_screen(self) -> list[float] | None:
        """Left, top, right, bottom of the whole photo, in the picture's pixels."""
        if self.clip is None:
            return None
        region = self.region()
        # The other way round Blender gives whole px only.
        u0, v0 = region.view2d.region_to_view(0.0, 0.0)
        u1, v1 = region.view2d.region_to_view(region.width, region.height)
        across, up = region.width / (u1 - u0), region.height / (v1 - v0)
        left, low = region.x - u0 * across, region.y - v0 * up
        tall = bpy.context.window_manager.windows[0].height
        return [left, tall - (low + up), left + across, tall - low]

    @staticmethod
    def _box(region: bpy.types.Region) -> list[float]:
        tall = bpy.context.window_manager.windows[0].height
        return [
            region.x,
            tall - (region.y + region.height),
            region.x + region.width,
            tall - region.y,
        ]
