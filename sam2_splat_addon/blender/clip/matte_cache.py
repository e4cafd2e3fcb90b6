# SPDX-License-Identifier: GPL-3.0-or-later
"""The matte of an object that the overlay shows on a frame, kept in memory.

What the user drew in the mask layer comes first, as in the bake. Then comes the live preview of the
present clicks, then the matte in the store. Files are read once. Code that writes one tells
`context/changes.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import StoreError
from ...core.geometry.canvas import Canvas
from ...core.geometry.rasterize import fill
from ...core.geometry.shown_photo import ShownPhoto
from ...core.mattes.store import MatteScores
from ...core.mattes.unfinished_run import is_void
from ...core.prompts import FramePrompts
from ...core.system.lru import Lru
from ..context import clip_state, console, properties
from ..context.clip_state import ClipPart
from ..context.editors import to_scene
from ..masks import edit_search, layers
from . import preview_key, shown
from .matte_run import is_outdated, known_store, last_run

Source = Literal["preview", "edited", "stored"]
Part = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of the clip's frame, shown px."""

# 256 x 256 float16 each.
_KEPT_STORED = 192
_KEPT_PREVIEWS = 64
# Largest size at which drawn outlines are filled after each change, px.
_EDITED_SIDE = 1024
# They are filled anew for the part that is seen, if one of their px is larger than this on the screen.
_COARSE = 1.5
_KEPT_EDITED = 12


@dataclass(frozen=True, eq=False)
class ShownMatte:
    """A matte to show. It is compared by identity, so that it can be the key of its texture.

    Attributes
    ----------
    source
        Where the matte comes from.
    values
        Shape (h, w), any size, as the clip shows the photo, stretched over it by bilinear interpolation.
        Inside is > 0.
    scores
        The model's scores. None for what the user drew.
    part
        The part of the clip's frame that it covers. None means all of it.
    size
        Width and height of what it covers, in px of the photo. None if they are those of the part: a
        photo of another size than the clip's frames is shown smaller or larger.
    """

    source: Source
    values: NDArray[Any]
    scores: MatteScores | None = None
    part: Part | None = None
    size: tuple[int, int] | None = None


def as_shown(
    clip: bpy.types.MovieClip,
    frame: int,
    source: Source,
    logits: NDArray[Any],
    scores: MatteScores | None,
) -> ShownMatte:
    """Return a matte of a stored photo, (h, w), as the clip shows it."""
    at = shown.of(clip, frame)
    values = np.ascontiguousarray(at.mask_to_shown(logits))
    return ShownMatte(source, values, scores, *_cover_of(at))


def _cover_of(at: ShownPhoto) -> tuple[Part | None, tuple[int, int] | None]:
    """Return part and size of a matte of a whole photo, as `ShownMatte` has them."""
    if at.photo.upright == at.frame:
        return None, None
    return at.part, at.photo.upright


@dataclass(frozen=True)
class _Previewed:
    """A preview, with the prompts and the model that it was made with.

    With ``more`` it is a first answer: a better one follows.
    """

    prompts: FramePrompts
    model: str
    matte: ShownMatte
    more: bool


_Place = tuple[int, int]  # object, frame


@dataclass
class _Mattes(ClipPart):
    """A clip's mattes by object and frame.

    Attributes
    ----------
    previews, stored
        Mattes of the clicks, and of the store. None if the store has no matte.
    earlier
        The previews of the clicks before the last change.
    edited
        What the user drew, with the outlines' checksum.
    void
        Whether a matte belongs to an earlier run, because the last run was not finished.
    """

    previews: Lru[_Place, _Previewed] = field(default_factory=lambda: Lru(_KEPT_PREVIEWS))
    earlier: Lru[_Place, ShownMatte] = field(default_factory=lambda: Lru(_KEPT_PREVIEWS))
    stored: Lru[_Place, ShownMatte | None] = field(default_factory=lambda: Lru(_KEPT_STORED))
    edited: Lru[tuple[_Place, int, Part | None], ShownMatte] = field(
        default_factory=lambda: Lru(_KEPT_EDITED)
    )
    void: dict[_Place, bool] = field(default_factory=dict)

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        self.void.clear()
        # Previews too, because a frame's mask may depend on what was tracked to it.
        for kept in (self.stored, self.previews, self.earlier):
            kept.discard(lambda at: object_id in (None, at[0]) and frame in (None, at[1]))

    def photos_changed(self) -> None:
        self.mattes_changed(None, None)

    def undone(self, clip: bpy.types.MovieClip) -> None:
        self.mattes_changed(None, None)


