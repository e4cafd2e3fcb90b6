# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a path is a link, which could lead anywhere."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

_MOUNT_POINT: Final = 0xA0000003  # the reparse tag of a junction on Windows


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link or a junction; False if nothing is there."""
    try:
        status = path.lstat()
    except OSError:
        return False
    tag = getattr(status, "st_reparse_tag", 0)
    return stat.S_ISLNK(status.st_mode) or tag == _MOUNT_POINT
