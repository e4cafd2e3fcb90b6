# SPDX-License-Identifier: GPL-3.0-or-later
"""Show a clip that was just loaded: its first photo as a whole, our tab in front, the click tool on.

Blender draws between these steps. Before a region was drawn it has no tabs and no view, and Blender 4.3
crashes if a script asks for its tab. So a timer takes the steps, and they wait for draws.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import bpy
from bpy.types import Area, Context, MovieClip, Region, SpaceClipEditor, Window

from ..clip import markers, proxies
from ..context import console, properties, session_state
from ..context.active_clip import clip_by_uid
from ..context.editors import clip_editor_of
from ..context.frame_view import FrameView
from ..context.present import present
from ..context.session_state import SessionPart
from . import masking_workspace
from .widgets import Sidebar

_TICK = 0.03  # s between two steps
_TIMEOUT = 10.0  # s; a window that is hidden is never drawn
# The share of the free width that the photo gets if the sidebar would cover it.
_SHARE = 0.98


@dataclass
class _Showing(SessionPart):
    """The steps that are still to be taken.

    Attributes
    ----------
    until
        When to give up, in monotonic seconds.
    drawn
        The regions of Clip Editors that were drawn, by their pointers.
    handles
        Blender's handles of what notes these draws.
    """

    of_file: ClassVar[bool] = True
    steps: Iterator[None] | None = None
    until: float = 0.0
    drawn: set[int] = field(default_factory=set)
    handles: dict[str, Any] = field(default_factory=dict)

    def closes(self) -> None:
        """Take no further step."""
        self.steps = None
        for kind, handle in self.handles.items():
            bpy.types.SpaceClipEditor.draw_handler_remove(handle, kind)
        self.handles.clear()
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)


def show_clip(context: Context, clip: MovieClip) -> None:
    """Show a loaded clip where the user can click on it at once, and set the scene's range to it.

    A Clip Editor in the window shows it. Without one, the *Masking* workspace opens. If the editor shows
    the clip already, its frame and its view stay.
    """
    scene = present(context.scene)
    scene.frame_start = clip.frame_start
    scene.frame_end = clip.frame_start + properties.of_clip(clip).frame_count - 1
    # Scripts have no editor. The operators then use the scene's clip.
    scene.active_clip = clip
    if bpy.app.background:
        space = clip_editor_of(context)
        if space is not None:
            space.clip = clip
        return
    if not markers.subjects(clip):
        markers.subject_to_click(clip)
        markers.sync_objects(clip)
    properties.of_window(context.window_manager).use_tool = True
    window = masking_workspace.main_window(context)
    area = _editor_to_use(context, window)
    is_shown = area is not None and _space(area).clip == clip
    if not (is_shown and scene.frame_start <= scene.frame_current <= scene.frame_end):
        scene.frame_current = clip.frame_start
    if area is not None:
        _space(area).clip = clip
        _show_copies(window, area, clip)  # now, so that it is part of the undo step of loading
    pointer = area.as_pointer() if area is not None else 0
    _begin(_shown(window.as_pointer(), pointer, clip.session_uid, fits=not is_shown))


def show_workspace(context: Context) -> None:
    """Show the *Masking* workspace in the window, with our tab in front."""
    window = masking_workspace.main_window(context)
    _begin(_shown(window.as_pointer(), 0, 0, fits=False))


def is_busy() -> bool:
    """Whether a clip or the workspace is being shown."""
    showing = session_state.known(_Showing)
    return showing is not None and showing.steps is not None


def _begin(steps: Iterator[None]) -> None:
    session_state.drop(_Showing)
    showing = session_state.part(_Showing)
    showing.steps, showing.until = steps, time.monotonic() + _TIMEOUT
    for kind in ("WINDOW", "UI"):
        showing.handles[kind] = bpy.types.SpaceClipEditor.draw_handler_add(
            _note_draw, (), kind, "POST_PIXEL"
        )
    bpy.app.timers.register(_tick, first_interval=0.0)


def _note_draw() -> None:
    session_state.part(_Showing).drawn.add(present(bpy.context.region).as_pointer())


def _drawn(window_at: int, area_at: int, kind: str) -> Iterator[None]:
    """Wait until a region of an area is drawn anew."""
    drawn = session_state.part(_Showing).drawn
    drawn.clear()
    while True:
        area = _area(window_at, area_at)
        if _region(area, kind).as_pointer() in drawn:
            return
        area.tag_redraw()
        yield


def _tick() -> float | None:
    showing = session_state.part(_Showing)
    if showing.steps is None:
        return None
    try:
        next(showing.steps)
    except StopIteration:
        showing.steps = None
    except (LookupError, RuntimeError) as error:  # the user closed the window or the area meanwhile
        console.log.warning(f"The photos could not be shown: {error}.")
        showing.steps = None
    if showing.steps is not None and time.monotonic() < showing.until:
        return _TICK
    session_state.drop(_Showing)
    return None


def _editor_to_use(context: Context, window: Window) -> Area | None:
    """Return the current Clip Editor, or the window's largest one, if it may show another clip."""
    if clip_editor_of(context) is not None:
        return context.area
    found = [
        area
        for area in present(window.screen).areas
        if area.type == "CLIP_EDITOR" and _is_free(_space(area))
    ]
    return max(found, key=lambda area: area.width * area.height, default=None)