def matte_of(
    clip: bpy.types.MovieClip,
    object_id: int,
    name: str,
    frame: int,
    prompts: FramePrompts | None,
    model: str,
    close_up: tuple[Part, float] | None = None,
) -> ShownMatte | None:
    """Return the matte to show. None if there is none.

    Parameters
    ----------
    object_id, name
        The object's id and name.
    frame
        Frame of the clip, from 1.
    prompts
        The object's present prompts on the frame.
    model
        The present key of previews (`preview_key`).
    close_up
        The part of the photo that is seen, and px of the screen for one px of the photo. What the user
        drew is then filled for this part alone, so that thin strokes show in large photos.
    """
    key = (clip.session_uid, object_id, frame)
    preview = previewed(key, prompts, model) if prompts is not None else None
    return _edited_matte(clip, key, name, close_up) or preview or _stored_matte(clip, key)


def is_drawn(clip: bpy.types.MovieClip, name: str, frame: int) -> bool:
    """Whether the user drew an object's mask on the current frame of the window's scene."""
    mask = properties.of_clip(clip).mask
    return (
        mask is not None and edit_search.shown_edit(mask, name, to_scene(clip, frame)) is not None
    )


def is_empty(clip: bpy.types.MovieClip, object_id: int, name: str, frame: int) -> bool:
    """Whether an object's mask on the current frame of the window's scene has nothing in it.

    A frame that nothing is known of does not count as empty.
    """
    key = (clip.session_uid, object_id, frame)
    found = _edited_matte(clip, key, name) or _stored_matte(clip, key)
    return found is not None and not bool((found.values > 0).any())


def previewed(key: tuple[int, int, int], prompts: FramePrompts, model: str) -> ShownMatte | None:
    """Return the preview of exactly these prompts with this model, if it is still kept."""
    kept = _previewed(key, prompts, model)
    return kept.matte if kept is not None else None


def is_previewed(key: tuple[int, int, int], prompts: FramePrompts, model: str) -> bool:
    """Whether the last preview of exactly these prompts is known, not only a first answer."""
    kept = _previewed(key, prompts, model)
    return kept is not None and not kept.more


def _previewed(key: tuple[int, int, int], prompts: FramePrompts, model: str) -> _Previewed | None:
    uid, *at = key
    kept = clip_state.of_uid(uid).part(_Mattes).previews.get((at[0], at[1]))
    return kept if kept is not None and (kept.prompts, kept.model) == (prompts, model) else None


def is_settled(clip: bpy.types.MovieClip, object_id: int, prompts: FramePrompts) -> bool:
    """Whether the store's matte is the same as a preview of these prompts.

    After a run with the same model and settings (`preview_key`), both are the same, bit for bit. After
    a run with second looks, the store's matte is the better one, because a preview has no second look.
    """
    manifest = last_run(clip)
    if manifest is None:
        return False
    if preview_key.of_run(manifest) != preview_key.of_clip(properties.of_clip(clip)):
        return False
    known = {entry.id: entry.frames for entry in manifest.prompts.objects}
    if prompts not in known.get(object_id, ()) or not is_tracked(clip, object_id, prompts.frame):
        return False
    return not _is_void(clip, object_id, prompts.frame)


def _is_void(clip: bpy.types.MovieClip, object_id: int, frame: int) -> bool:
    """Whether the matte is from an earlier run, because the last run was not finished."""
    known, at = clip_state.of(clip).part(_Mattes).void, (object_id, frame)
    if at not in known:
        store = known_store(clip)
        known[at] = store is not None and is_void(store, object_id, frame)
    return known[at]


def is_tracked(clip: bpy.types.MovieClip, object_id: int, frame: int) -> bool:
    """Whether the store has a matte of an object on a frame of the clip."""
    return _stored_matte(clip, (clip.session_uid, object_id, frame)) is not None


