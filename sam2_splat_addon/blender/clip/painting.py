# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint on the mask of one photo: a stroke of the brush, from its first place to the layer.

During a stroke only the part of the photo that the editor shows is painted, at the size of the screen.
So large photos are as fluid as small ones. At the stroke's end the whole photo's canvas gets the same
stroke, and its outlines become the user's mask of this photo.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import EditError
from ...core.geometry.canvas import Canvas, photo_scale
from ...core.geometry.simplify import within
from ...core.geometry.trace import trace_part
from ..context import clip_state, properties, session_state
from ..context.clip_state import ClipPart
from ..context.editors import to_scene
from ..context.session_state import SessionPart
from ..masks import edit_search, keys, layers, own_splines, written_layers
from . import markers, mask_prompts, matte_cache, preview_key
from .matte_cache import Part, ShownMatte

Points = NDArray[np.float64]

# How far outlines may move when they get fewer points, as a share of the photo's longer side: after a
# stroke, and for points to edit (half a px of a matte of 256 px).
_PAINTED = 0.2 / 1024
_FEW = 0.5 / 256
# The same for points to edit in small photos, in px of the photo.
_LEAST_FEW = 0.5
# Nor may they lose the brush's round edge, so the tolerance is at least this many px of the canvas.
_LEAST = 0.75
# Most px that are painted while the mouse moves.
_MOST_SHOWN = 800_000


@dataclass(frozen=True)
class _Line:
    """A straight piece of a stroke, in px of the photo."""

    begin: tuple[float, float]
    end: tuple[float, float]
    radius: float


@dataclass
class Stroke(SessionPart):
    """The running stroke.

    Attributes
    ----------
    place
        The clip's session uid, the subject's id and the frame. None if there is no stroke.
    erases
        Whether it takes away.
    shown
        The part of the photo that is painted while the mouse moves.
    matte
        The same for the overlay. None if it has to be made again.
    outlines
        The mask before the stroke.
    """

    of_file: ClassVar[bool] = True
    place: tuple[int, int, int] | None = None
    erases: bool = False
    matte: ShownMatte | None = None
    shown: Canvas | None = None
    outlines: list[Points] = field(default_factory=list)
    lines: list[_Line] = field(default_factory=list)


@dataclass
class _Painted(ClipPart):
    """The canvas of the last stroke.

    The next stroke goes on from it, because outlines lose a little with each stroke.

    Attributes
    ----------
    place
        The subject's id, the frame, and the checksum of what was drawn from the canvas.
    """

    place: tuple[int, int, int] | None = None
    canvas: Canvas | None = None


def shown(clip: bpy.types.MovieClip, object_id: int, frame: int) -> ShownMatte | None:
    """Return a subject's mask with the running stroke. None if none runs there."""
    stroke = session_state.part(Stroke)
    if stroke.place != (clip.session_uid, object_id, frame) or stroke.shown is None:
        return None
    if stroke.matte is None:
        values = np.where(stroke.shown.pixels, 1.0, -1.0).astype(np.float32)
        stroke.matte = ShownMatte("edited", values, part=stroke.shown.part)
    return stroke.matte


def begin(
    clip: bpy.types.MovieClip, name: str, frame: int, part: Part, zoom: float, *, erases: bool
) -> None:
    """Begin a stroke on a subject's mask.

    Parameters
    ----------
    part
        The part of the photo that the editor shows.
    zoom
        Px of the screen for one px of the photo.
    """
    entry = properties.of_clip(clip).objects[name]
    outlines = outlines_now(clip, name, frame)
    left, top, right, bottom = part
    most = (_MOST_SHOWN / max((right - left) * (bottom - top), 1)) ** 0.5
    stroke = session_state.part(Stroke)
    stroke.place = (clip.session_uid, entry.object_id, frame)
    stroke.erases, stroke.outlines, stroke.lines = erases, outlines, []
    stroke.shown = Canvas.of(outlines, part, min(zoom, most, photo_scale(*clip.size)))


def paint(begin_at: tuple[float, float], end_at: tuple[float, float], radius: float) -> None:
    """Go on with the stroke along a line, in px of the photo."""
    stroke = session_state.part(Stroke)
    stroke.lines.append(_Line(begin_at, end_at, radius))
    if stroke.shown is not None:
        stroke.shown.paint(begin_at, end_at, radius, inside=not stroke.erases)
        stroke.matte = None  # several moves may come between two redraws


def cancel() -> None:
    """Drop the running stroke."""
    session_state.drop(Stroke)