def _is_free(space: SpaceClipEditor) -> bool:
    """Whether an editor shows no clip, or one of ours. Others are the user's camera tracking."""
    if space.view != "CLIP":
        return False
    return space.clip is None or bool(properties.of_clip(space.clip).footage_folder)


def _shown(window_at: int, area_at: int, uid: int, *, fits: bool) -> Iterator[None]:
    """Take the steps. Windows and areas are looked up in each, because they may be closed meanwhile.

    Parameters
    ----------
    window_at, area_at
        Pointers of the window and its Clip Editor. An editor of 0 means the Masking workspace.
    uid
        Session uid of the clip to show. 0 shows none.
    fits
        Whether to show the whole photo.
    """
    opens_workspace = not area_at
    if opens_workspace:
        yield from masking_workspace.show(window_at, _drawn)
        area = masking_workspace.editor_in(masking_workspace.window_at(window_at))
        area_at = area.as_pointer()
    area = _area(window_at, area_at)
    space = _space(area)
    clip = clip_by_uid(uid)
    if clip is not None:
        space.clip = clip
    space.mode, space.view = "TRACKING", "CLIP"
    # A click is muted on all other frames. Hide muted tracks, so that it shows on its own frame only.
    space.show_disabled = False
    space.show_region_ui = True
    yield from _drawn(window_at, area_at, "UI")
    clip, area = clip_by_uid(uid), _area(window_at, area_at)
    window = masking_workspace.window_at(window_at)
    if clip is not None and fits:
        with _in_editor(window, area):
            _fit(area, clip)
    if clip is not None and opens_workspace and proxies.is_wanted(clip):
        _show_copies(window, area, clip)
        # Otherwise the user's next Ctrl+Z would undo it, because a timer makes no undo step.
        with _in_editor(window, area):
            bpy.ops.ed.undo_push(message="Small Copies")
    while not _takes_tab(_region(_area(window_at, area_at), "UI")):
        yield from _drawn(window_at, area_at, "UI")


def _in_editor(window: Window, area: Area) -> Any:
    """Return a context in which operators work on a Clip Editor."""
    return bpy.context.temp_override(
        window=window, area=area, region=_region(area, "WINDOW"), space_data=_space(area)
    )


def _show_copies(window: Window, area: Area, clip: MovieClip) -> None:
    """Let an editor show small copies of large photos."""
    if proxies.is_wanted(clip):
        with _in_editor(window, area):
            proxies.begin(bpy.context, clip)


def _takes_tab(sidebar: Region) -> bool:
    """Bring our tab to the front. Return False before the sidebar was drawn."""
    region: Any = sidebar  # the stubs of Blender 4.2 have no tabs
    if sidebar.width <= 1:
        return False
    try:
        region.active_panel_category = Sidebar.bl_category
    except (AttributeError, TypeError):  # it is read-only without tabs
        return False
    return bool(region.active_panel_category == Sidebar.bl_category)


def _fit(area: Area, clip: MovieClip) -> None:
    """Show the whole photo, beside the sidebar and the toolbar. The context has the editor."""
    bpy.ops.clip.view_all(fit_view=True)
    if not present(bpy.context.preferences).system.use_region_overlap:
        return
    region = _region(area, "WINDOW")
    covered = {kind: _region(area, kind).width for kind in ("TOOLS", "UI")}
    left = covered["TOOLS"] if _space(area).show_region_toolbar else 0
    free = region.width - left - covered["UI"]
    view = FrameView.of(region, clip)
    wide = view.width * view.zoom
    if wide > _SHARE * free > 0:
        bpy.ops.clip.view_zoom_ratio(ratio=view.zoom * _SHARE * free / wide)
    view = FrameView.of(region, clip)
    (begin, _), (end, _) = view.to_region(0.0, 0.0), view.to_region(view.width, view.height)
    if begin < left or end > left + free:
        beside = (begin + end) / 2 - (left + free / 2)
        bpy.ops.clip.view_pan(offset=(beside / view.zoom, 0.0))


def _area(window_at: int, at: int) -> Area:
    for area in present(masking_workspace.window_at(window_at).screen).areas:
        if area.as_pointer() == at:
            return area
    raise LookupError("its editor was closed")


def _region(area: Area, kind: str) -> Region:
    return next(one for one in area.regions if one.type == kind)


def _space(area: Area) -> SpaceClipEditor:
    space = area.spaces.active
    assert isinstance(space, SpaceClipEditor)
    return space