def keep_preview(
    key: tuple[int, int, int],
    prompts: FramePrompts,
    model: str,
    values: NDArray[Any],
    scores: MatteScores | None,
    part: Part | None = None,
    size: tuple[int, int] | None = None,
    *,
    more: bool = False,
) -> None:
    """Keep a preview. ``key`` is (clip's session uid, object, frame).

    Parameters
    ----------
    model
        The key that it was made with (`preview_key`). The preview shows as long as the key is the same.
    values, scores, part, size
        As in `ShownMatte`.
    more
        Whether it is a first answer: a better one follows.
    """
    uid, object_id, frame = key
    mattes, place = clip_state.of_uid(uid).part(_Mattes), (object_id, frame)
    before = mattes.previews.get(place)
    if before is not None and before.prompts != prompts:
        mattes.earlier.keep(place, before.matte)
    shown_matte = ShownMatte("preview", values, scores, part, size)
    preview = _Previewed(prompts, model, shown_matte, more)
    mattes.previews.keep(place, preview)


def before_of(
    clip: bpy.types.MovieClip, object_id: int, name: str, frame: int
) -> ShownMatte | None:
    """Return the matte before the user's corrections on a frame, for a comparison.

    It is the last propagation's. Without one, it is the preview before the last click, or before the
    user drew.
    """
    stored = _stored_matte(clip, (clip.session_uid, object_id, frame))
    if stored is not None:
        return stored
    mattes = clip_state.of(clip).part(_Mattes)
    if is_drawn(clip, name, frame):
        kept = mattes.previews.get((object_id, frame))
        return kept.matte if kept is not None else None
    return mattes.earlier.get((object_id, frame))


def _stored_matte(clip: bpy.types.MovieClip, key: tuple[int, int, int]) -> ShownMatte | None:
    if is_outdated(clip):
        return None
    _, object_id, frame = key
    stored = clip_state.of(clip).part(_Mattes).stored
    return stored.made((object_id, frame), lambda: _read(clip, object_id, frame))


def _read(clip: bpy.types.MovieClip, object_id: int, frame: int) -> ShownMatte | None:
    store = known_store(clip)
    if store is None or not store.has(object_id, frame):
        return None
    try:
        record = store.read(object_id, frame)
    except StoreError as error:
        # Drawing can't report errors. The operators read the same file and do.
        console.log.warning(str(error))
        return None
    return as_shown(clip, frame, "stored", record.logits, record.scores)


def needs_close_up(width: int, height: int, zoom: float) -> bool:
    """Whether what the user drew would look coarse at a zoom, if it was filled for the whole photo."""
    longer = max(width, height)
    return longer > _EDITED_SIDE and zoom * longer > _COARSE * _EDITED_SIDE


def _edited_matte(
    clip: bpy.types.MovieClip,
    key: tuple[int, int, int],
    name: str,
    close_up: tuple[Part, float] | None = None,
) -> ShownMatte | None:
    mask = properties.of_clip(clip).mask
    if mask is None:
        return None
    scene_frame = to_scene(clip, key[2])
    checksum = edit_search.shown_edit(mask, name, scene_frame)
    if checksum is None:
        return None
    width, height = int(clip.size[0]), int(clip.size[1])
    part, covers = _cover_of(shown.of(clip, key[2]))
    scale = min(1.0, _EDITED_SIDE / max(width, height))
    if close_up is not None:
        (part, scale), covers = close_up, None

    def filled() -> ShownMatte:
        if part is not None:
            outlines = layers.shown_outlines(mask, name, scene_frame, (width, height))
            inside = Canvas.of(outlines, part, min(scale, 1.0)).pixels
        else:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            inside = fill(layers.shown_outlines(mask, name, scene_frame, size), *size)
        values = np.where(inside, 1.0, -1.0).astype(np.float16)
        return ShownMatte("edited", values, part=part, size=covers)

    edited = clip_state.of(clip).part(_Mattes).edited
    seen = close_up[0] if close_up is not None else None
    return edited.made(((key[1], key[2]), checksum, seen), filled)
