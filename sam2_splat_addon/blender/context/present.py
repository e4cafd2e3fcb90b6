# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that Blender always has, although the types of its API say "or None"."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return the value, which can't be None here, as in ``present(context.scene)``.

    Use it for what always exists, such as a panel's layout or a clip's tracking data. Ask with ``if`` for
    what may be missing, such as a script's window or region.
    """
    assert value is not None, "Blender has none of what it always has"
    return value
