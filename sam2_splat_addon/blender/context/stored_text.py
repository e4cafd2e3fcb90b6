# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts in a .blend file. They may be invalid, because anybody may have made the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import bpy
import msgspec

from ...core.system.safe_read import UNREADABLE
from . import properties
from .active_clip import is_linked
from .present import present

T = TypeVar("T")


def text_of(owner: Any, name: str) -> str:
    """Return a text property of a data-block. Empty if its bytes are no text."""
    try:
        return str(getattr(owner, name))
    except UnicodeDecodeError:
        return ""


def decoded(text: object, kind: type[T], instead: T) -> T:
    """Return the value in a JSON text, or ``instead`` if there is no value of that type."""
    if not isinstance(text, str) or not text:
        return instead
    try:
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE:
        return instead


def names_to_text(names: Sequence[str]) -> str:
    """Return names as JSON, because a file's name may contain a line break. Empty for no names."""
    return msgspec.json.encode(list(names)).decode() if names else ""


def names_of(owner: Any, name: str) -> list[str]:
    """Return the names in a property that holds JSON. No names if it holds something else."""
    return decoded(text_of(owner, name), list[str], [])


def mend_names() -> None:
    """Give new names to tracking objects and tracks whose own names are no text.

    In somebody else's file a long name may be cut in the middle of a letter. Scripts can't read such a
    name.
    """
    for clip in bpy.data.movieclips:
        if is_linked(clip):
            continue
        for known in properties.of_clip(clip).objects:
            _mend(known, "Subject")
        for entry in present(clip.tracking).objects:
            _mend(entry, "Subject")
            for track in entry.tracks:
                _mend(track, "click")


def _mend(owner: Any, name: str) -> None:
    try:
        str(owner.name)
    except UnicodeDecodeError:
        owner.name = name
