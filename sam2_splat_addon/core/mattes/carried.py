# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks that were carried from the user's photos to others, as a store keeps them.

The engine makes them (`engine/jobs/carry_clicks.py`). They count for the same *anchors*: the prompts that say
by themselves where a subject is. The user's own prompts on a photo always win.
"""

from __future__ import annotations

import contextlib

import msgspec

from ..prompts import FramePrompts, ObjectPrompts, PromptSet
from ..system.safe_read import UNREADABLE, read_plain
from .store import CARRIED_NAME, MatteStore


class CarriedClicks(msgspec.Struct, frozen=True):
    """The carried clicks of one subject.

    Attributes
    ----------
    key
        Digest of everything that decides them.
    anchors
        What they were carried from.
    frames
        The clicks.
    """

    key: str
    anchors: tuple[FramePrompts, ...]
    frames: tuple[FramePrompts, ...]


def anchors_of(prompts: ObjectPrompts) -> tuple[FramePrompts, ...]:
    """Return the prompts that say by themselves where a subject is, frames rising.

    They are the first ones that include, and those with a mask or that begin anew. The others correct a mask
    that was tracked, and are often on a part of it.
    """
    including = [at for at in prompts.frames if at.includes_something]
    return tuple(at for at in including if at is including[0] or at.mask is not None or at.anew)


def with_carried(prompts: PromptSet, carried: PromptSet) -> PromptSet:
    """Return the prompts with carried clicks on those photos where their subject has no prompts."""
    more = {entry.id: entry.frames for entry in carried.objects}
    objects = []
    for entry in prompts.objects:
        told = {at.frame for at in entry.frames}
        new = [at for at in more.get(entry.id, ()) if at.frame not in told]
        frames = sorted([*entry.frames, *new], key=lambda at: at.frame)
        objects.append(msgspec.structs.replace(entry, frames=tuple(frames)))
    return msgspec.structs.replace(prompts, objects=tuple(objects))


def read_carried(store: MatteStore, object_id: int) -> CarriedClicks | None:
    """Return what was carried for a subject; None if nothing is known, or the file is damaged."""
    try:
        data = read_plain(store.state_folder(object_id) / CARRIED_NAME)
        return msgspec.json.decode(data, type=CarriedClicks)
    except (OSError, *UNREADABLE):
        return None


def write_carried(store: MatteStore, object_id: int, carried: CarriedClicks) -> None:
    """Write it, whole or not at all; raises StoreError."""
    store.write_state(object_id, CARRIED_NAME, msgspec.json.encode(carried))


def forget_carried(store: MatteStore) -> None:
    """Remove what was carried, because it does not count any more."""
    with contextlib.suppress(OSError):
        for path in store.folder.glob(f"state/*/{CARRIED_NAME}"):
            path.unlink()


def known_carried(store: MatteStore, prompts: PromptSet) -> PromptSet:
    """Return what the store has for the same anchors."""
    objects = []
    for entry in prompts.objects:
        kept = read_carried(store, entry.id)
        if kept is not None and kept.frames and kept.anchors == anchors_of(entry):
            objects.append(ObjectPrompts(entry.id, entry.name, kept.frames))
    return PromptSet(tuple(objects))
