# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender always has where it is asked for, though the types of its API say "or None"."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value itself, which can't be None here: ``present(context.scene)``.

    For what Blender gives for certain, such as a panel's layout or a clip's tracking data. What may be
    missing, such as a script's window or region, is asked for with ``if``.
    """
    assert value is not None, "Blender has none of what it always has"
    return value
