# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw masks and clicks over the photo in the Clip Editor.

This is a draw handler of the editor, so renders don't show it. It reads from `clip/matte_cache.py` and
changes no data-block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import bpy
import gpu
from gpu_extras.batch import batch_for_shader
from mathutils import Matrix

from ...core.geometry.bake_preview import SOFT_LOGIT, feather_sigma
from ...core.geometry.coordinates import marker_to_pixel
from ...core.settings import ROLES
from ...core.targets import TARGETS
from ..clip import hover, hull_outline, markers, matte_cache, painting, preview_key
from ..clip.matte_cache import ShownMatte
from ..context import preferences, properties, session_state
from ..context.editors import clip_editor_of, clip_frame
from ..context.frame_view import FrameView
from ..context.present import present
from ..context.properties import SAM2SPLAT_PG_clip, SAM2SPLAT_PG_object
from ..context.session_state import SessionPart
from . import bake_look, shaders, textures

# From this zoom on (px of the screen for one px of the photo), the mask is shown pixel by pixel, as it
# will be baked. Below, it has a smooth edge.
_PIXELS_FROM = 4.0
# Half the width of the outline in the coloured view, in px of the screen.
_LINE = 0.75
_CHECKER = 8.0
_POINT_RADIUS = 7.0
# What the shader shows, by the name of the view.
_MODES = {"matte": 0.0, "cutout": 1.0, "trainer": 2.0}
_OF_ROLE = {
    "keep": (1.0, 0.0, 0.0, 1.0),
    "remove": (0.0, 1.0, 0.0, 1.0),
    "ignore": (0.0, 0.0, 1.0, 1.0),
}


@dataclass
class DrawHandle(SessionPart):
    """Blender's handle of our drawing."""

    handle: Any = None

    def closes(self) -> None:
        """Stop drawing."""
        if self.handle is not None:
            bpy.types.SpaceClipEditor.draw_handler_remove(self.handle, "WINDOW")
            self.handle = None


@dataclass
class Rubber:
    """The box that the user drags, in px of the photo, and its clip."""

    uid: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass
class Drag(SessionPart):
    """The box or the line that the click tool shows while the user drags.

    Attributes
    ----------
    line
        The places of a stroke, px of the photo, and whether it includes. Its clip is in ``line_uid``.
    """

    of_file: ClassVar[bool] = True
    rubber: Rubber | None = None
    line: list[tuple[float, float]] = field(default_factory=list)
    line_uid: int = 0
    includes: bool = True


@dataclass
class Before(SessionPart):
    """Whether the masks before the last corrections are shown, while a key is held."""

    of_file: ClassVar[bool] = True
    is_shown: bool = False


def register() -> None:
    """Start to draw."""
    if not bpy.app.background:
        session_state.part(DrawHandle).handle = bpy.types.SpaceClipEditor.draw_handler_add(
            _draw, (), "WINDOW", "POST_PIXEL"
        )


def _draw() -> None:
    context = bpy.context
    space = present(clip_editor_of(context))
    region = present(context.region)
    if space.clip is None or space.view != "CLIP" or not space.clip.size[0]:
        return
    # From Blender 5.0 on the editor has a switch for everything that is drawn over the photo.
    overlays: Any = getattr(space, "overlay", None)
    if overlays is not None and not overlays.show_overlays:
        return
    clip, look = space.clip, properties.of_scene(context.scene)
    view = FrameView.of(region, clip)
    if look.show_overlay:
        frame = clip_frame(space)
        settings = properties.of_clip(clip)
        close_up = _close_up(region, view, settings)
        entries = _baked(clip) if look.overlay_mode == "trainer" else _visible(clip)
        found = list(_shown(clip, frame, close_up, entries))
        shown = list(_as_baked(found, (view.width, view.height), settings))
        if look.overlay_mode == "color":
            _draw_colors(region, view, shown, settings, look.overlay_opacity)
        elif shown:
            _draw_union(region, view, shown, settings, look.overlay_mode, _keeps_subjects(clip))
        if look.show_hull:
            _draw_hulls(clip, frame, view)
        if look.show_clicks:
            _draw_clicks(clip, frame, view)
    rubber = session_state.part(Drag).rubber
    if rubber is not None and rubber.uid == clip.session_uid:
        _draw_box(view, (rubber.x0, rubber.y0, rubber.x1, rubber.y1), (1.0, 1.0, 1.0))
    drag = session_state.part(Drag)
    if len(drag.line) > 1 and drag.line_uid == clip.session_uid:
        tone = (1.0, 1.0, 1.0) if drag.includes else preferences.exclude_color()
        _draw_line([view.to_region(*place) for place in drag.line], tone)