def finish(clip: bpy.types.MovieClip, name: str) -> bool:
    """Put the stroke into the subject's layer, as the user's mask of the photo.

    The playhead must be on the photo. Return whether the stroke has changed the mask. Raises SplatError
    if Blender did not set the key.
    """
    stroke = session_state.part(Stroke)
    assert stroke.place is not None  # `begin` was called
    _, object_id, frame = stroke.place
    width, height = int(clip.size[0]), int(clip.size[1])
    canvas = _canvas(clip, name, frame, stroke.outlines)
    before = canvas.pixels.copy()
    for line in stroke.lines:
        canvas.paint(line.begin, line.end, line.radius, inside=not stroke.erases)
    if np.array_equal(canvas.pixels, before):
        return False
    tolerance = max(_PAINTED * max(width, height), _LEAST / photo_scale(width, height))
    outlines = within([one.points for one in canvas.contours()], tolerance)
    begins = not _has_prompts(clip, object_id)
    mask = layers.get_mask(clip)
    scene_frame = to_scene(clip, frame)
    own_splines.show_alone(mask, clip, name, scene_frame, outlines, is_edit=True)
    kept = clip_state.of(clip).part(_Painted)
    checksum = written_layers.checksum(keys.layer_state(mask.layers[name]))
    kept.place, kept.canvas = (object_id, frame, checksum), canvas
    if outlines and (begins or mask_prompts.has_mask(clip, object_id, frame)):
        # Without a click nothing else says where the subject is.
        mask_prompts.set_from_outlines(clip, object_id, frame, outlines)
    cancel()
    return True


def thin(clip: bpy.types.MovieClip, name: str, frame: int) -> int:
    """Give a subject's mask on the current photo the few points that matter. Return their number.

    It becomes the user's mask only by a later change. Raises SplatError if Blender did not set the key.
    """
    width, height = int(clip.size[0]), int(clip.size[1])
    tolerance = max(_FEW * max(width, height), _LEAST_FEW)
    few = within(outlines_now(clip, name, frame), tolerance)
    mask, scene_frame = layers.get_mask(clip), to_scene(clip, frame)
    is_edit = edit_search.shown_edit(mask, name, scene_frame) is not None
    own_splines.show_alone(mask, clip, name, scene_frame, few, is_edit=is_edit)
    return sum(map(len, few))


def outlines_now(clip: bpy.types.MovieClip, name: str, frame: int) -> list[Points]:
    """Return the outlines of a subject's present mask on the current photo, (n, 2) px each."""
    settings = properties.of_clip(clip)
    size = (int(clip.size[0]), int(clip.size[1]))
    mask, scene_frame = settings.mask, to_scene(clip, frame)
    if mask is not None and edit_search.shown_edit(mask, name, scene_frame) is not None:
        return layers.shown_outlines(mask, name, scene_frame, size)
    matte = matte_cache.matte_of(
        clip,
        settings.objects[name].object_id,
        name,
        frame,
        markers.on_frame(clip, frame).get(name),
        preview_key.of_clip(settings),
    )
    if matte is None:
        return []
    return [one.points for one in trace_part(matte.values, matte.part or (0, 0, *size))]


def require_open(clip: bpy.types.MovieClip, name: str) -> None:
    """Raise EditError if the user has locked the subject's layer."""
    mask = properties.of_clip(clip).mask
    layer = keys.named(mask.layers, name) if mask is not None else None
    written = written_layers.remembered(mask, name) if mask is not None else None
    ours = written is not None and written.locked
    if layer is not None and layer.hide_select and not ours:
        raise EditError(
            f'The mask layer "{name}" is locked.', "Unlock it in the list of mask layers."
        )


def _canvas(clip: bpy.types.MovieClip, name: str, frame: int, outlines: list[Points]) -> Canvas:
    """Return the canvas of the last stroke, if the mask is still the same. Else fill the outlines."""
    kept, mask = clip_state.of(clip).part(_Painted), properties.of_clip(clip).mask
    if kept.canvas is not None and kept.place is not None and mask is not None:
        checksum = edit_search.shown_edit(mask, name, to_scene(clip, frame))
        object_id = properties.of_clip(clip).objects[name].object_id
        if kept.place == (object_id, frame, checksum):
            return kept.canvas
    return Canvas.of_photo(outlines, int(clip.size[0]), int(clip.size[1]))


def _has_prompts(clip: bpy.types.MovieClip, object_id: int) -> bool:
    return any(entry.id == object_id for entry in markers.known_prompts(clip))
