# SPDX-License-Identifier: GPL-3.0-or-later
"""A mouse and a keyboard for Blender's window; runs inside Blender, imports bpy.

They go in as events, so that Blender's own tools and keymaps answer them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from tools.window.editor import Editor, Play, Until

# Px between two places where a button is looked for; none is lower than that.
_STEP = 12
# Debian's own, with python-xlib.
_PYTHON = "/usr/bin/python3"


@dataclass
class InputEvents(Editor):
    """Mouse and keys over the Clip Editor, or over the window that lies in front of it."""

    _at: tuple[int, int] | None = None

    @property
    def front(self) -> bpy.types.Window:
        """The window that gets mouse and keys: the newest, such as a file browser's."""
        return bpy.context.window_manager.windows[-1]

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
        simulate: Any = self.front.event_simulate
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
        at = self._at or self.middle()
        if self._at is None:
            self.send("MOUSEMOVE", "NOTHING", at)
            yield from self.drawn()
        yield from self.strike(key, at, modifiers)

    def type(self, text: str) -> Play:
        """Type a text with the mouse where it is."""
        assert self._at is not None, "the mouse is nowhere"
        simulate: Any = self.front.event_simulate
        x, y = self._at
        for letter in text:
            # Which key it is does not matter to a text field.
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
        """Find an operator's button, for `propagate` or `load(filepath=` or `file.execute`, say.

        Gives window pixels. The mouse goes over a region, the sidebar when none is given, from above or
        from a height where the button may be, at a share of its width, until Blender says that the
        button under it is that one.
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
            # Blender may be some moves of the mouse behind.
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
        """Click on an operator's button, found as `button` does; gives where it is."""
        at = yield from self.button(operator, near, within=within, across=across)
        # At once: while a task runs, what is above it grows and shrinks.
        self.send("LEFTMOUSE", "PRESS", at)
        self.send("LEFTMOUSE", "RELEASE", at)
        yield from self.drawn()
        return at

    def drop(self, *paths: Path) -> Play:
        """Drop files from outside onto the middle of the editor."""
        across, up = self.middle()
        down = bpy.context.window_manager.windows[0].height - up
        dropping = Path(__file__).with_name("drop.py")
        command = [_PYTHON, *map(str, (dropping, across, down, *paths))]
        # Blender is to answer meanwhile.
        dropper = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        yield Until(lambda: dropper.poll() is not None, "the files are dropped", 120)
        assert dropper.returncode == 0, dropper.communicate()[1]
        yield from self.drawn()

    def scroll(self, kind: str, notches: int) -> Play:
        """Turn the mouse wheel over a region, such as the sidebar, `UI`: down, or up when negative."""
        at = self.middle(self.region(kind))
        self.send("MOUSEMOVE", "NOTHING", at)
        yield from self.drawn()
        for _ in range(abs(notches)):
            self.send("WHEELDOWNMOUSE" if notches > 0 else "WHEELUPMOUSE", "PRESS", at)
        yield from self.drawn()

    def _under_mouse(self, region: bpy.types.Region) -> str:
        """What the button under the mouse would run, as Python; empty when it runs nothing."""
        manager = bpy.context.window_manager
        manager.clipboard = ""
        area = next(area for area in self.front.screen.areas if region in area.regions.values())
        with bpy.context.temp_override(
            window=self.front, area=area, region=region, space_data=area.spaces.active
        ):
            copy: Any = bpy.ops.ui.copy_python_command_button
            if copy.poll():
                copy()
        return str(manager.clipboard)
