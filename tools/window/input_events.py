# SPDX-License-Identifier: GPL-3.0-or-later
"""A mouse and a keyboard for Blender's window. Runs inside Blender.

They send events, so Blender's own tools and keymaps handle them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from tools.window.editor import Editor, Play, Until, manager

# Px between two places where a button is searched; every button is at least this high.
_STEP = 12
# Debian's own Python, with python-xlib.
_PYTHON = "/usr/bin/python3"


@dataclass
class InputEvents(Editor):
    """Mouse and keys over the Clip Editor, or over the window in front of it."""

    _at: tuple[int, int] | None = None

    @property
    def front(self) -> bpy.types.Window:
        """The window that gets mouse and keys: the newest one, such as that of a file browser."""
        return manager().windows[-1]

    def point_at(self, x: float, y: float) -> Generator[Until, None, tuple[int, int]]:
        """Move the mouse over a pixel of the photo (origin top left); returns window pixels."""
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

    def drag(self, start: tuple[float, float], end: tuple[float, float], **modifiers: bool) -> Play:
        """Press on a pixel of the photo, move to another one, and release there."""
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
        """Send Blender one event of the mouse or a key, at window pixels; Blender handles it later."""
        self._at = at
        simulate: Any = self.front.event_simulate
        simulate(type=key, value=value, x=at[0], y=at[1], **(modifiers or {}))

    def strike(
        self, key: str, at: tuple[int, int], modifiers: dict[str, bool] | None = None
    ) -> Play:
        """Press and release a key or a mouse button somewhere in the window."""
        for value in ("PRESS", "RELEASE"):
            self.send(key, value, at, modifiers)
            yield from self.drawn()

    def press(self, key: str, **modifiers: bool) -> Play:
        """Press a key; the mouse stays where it is, at first over the middle of the editor."""
        at = self._at or self.middle()
        if self._at is None:
            self.send("MOUSEMOVE", "NOTHING", at)
            yield from self.drawn()
        yield from self.strike(key, at, modifiers)

    def type(self, text: str) -> Play:
        """Type a text; the mouse stays where it is."""
        assert self._at is not None, "the mouse has no place yet"
        simulate: Any = self.front.event_simulate
        x, y = self._at
        for letter in text:
            # A text field reads only the text, not the key.
            simulate(type="A", value="PRESS", unicode=letter, x=x, y=y)
            simulate(type="A", value="RELEASE", x=x, y=y)
            yield from self.drawn()

    def button(
        self,
        operator: str,
        near: int | None = None,
        *,
        within: bpy.types.Region | None = None,
        across: float = 0.5,
    ) -> Generator[Until, None, tuple[int, int]]:
        """Find the button of an operator, such as `propagate`, `load(filepath=` or `file.execute`.

        Returns window pixels. The mouse moves down over a region, by default the sidebar, at a share of its
        width. It begins at the top, or at a given height. It stops when Blender says that this button is
        under it.
        """
        region = within or self.region("UI")
        group, _, name = operator.rpartition(".") if "(" not in operator else ("", "", operator)
        called = f"bpy.ops.{group or 'sam2_splat'}.{name}" + ("" if "(" in name else "(")
        x = region.x + int(region.width * across)
        top = region.y + region.height
        heights = sorted(
            range(top - _STEP, region.y, -_STEP),
            key=lambda height: abs(height - (top if near is None else near)),
        )
        tried: list[tuple[int, int]] = []
        for height in heights:
            tried.append((x, height))
            self.send("MOUSEMOVE", "NOTHING", tried[-1])
            yield Until(lambda: True, "the mouse moves")
            if called not in self._under_mouse(region):
                continue
            # Blender may still be handling earlier moves of the mouse.
            for at in reversed(tried[-4:]):
                self.send("MOUSEMOVE", "NOTHING", at)
                yield from self.drawn()
                if called in self._under_mouse(region):
                    return at
        raise AssertionError(f"there is no button for {operator}")

    def push(
        self,
        operator: str,
        near: int | None = None,
        *,
        within: bpy.types.Region | None = None,
        across: float = 0.5,
    ) -> Generator[Until, None, tuple[int, int]]:
        """Click on the button of an operator, found as in `button`; returns its place."""
        at = yield from self.button(operator, near, within=within, across=across)
        # At once: while a task runs, the panel above it changes its size.
        self.send("LEFTMOUSE", "PRESS", at)
        self.send("LEFTMOUSE", "RELEASE", at)
        yield from self.drawn()
        return at

    def drop(self, *paths: Path) -> Play:
        """Drop files from outside onto the middle of the editor."""
        across, up = self.middle()
        down = manager().windows[0].height - up
        dropping = Path(__file__).with_name("drop.py")
        command = [_PYTHON, *map(str, (dropping, across, down, *paths))]
        # Blender must be able to answer in between.
        dropper = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        yield Until(lambda: dropper.poll() is not None, "the files are dropped", 120)
        assert dropper.returncode == 0, dropper.communicate()[1]
        yield from self.drawn()

    def scroll(self, kind: str, notches: int) -> Play:
        """Turn the mouse wheel over a region, such as the sidebar, `UI`: down, or up if negative."""
        at = self.middle(self.region(kind))
        self.send("MOUSEMOVE", "NOTHING", at)
        yield from self.drawn()
        for _ in range(abs(notches)):
            self.send("WHEELDOWNMOUSE" if notches > 0 else "WHEELUPMOUSE", "PRESS", at)
        yield from self.drawn()

    def _under_mouse(self, region: bpy.types.Region) -> str:
        """Return what the button under the mouse would run, as Python; empty if nothing."""
        manager().clipboard = ""
        area = next(area for area in self.front.screen.areas if region in area.regions.values())
        with bpy.context.temp_override(
            window=self.front, area=area, region=region, space_data=area.spaces.active
        ):
            copy: Any = bpy.ops.ui.copy_python_command_button
            if copy.poll():
                copy()
        return str(manager().clipboard)
