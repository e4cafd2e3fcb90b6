# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that a .blend keeps, read as what another's file may hold; imports bpy, core and msgspec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import bpy
import msgspec

from ...core.system.safe_read import UNREADABLE

T = TypeVar("T")


def text_of(owner: Any, name: str) -> str:
    """A text property of a data-block; empty where its bytes are no text."""
    try:
        return str(getattr(owner, name))
    except UnicodeDecodeError:
        return ""


def decoded(text: object, kind: type[T], instead: T) -> T:
    """The value in a JSON text; another one where there is none, or none of that kind."""
    if not isinstance(text, str) or not text:
        return instead
    try:
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE:
        return instead


def names_to_text(names: Sequence[str]) -> str:
    """Names as JSON, since a file's name may hold a line break; empty for none."""
    return msgspec.json.encode(list(names)).decode() if names else ""


def names_of(owner: Any, name: str) -> list[str]:
    """The names that a property holds, as JSON; none where it holds something else."""
    return decoded(text_of(owner, name), list[str], [])


def mend_names() -> None:
    """Give names to tracking objects and tracks of this file whose own are no text.

    A long name may be cut in the middle of a letter, in a file of somebody else: Blender itself can't
    tell a script such a name.
    """
    for clip in bpy.data.movieclips:
        if clip.library is not None:
            continue
        for known in clip.sam2_splat.objects:
            _mend(known, "Object")
        for entry in clip.tracking.objects:
            _mend(entry, "Object")
            for track in entry.tracks:
                _mend(track, "click")


def _mend(owner: Any, name: str) -> None:
    try:
        str(owner.name)
    except UnicodeDecodeError:
        owner.name = name
