# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that stays with the process while a run goes on; standard library only.

glibc asks the system for every large tensor anew and gives it back at once, and the system clears
each page again: on a CPU about a tenth of SAM 2's image encoder. Kept, the same pages serve frame
after frame. The peak is the same, as a run's largest moment comes back with every frame.
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
# Where glibc's thresholds come to by themselves as a process uses large blocks. Once set, they no longer
# move: its first ones (128 KiB) would have every later tensor cleared anew, and a bake after a run with it.
_MMAP_AFTER: Final = 32 << 20
_TRIM_AFTER: Final = 64 << 20


@contextlib.contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Keep what is freed for the next allocation until the block ends; does nothing but on glibc."""
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
