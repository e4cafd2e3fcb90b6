# SPDX-License-Identifier: GPL-3.0-or-later
"""The *Masking* workspace: a large Clip Editor over a low timeline.

It is made from Blender's own VFX template, so the user's workspaces stay as they are. The workspace
carries a mark, so that it is found again after it was renamed, saved or opened in another file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.types import Area, Window, WorkSpace

from ..context.present import present

_MARK = "sam2_splat_masking"
# The workspace of Blender's VFX template that ours begins as.
_BEGINNING = ("VFX", "Masking")
_NAME = "Masking"


def of_file() -> WorkSpace | None:
    """Return this file's Masking workspace, if it was made already."""
    return next((one for one in bpy.data.workspaces if one.get(_MARK)), None)


def shown_in(window: Window) -> bool:
    """Whether a window shows the Masking workspace, or a copy of it."""
    return bool(present(window.workspace).get(_MARK))


def main_window(context: bpy.types.Context) -> Window:
    """Return the current window, or the first one if the current window is a file browser or the like."""
    windows = present(bpy.context.window_manager).windows
    window: Window | None = context.window
    if window is None or present(window.screen).is_temporary:
        return next((one for one in windows if not present(one.screen).is_temporary), windows[0])
    return window


def window_at(pointer: int) -> Window:
    """Return the open window with a pointer. Raises LookupError if it was closed."""
    windows = present(bpy.context.window_manager).windows
    for window in windows:
        if window.as_pointer() == pointer:
            return window
    raise LookupError("its window was closed")


def show(pointer: int, drawn: Callable[[int, int, str], Iterator[None]]) -> Iterator[None]:
    """Show the Masking workspace in the window with a pointer, in steps. Make it if there is none.

    Blender changes workspaces only between two steps. If Blender has no template to make it from, the
    window's workspace stays. Raises LookupError if the window is closed meanwhile.

    Parameters
    ----------
    drawn
        Waits until a region is drawn: pointer of the window, pointer of the area, kind of the region.
    """
    window = window_at(pointer)
    if shown_in(window):
        return
    found, template = of_file(), _template()
    if found is not None:
        window.workspace = found
    elif template is not None:
        _append(window, template)
    else:
        return
    while not shown_in(window_at(pointer)):
        yield
    if found is None:
        yield from drawn(pointer, editor_in(window_at(pointer)).as_pointer(), "WINDOW")
        _leave_two(window_at(pointer))
        # Blender draws the new layout before it can be changed further.
        yield from drawn(pointer, editor_in(window_at(pointer)).as_pointer(), "WINDOW")
        _finish(window_at(pointer))


def _append(window: Window, template: Path) -> None:
    before = set(bpy.data.workspaces)
    with bpy.context.temp_override(window=window):
        bpy.ops.workspace.append_activate(idname=_BEGINNING[1], filepath=str(template))
    made = next(iter(set(bpy.data.workspaces) - before))
    made[_MARK] = True
    made.name = _NAME


def _leave_two(window: Window) -> None:
    """Leave only the Clip Editor and the timeline of the new workspace."""
    while len(present(window.screen).areas) > len(("editor", "timeline")):
        _close_one(window)


def _finish(window: Window) -> None:
    """Set what the areas show."""
    low = _low_area(window)
    if low.ui_type != "TIMELINE":  # the VFX template has a Dope Sheet there in some versions
        low.ui_type = "TIMELINE"
    space = editor_in(window).spaces.active
    assert isinstance(space, bpy.types.SpaceClipEditor)
    space.show_region_toolbar = False


def editor_in(window: Window) -> Area:
    """Return the largest Clip Editor of a window. Without one, make its largest area one."""
    areas = list(present(window.screen).areas)
    largest = max(areas, key=_size)
    found = max((one for one in areas if one.type == "CLIP_EDITOR"), key=_size, default=None)
    if found is None:
        found = largest
        found.type = "CLIP_EDITOR"
    return found


def _template() -> Path | None:
    """Return the file with the workspace that ours begins as."""
    utils: Any = bpy.utils  # its stub says that this returns nothing
    folders = utils.app_template_paths(path=_BEGINNING[0])
    files = (Path(folder) / "startup.blend" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _close_one(window: Window) -> None:
    """Close an area that is neither the Clip Editor nor the lowest one.

    Blender may put its neighbours into new areas. So no reference to an area outlives this.
    """
    kept = (editor_in(window), _low_area(window))
    area = next(one for one in present(window.screen).areas if one not in kept)
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.screen.area_close()


def _low_area(window: Window) -> Area:
    return min(present(window.screen).areas, key=lambda area: (area.y, area.x))


def _size(area: Area) -> int:
    return area.width * area.height