def _close_up(
    region: bpy.types.Region, view: FrameView, settings: Any
) -> tuple[matte_cache.Part, float] | None:
    """Return what is seen of the photo, and the zoom, if masks by the user should be filled for it."""
    part = view.seen(region)
    # The bake's options for holes and specks look at the whole mask.
    if part is None or settings.fill_holes_px or settings.drop_specks_px:
        return None
    if not matte_cache.needs_close_up(view.width, view.height, view.zoom):
        return None
    return part, view.zoom


def _shown(
    clip: bpy.types.MovieClip,
    frame: int,
    close_up: tuple[matte_cache.Part, float] | None = None,
    entries: Iterable[tuple[str, SAM2SPLAT_PG_object]] | None = None,
) -> Iterator[tuple[ShownMatte, SAM2SPLAT_PG_object]]:
    """Return the mattes of some objects, by default of all visible ones, with their data."""
    settings = properties.of_clip(clip)
    prompts = markers.on_frame(clip, frame)
    for name, entry in _visible(clip) if entries is None else entries:
        if session_state.part(Before).is_shown:
            matte = matte_cache.before_of(clip, entry.object_id, name, frame)
            if matte is not None:
                yield matte, entry
            continue
        running = painting.shown(clip, entry.object_id, frame) or hover.shown(clip, name, frame)
        matte = running or matte_cache.matte_of(
            clip,
            entry.object_id,
            name,
            frame,
            prompts.get(name),
            preview_key.of_clip(settings),
            close_up,
        )
        if matte is not None:
            yield matte, entry


def _subjects(clip: bpy.types.MovieClip) -> Iterator[tuple[str, SAM2SPLAT_PG_object]]:
    names = {markers.subject_name(entry) for entry in markers.subjects(clip)}
    for entry in properties.of_clip(clip).objects:
        if entry.name in names:
            yield entry.name, entry


def _visible(clip: bpy.types.MovieClip) -> Iterator[tuple[str, SAM2SPLAT_PG_object]]:
    return ((name, entry) for name, entry in _subjects(clip) if entry.show)


def _baked(clip: bpy.types.MovieClip) -> Iterator[tuple[str, SAM2SPLAT_PG_object]]:
    return ((name, entry) for name, entry in _subjects(clip) if entry.use_in_bake)


def _keeps_subjects(clip: bpy.types.MovieClip) -> bool:
    """Whether a bake keeps some subject. If not, it keeps the whole scene."""
    return any(entry.role == "keep" for _, entry in _baked(clip))


def _as_baked(
    shown: Sequence[tuple[ShownMatte, SAM2SPLAT_PG_object]],
    size: tuple[int, int],
    settings: SAM2SPLAT_PG_clip,
) -> Iterator[tuple[ShownMatte, SAM2SPLAT_PG_object]]:
    """Yield the mattes as the bake makes them, role by role as it lays them over each other."""
    for role in ROLES:
        of_role = [(matte, entry) for matte, entry in shown if entry.role == role]
        mattes = bake_look.baked([matte for matte, _ in of_role], size, settings)
        yield from zip(mattes, (entry for _, entry in of_role), strict=True)


def _draw_colors(
    region: bpy.types.Region,
    view: FrameView,
    shown: Sequence[tuple[ShownMatte, SAM2SPLAT_PG_object]],
    settings: SAM2SPLAT_PG_clip,
    opacity: float,
) -> None:
    gpu.state.blend_set("ALPHA")
    for matte, entry in shown:
        red, green, blue = entry.color
        color = (red, green, blue, opacity)
        _draw_matte(region, view, matte, color, settings, _LINE, _grow(entry, settings))
    gpu.state.blend_set("NONE")


