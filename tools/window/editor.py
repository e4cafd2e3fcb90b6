# SPDX-License-Identifier: GPL-3.0-or-later
"""The Clip Editor in Blender's window, and pictures of it. Runs inside Blender."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

_PATIENCE = 60.0


@dataclass(frozen=True)
class Until:
    """What a step of a scenario waits for.

    Attributes
    ----------
    holds
        The condition.
    what
        The condition in words, for the error message.
    seconds
        How long to wait, s.
    """

    holds: Callable[[], object]
    what: str
    seconds: float = _PATIENCE


Play = Iterator[Until]


def manager() -> bpy.types.WindowManager:
    """What holds Blender's windows and its clipboard."""
    found = bpy.context.window_manager
    assert found is not None
    return found


@dataclass
class _Draws:
    """Count how often the Clip Editor was drawn."""

    count: int = 0

    def __call__(self) -> None:
        self.count += 1


@dataclass
class Editor:
    """The large Clip Editor of Blender's window.

    Attributes
    ----------
    folder
        The folder for results and other files of the scenario.
    seen
        The contents of `seen.json`.
    """

    folder: Path
    seen: dict[str, Any] = field(default_factory=dict)
    _draws: _Draws = field(default_factory=_Draws)

    @property
    def area(self) -> bpy.types.Area:
        """The Clip Editor, or the largest area, which will become it."""
        areas = manager().windows[0].screen.areas
        return max(areas, key=lambda area: area.width * area.height)

    @property
    def space(self) -> Any:
        """The settings of the Clip Editor."""
        return self.area.spaces.active

    @property
    def clip(self) -> Any:
        """The clip in the editor, if any; with properties of the add-on, which no stub has."""
        return getattr(self.space, "clip", None)

    def region(self, kind: str = "WINDOW") -> bpy.types.Region:
        """One region of the Clip Editor."""
        return next(region for region in self.area.regions if region.type == kind)

    def middle(self, region: bpy.types.Region | None = None) -> tuple[int, int]:
        """The middle of a region, in window pixels; by default of the largest region of the editor."""
        of = region or self.region()
        return of.x + of.width // 2, of.y + of.height // 2

    def drawn(self) -> Play:
        """Wait until the editor was drawn twice more: then changes are on the screen."""
        before = self._draws.count

        def twice() -> bool:
            others = [area for window in manager().windows[1:] for area in window.screen.areas]
            for area in (self.area, *others):
                area.tag_redraw()
            return self._draws.count >= before + 2

        yield Until(twice, "the Clip Editor is drawn")

    def note(self, **facts: object) -> None:
        """Add facts for the test that started the scenario."""
        self.seen.update(facts)

    def leave_seen(self) -> None:
        """Write `seen.json`."""
        text = json.dumps(self.seen, indent=1)
        (self.folder / "seen.json").write_text(text, encoding="utf-8")

    def picture(self, name: str) -> Play:
        """Take a picture of the window, and note where the photo is on it."""
        yield from self.drawn()
        target = self.folder / f"{name}.png"
        shown = subprocess.run(["import", "-window", "root", str(target)], check=False)
        assert shown.returncode == 0, "no picture of the screen could be taken"
        pictures = self.seen.setdefault("pictures", {})
        pictures[name] = {"photo": self._photo_on_screen(), "editor": self._box(self.region())}

    def _photo_on_screen(self) -> list[float] | None:
        """Left, top, right, bottom of the whole photo, in pixels of the picture."""
        if self.clip is None:
            return None
        region = self.region()
        # The inverse function of Blender gives only whole px.
        u0, v0 = region.view2d.region_to_view(0.0, 0.0)
        u1, v1 = region.view2d.region_to_view(region.width, region.height)
        across, up = region.width / (u1 - u0), region.height / (v1 - v0)
        left, low = region.x - u0 * across, region.y - v0 * up
        tall = manager().windows[0].height
        return [left, tall - (low + up), left + across, tall - low]

    @staticmethod
    def _box(region: bpy.types.Region) -> list[float]:
        tall = manager().windows[0].height
        return [
            region.x,
            tall - (region.y + region.height),
            region.x + region.width,
            tall - region.y,
        ]
