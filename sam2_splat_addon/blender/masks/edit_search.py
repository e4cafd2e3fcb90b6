# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the frames of mask layers that the user has edited.

To see the keys of a frame, the mask must be evaluated there, which takes some milliseconds. So all
layers are looked at together, and a caller with a window takes the search in steps.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping
from dataclasses import replace as replace_state

import bpy
from msgspec.structs import replace

from ...core.system.steps import at_once
from ..context.present import present
from . import keys
from .keys import named
from .written_layers import (
    NO_FRAME,
    States,
    WrittenFrame,
    WrittenLayer,
    checksum,
    differs,
    drawn_frames,
    drawn_on,
    keep_drawn,
    remember,
    remembered,
    splines_of,
)

# Time of one step of a search, s. A step looks at one frame at least.
_STEP = 0.008


def notice(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> bool:
    """Find out whether the user has changed an object's layer on the window's current frame.

    If the splines themselves have changed, the user has changed them on this frame. So only this frame
    keeps the new splines, and all others the old ones. Return whether the frame differs from what was
    written.
    """
    written, layer = remembered(mask, layer_name), named(mask.layers, layer_name)
    if written is None or layer is None or not written.is_whole:
        return False
    if splines_of(layer) != written.splines:
        remember(mask, layer_name, replace(written, torn=scene_frame))
        return True
    expected, state = written.frames.get(scene_frame), keys.layer_state(layer)
    if expected is not None and checksum(state) == expected.checksum:
        return False
    if expected is not None and _is_turned(layer, state, expected):
        remember(mask, layer_name, replace(written, torn=scene_frame))
    return True


def leave_unfinished(mask: bpy.types.Mask, layer_name: str) -> None:
    """Note that a layer was not written to its end. Its keys then count on no frame."""
    written = remembered(mask, layer_name)
    if written is not None and written.is_whole:
        remember(mask, layer_name, replace(written, torn=NO_FRAME))


def is_torn(mask: bpy.types.Mask, layer_name: str) -> bool:
    """Whether a layer's splines were changed, and the layer was not written again since."""
    written = remembered(mask, layer_name)
    return written is not None and written.torn is not None


def _is_turned(layer: bpy.types.MaskLayer, state: States, expected: WrittenFrame) -> bool:
    """Whether the direction of the selected splines was switched, which applies to all frames."""
    chosen = set(keys.selected_splines(layer))
    back = tuple(
        replace_state(one, co=one.co[::-1], left=one.right[::-1], right=one.left[::-1])
        if number in chosen
        else one
        for number, one in enumerate(state)
    )
    return bool(chosen) and checksum(back) == expected.checksum


def keep_left(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> None:
    """Keep what the user has drawn on a frame, after the window has left it."""
    written = remembered(mask, layer_name)
    if written is None or layer_name not in mask.layers or not written.is_whole:
        return
    with keys.points_restored(mask), keys.scratch_scene() as scene:
        state = keys.keyed_state(scene, mask, layer_name, scene_frame)
    _keep(mask, layer_name, written, scene_frame, state)


def drawn_at(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> States | None:
    """Return what the user drew on a frame: the kept copy, else its keys. None without a layer."""
    if layer_name not in mask.layers:
        return None
    kept = drawn_on(mask, layer_name, scene_frame)
    if kept is not None:
        return kept
    with keys.points_restored(mask), keys.scratch_scene() as scene:
        return keys.keyed_state(scene, mask, layer_name, scene_frame)


def lock(mask: bpy.types.Mask, layer_name: str, *, is_locked: bool) -> None:
    """Lock a layer that will be written again, so that the user can't draw in it, or unlock it."""
    written, layer = remembered(mask, layer_name), named(mask.layers, layer_name)
    if written is None or layer is None or written.locked == is_locked:
        return
    if is_locked and layer.hide_select:
        return  # the user has locked it
    layer.hide_select = is_locked
    remember(mask, layer_name, replace(written, locked=is_locked))


def settle_torn(mask: bpy.types.Mask, layer_name: str, *, drop: int | None = None) -> None:
    """Keep what the user drew on the frame on which the layer was torn, or drop it on frame ``drop``.

    After that the layer's keys count on no frame, until it is written again.
    """
    written = remembered(mask, layer_name)
    if written is None or written.torn in (None, NO_FRAME) or layer_name not in mask.layers:
        return
    frame = written.torn
    assert frame is not None
    edited = written.edited
    if frame == drop:
        keep_drawn(mask, layer_name, frame, None)
        edited = tuple(one for one in edited if one != frame)
    else:
        with keys.points_restored(mask), keys.scratch_scene() as scene:
            state = keys.keyed_state(scene, mask, layer_name, frame)
        _keep(mask, layer_name, written, frame, state)
    remember(mask, layer_name, replace(written, torn=NO_FRAME, edited=edited))


def search(
    mask_uid: int, among: Mapping[str, Collection[int] | None]
) -> Generator[tuple[int, int], None, dict[str, set[int]]]:
    """Find the edited frames of several layers by their keys, a few frames a step.

    Frames that were written as edited count. So do empty frames beside tracked ones, if the user has
    drawn there. Changes without a key don't count. What is found is kept, because the layer's splines
    may change later.

    Parameters
    ----------
    mask_uid
        Session uid of the mask, which may be removed between two steps.
    among
        Layer -> the scene frames to look at. None means all frames that were written.

    Yields
    ------
    tuple
        Number of frames looked at so far, and of all frames to look at.

    Returns
    -------
    dict
        Layer -> its edited scene frames. A removed layer has none.
    """
    found: dict[str, set[int]] = {name: set() for name in among}
    mask = keys.mask_by_uid(mask_uid)
    if mask is None:
        return found
    wanted: dict[int, list[str]] = {}
    for name, frames in among.items():
        notice(mask, name, present(bpy.context.scene).frame_current)
        written = remembered(mask, name)
        if written is None or name not in mask.layers:
            continue
        kept, keyed = set(written.edited), set(written.frames)
        if not written.is_whole:
            kept |= drawn_frames(mask, name)
            keyed = set() if written.torn in (None, NO_FRAME) else {written.torn}
        chosen = keyed if frames is None else set(frames) & keyed
        found[name] = kept if frames is None else kept & set(frames)
        for frame in chosen - kept:
            wanted.setdefault(frame, []).append(name)
    order = sorted(wanted)
    done = 0
    with keys.scratch_scene():
        while done < len(order):
            mask = keys.mask_by_uid(mask_uid)
            if mask is None:
                break
            stop = time.monotonic() + _STEP
            with keys.points_restored(mask), keys.scratch_scene() as scene:
                while done < len(order):
                    frame = order[done]
                    # All layers at once, because Blender evaluates the whole mask.
                    states = keys.keyed_states(scene, mask, wanted[frame], frame)
                    for name, state in states.items():
                        if _is_drawn_at(mask, name, frame, state):
                            found[name].add(frame)
                    done += 1
                    if time.monotonic() >= stop:
                        break
            yield done, len(order)
    return found


def edited_frames(mask: bpy.types.Mask, layer_name: str) -> tuple[int, ...]:
    """Return the scene frames on which the user has changed an object's layer, rising. See `search`."""
    return tuple(sorted(at_once(search(mask.session_uid, {layer_name: None}))[layer_name]))


def is_edited(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> bool:
    """Whether the user has changed an object's layer on a scene frame, according to its keys."""
    return bool(at_once(search(mask.session_uid, {layer_name: (scene_frame,)}))[layer_name])


def shown_edit(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> int | None:
    """Return a checksum of the user's drawing on a frame. None if the user drew nothing there.

    This looks at the present points in the window, also at changes without a key. It is quick enough
    for drawing. :func:`edited_frames` looks at the keys of all frames.

    Parameters
    ----------
    scene_frame
        The current frame of the window's scene.
    """
    written = remembered(mask, layer_name)
    layer = named(mask.layers, layer_name)
    if written is None or layer is None:
        return None
    if not written.is_whole and scene_frame != written.torn:
        kept = drawn_on(mask, layer_name, scene_frame)
        return checksum(kept) if kept is not None else None
    state = keys.layer_state(layer)
    if scene_frame in written.edited or _is_other(written, scene_frame, state):
        return checksum(state)
    return None


def shown_state(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> States:
    """Return the points of the edit that `shown_edit` has found."""
    written = remembered(mask, layer_name)
    if written is not None and not written.is_whole and scene_frame != written.torn:
        return drawn_on(mask, layer_name, scene_frame) or ()
    return as_drawn(mask, layer_name, scene_frame, keys.layer_state(mask.layers[layer_name]))


def as_drawn(mask: bpy.types.Mask, layer_name: str, scene_frame: int, state: States) -> States:
    """Return what the user drew on a frame, if the layer still has there what was written for it.

    A layer's splines have to do for all frames, so what was written may have lost details.
    """
    written = remembered(mask, layer_name)
    expected = written.frames.get(scene_frame) if written is not None else None
    if (
        written is None
        or expected is None
        or not written.is_whole
        or scene_frame not in written.edited
        or checksum(state) != expected.checksum
    ):
        return state
    kept = drawn_on(mask, layer_name, scene_frame)
    return state if kept is None else kept


def unkeyed(mask: bpy.types.Mask, names: Collection[str], scene_frame: int) -> list[str]:
    """Return the layers with changes that have no key, on a frame that was written.

    Parameters
    ----------
    names
        The layers to look at.
    scene_frame
        The current frame of the window's scene.
    """
    found = []
    with keys.points_restored(mask), keys.scratch_scene() as scene:
        shown = {
            name: keys.layer_state(mask.layers[name])
            for name in names
            if name in mask.layers
            and (written := remembered(mask, name)) is not None
            and (scene_frame in written.frames if written.is_whole else scene_frame == written.torn)
        }
        for name, points in shown.items():
            keyed = keys.keyed_state(scene, mask, name, scene_frame)
            if not all(own.has_points_of(one) for own, one in zip(points, keyed, strict=True)):
                found.append(name)
    return found


def _is_drawn_at(mask: bpy.types.Mask, name: str, frame: int, state: States) -> bool:
    written = remembered(mask, name)
    if written is None:
        return False
    if written.is_whole:
        return _keep(mask, name, written, frame, state)
    return _is_other(written, frame, state)


def _keep(
    mask: bpy.types.Mask, name: str, written: WrittenLayer, frame: int, state: States
) -> bool:
    """Keep what a frame's keys show, if the user drew it. Return whether the user drew it."""
    is_other = _is_other(written, frame, state)
    if is_other or frame not in written.edited:
        keep_drawn(mask, name, frame, state if is_other else None)
    elif drawn_on(mask, name, frame) is None:
        keep_drawn(mask, name, frame, state)
    return is_other or frame in written.edited


def _is_other(written: WrittenLayer, frame: int, state: States) -> bool:
    """Whether points differ from what was written on a frame."""
    expected = written.frames.get(frame)
    if expected is None:
        return written.torn == frame  # nothing was written there, so the user drew it
    return differs(state, expected)