def _draw_union(
    region: bpy.types.Region,
    view: FrameView,
    shown: Sequence[tuple[ShownMatte, SAM2SPLAT_PG_object]],
    settings: SAM2SPLAT_PG_clip,
    mode: str,
    keeps_subjects: bool,
) -> None:
    """Draw all mattes off the screen, then all together over the photo, with the bake's edge.

    Off the screen red is kept, green is removed and blue is ignored, each drawn over those before.
    """
    screen = textures.off_screen(region.width, region.height)
    # Blender's stubs wrongly say that these calls return nothing.
    with screen.bind():  # type: ignore[func-returns-value, attr-defined]
        framebuffer: Any = gpu.state.active_framebuffer_get()  # type: ignore[call-arg, func-returns-value]
        framebuffer.clear(color=(0.0 if keeps_subjects else 1.0, 0.0, 0.0, 0.0))
        with gpu.matrix.push_pop(), gpu.matrix.push_pop_projection():  # type: ignore[func-returns-value, attr-defined]
            gpu.matrix.load_identity()
            gpu.matrix.load_projection_matrix(_pixel_projection(region.width, region.height))
            gpu.state.blend_set("ALPHA")
            for matte, entry in shown:
                color = _OF_ROLE[entry.role]
                _draw_matte(region, view, matte, color, settings, 0.0, _grow(entry, settings))
    shader = shaders.union()
    shader.bind()
    shader.uniform_float("place", (*view.scale, *view.offset))
    # In px of the photo, which may be shown smaller or larger.
    zoom = next((_view_of(view, one).zoom for one, _ in shown if one.size), view.zoom)
    blur = feather_sigma(settings.feather_px) * zoom
    square = _CHECKER * _ui_scale()
    shader.uniform_float("look", (_MODES[mode], square, float(settings.invert), blur))
    target = next((target for target in TARGETS if target.name in settings.targets), TARGETS[0])
    hatches_all = target.masked == "ignored"
    shader.uniform_float("hatch", (float(hatches_all), float(target.can_ignore), 0.0, 0.0))
    shader.uniform_sampler("coverage", screen.texture_color)
    _draw_rectangle(shader, _on_screen(region, view))
    gpu.state.blend_set("NONE")


def _draw_matte(
    region: bpy.types.Region,
    view: FrameView,
    matte: ShownMatte,
    color: tuple[float, float, float, float],
    settings: SAM2SPLAT_PG_clip,
    line: float,
    grow: float,
) -> None:
    """Draw one object's matte, with its edge moved by ``grow`` and softened as the bake settings say."""
    view = _view_of(view, matte)
    shader = shaders.matte()
    shader.bind()
    as_pixels = float(view.zoom >= _PIXELS_FROM)
    shader.uniform_float("place", (*view.scale, *view.offset))
    shader.uniform_float("color", color)
    shader.uniform_float(
        "footage", (float(view.width), float(view.height), as_pixels, line * _ui_scale())
    )
    shader.uniform_float("grow", grow)
    soft = settings.alpha == "soft" and bake_look.is_soft(matte)
    shader.uniform_float("soft", SOFT_LOGIT if soft else 0.0)
    shader.uniform_sampler("logits", textures.texture_of(matte))
    _draw_rectangle(shader, _on_screen(region, view))


def _view_of(view: FrameView, matte: ShownMatte) -> FrameView:
    """Return the view of what a matte covers."""
    return view if matte.part is None else view.of_part(matte.part, matte.size)


def _grow(entry: SAM2SPLAT_PG_object, settings: SAM2SPLAT_PG_clip) -> float:
    """Return how far a matte's edge moves outwards: growing what is kept shrinks what is taken out."""
    return settings.grow_px if entry.role == "keep" else -settings.grow_px


