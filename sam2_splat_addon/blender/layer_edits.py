# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of mask layers the user has edited; imports bpy.

The keys of a frame are seen by evaluating the mask there, some milliseconds each: so all layers are
looked at together, and a caller with a window to keep alive takes the search in steps.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping

import bpy

from . import mask_keys
from .layer_memory import checksum, differs, remembered
from .mask_keys import named

# How long a step of a search takes, s; at least one frame.
_STEP = 0.008


def search(
    mask_uid: int, among: Mapping[str, Collection[int] | None]
) -> Generator[tuple[int, int], None, dict[str, set[int]]]:
    """Find the edited frames of several layers by their keys, a few frames a step.

    Frames that were written as edited count, and so do the empty frames beside tracked ones where
    the user has drawn something. Changes that are not keyed yet do not.

    Parameters
    ----------
    mask_uid
        Session uid of the mask, which may be gone between two steps.
    among
        Layer -> the scene frames to look at; None is all that were written.

    Yields
    ------
    tuple
        Frames looked at so far, and how many there are to look at.

    Returns
    -------
    dict
        Layer -> its edited scene frames; layers that are gone have none.
    """
    found: dict[str, set[int]] = {name: set() for name in among}
    mask = _mask(mask_uid)
    if mask is None:
        return found
    wanted: dict[int, list[str]] = {}
    for name, frames in among.items():
        written = remembered(mask, name)
        if written is None or name not in mask.layers:
            continue
        kept = set(written.edited)
        chosen = set(written.frames) if frames is None else set(frames) & set(written.frames)
        found[name] = kept if frames is None else kept & set(frames)
        for frame in chosen - kept:
            wanted.setdefault(frame, []).append(name)
    order = sorted(wanted)
    done = 0
    with mask_keys.scratch_scene():
        while done < len(order):
            mask = _mask(mask_uid)
            if mask is None:
                break
            stop = time.monotonic() + _STEP
            with mask_keys.points_restored(mask), mask_keys.scratch_scene() as scene:
                while done < len(order):
                    frame = order[done]
                    for name in wanted[frame]:
                        if _differs_at(scene, mask, name, frame):
                            found[name].add(frame)
                    done += 1
                    if time.monotonic() >= stop:
                        break
            yield done, len(order)
    return found


def edited_frames(mask: bpy.types.Mask, layer_name: str) -> tuple[int, ...]:
    """Scene frames on which the user has changed an object's layer, rising; see `search`."""
    return tuple(sorted(_at_once(search(mask.session_uid, {layer_name: None}))[layer_name]))


def is_edited(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> bool:
    """Whether the user has changed an object's layer on a scene frame, going by its keys."""
    return bool(_at_once(search(mask.session_uid, {layer_name: (scene_frame,)}))[layer_name])


def shown_edit(mask: bpy.types.Mask, layer_name: str, scene_frame: int) -> int | None:
    """What tells the user's drawing on a frame apart from others; None where the frame has none.

    Looks at the points as they stand in the window now, unkeyed changes included, and is quick
    enough for drawing; :func:`edited_frames` looks at the keys of all frames.

    Parameters
    ----------
    scene_frame
        The frame that the window's scene is on.
    """
    written = remembered(mask, layer_name)
    layer = named(mask.layers, layer_name)
    if written is None or layer is None:
        return None
    expected = written.frames.get(scene_frame)
    state = mask_keys.layer_state(layer)
    if scene_frame in written.edited or (expected is not None and differs(state, expected)):
        return checksum(state)
    return None


def unkeyed(mask: bpy.types.Mask, names: Collection[str], scene_frame: int) -> list[str]:
    """The layers whose points on a frame that was written are not those of their keys.

    Parameters
    ----------
    names
        Layers to look at.
    scene_frame
        The frame that the window's scene is on.
    """
    found = []
    with mask_keys.points_restored(mask), mask_keys.scratch_scene() as scene:
        shown = {
            name: mask_keys.layer_state(mask.layers[name])
            for name in names
            if name in mask.layers
            and (written := remembered(mask, name)) is not None
            and scene_frame in written.frames
        }
        for name, points in shown.items():
            keyed = mask_keys.keyed_state(scene, mask, name, scene_frame)
            if not all(own.has_points_of(one) for own, one in zip(points, keyed, strict=True)):
                found.append(name)
    return found


def _at_once(
    steps: Generator[tuple[int, int], None, dict[str, set[int]]],
) -> dict[str, set[int]]:
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            found: dict[str, set[int]] = ended.value
            return found


def _mask(uid: int) -> bpy.types.Mask | None:
    return next((mask for mask in bpy.data.masks if mask.session_uid == uid), None)


def _differs_at(scene: bpy.types.Scene, mask: bpy.types.Mask, name: str, frame: int) -> bool:
    written = remembered(mask, name)
    expected = written.frames.get(frame) if written is not None else None
    if expected is None or name not in mask.layers:
        return False
    return differs(mask_keys.keyed_state(scene, mask, name, frame), expected)
