# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep freed memory in the process during a run.

glibc asks the system for every large tensor and gives it back at once, and the system clears each
page again. On a CPU this is about a tenth of the time of SAM 2's image encoder. If we keep the
memory, the same pages serve frame after frame. The peak is the same, because a run needs the most
memory once in every frame.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from typing import Final

# Parameters of mallopt(3).
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_KEEP: Final = 1 << 30  # bytes
# glibc raises its thresholds to these values by itself when a process uses large blocks. Once set
# by
# hand, they no longer move. With its first ones (128 KiB), the system would clear every later
# tensor
# again, also in a bake after a run.
_MMAP_AFTER: Final = 32 << 20
_TRIM_AFTER: Final = 64 << 20


@contextlib.contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Keep freed memory for the next allocation until the block ends. Only does something on glibc."""
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _KEEP)
    libc.mallopt(_TRIM_THRESHOLD, _KEEP)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _MMAP_AFTER)
        libc.mallopt(_TRIM_THRESHOLD, _TRIM_AFTER)
        libc.malloc_trim(0)