def _on_screen(region: bpy.types.Region, view: FrameView) -> tuple[float, float, float, float]:
    """Return the part of the region that shows the photo: left, low, right, high, px."""
    left, high = view.to_region(0.0, 0.0)
    right, low = view.to_region(float(view.width), float(view.height))
    return (
        max(0.0, left - 1.0),
        max(0.0, low - 1.0),
        min(float(region.width), right + 1.0),
        min(float(region.height), high + 1.0),
    )


def _draw_rectangle(shader: gpu.types.GPUShader, bounds: tuple[float, float, float, float]) -> None:
    left, low, right, high = bounds
    if left < right and low < high:
        corners = ((left, low), (right, low), (left, high), (right, high))
        batch_for_shader(shader, "TRI_STRIP", {"pos": corners}).draw(shader)


def _draw_hulls(clip: bpy.types.MovieClip, frame: int, view: FrameView) -> None:
    """Draw where the hulls of the visible subjects are on the photo."""
    for _, entry in _visible(clip):
        color = (entry.color[0], entry.color[1], entry.color[2])
        for outline in hull_outline.on_frame(clip, entry.object_id, frame):
            _draw_line([view.to_region(*place) for place in (*outline, outline[0])], color)


def _draw_clicks(clip: bpy.types.MovieClip, frame: int, view: FrameView) -> None:
    """Draw boxes, then clicks as discs with a plus or a minus."""
    names = dict(_visible(clip))
    marks: list[tuple[tuple[float, float], bool, tuple[float, float, float]]] = []
    for tracking_object in markers.subjects(clip):
        entry = names.get(markers.subject_name(tracking_object))
        if entry is None:
            continue
        color = (entry.color[0], entry.color[1], entry.color[2])
        for track, marker in markers.markers_on(tracking_object, frame):
            if markers.is_box(track):
                box = markers.box_of(marker, view.width, view.height)
                _draw_box(view, (box.x0, box.y0, box.x1, box.y1), color)
                continue
            at = marker_to_pixel(marker.co[0], marker.co[1], view.width, view.height)
            exclude = markers.excludes(track)
            marks.append((at, exclude, preferences.exclude_color() if exclude else color))
    gpu.state.blend_set("ALPHA")
    shader = shaders.point()
    radius = _POINT_RADIUS * _ui_scale()
    for at, exclude, color in marks:
        x, y = view.to_region(*at)
        shader.bind()
        shader.uniform_float("mark", (x, y, radius, float(not exclude)))
        shader.uniform_float("color", (*color, 1.0))
        reach = radius * 1.5
        _draw_rectangle(shader, (x - reach, y - reach, x + reach, y + reach))
    gpu.state.blend_set("NONE")


def _draw_box(
    view: FrameView,
    box: tuple[float, float, float, float],
    color: tuple[float, float, float],
) -> None:
    """Draw a box, given in px of the photo."""
    x0, y0 = view.to_region(box[0], box[1])
    x1, y1 = view.to_region(box[2], box[3])
    _draw_line(((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)), color)


def _draw_line(places: Sequence[tuple[float, float]], color: tuple[float, float, float]) -> None:
    """Draw a line through places of the region, px: a dark line with a bright line on it."""
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    batch = batch_for_shader(shader, "LINE_STRIP", {"pos": places})
    gpu.state.blend_set("ALPHA")
    shader.bind()
    viewport: Any = gpu.state.viewport_get()  # type: ignore[func-returns-value]  # as above
    shader.uniform_float("viewportSize", viewport[2:])
    for width, tone in ((3.5, (0.0, 0.0, 0.0, 0.6)), (1.5, (*color, 1.0))):
        shader.uniform_float("lineWidth", width * _ui_scale())
        shader.uniform_float("color", tone)
        batch.draw(shader)
    gpu.state.blend_set("NONE")


def _pixel_projection(width: int, height: int) -> Matrix:
    """Return the projection in which units are px of a picture, from its bottom left."""
    return Matrix(
        (
            (2.0 / width, 0.0, 0.0, -1.0),
            (0.0, 2.0 / height, 0.0, -1.0),
            (0.0, 0.0, -1.0, 0.0),
            (0.0, 0.0, 0.0, 1.0),
        )
    )


def _ui_scale() -> float:
    return float(present(bpy.context.preferences).system.ui_scale)
