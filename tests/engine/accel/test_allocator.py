# SPDX-License-Identifier: GPL-3.0-or-later
"""During a run freed memory is used again. After the run the system gets it back."""

from __future__ import annotations

import platform
import sys

import numpy as np
import pytest

from sam2_splat_addon.engine.accel.allocator import keeping_freed_memory

_MEGABYTES = 64


def _fresh_pages(megabytes: int = _MEGABYTES) -> int:
    """Count the pages that the system had to give for an array that is filled and freed."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(megabytes << 20, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc's allocator"
)


def test_large_arrays_get_their_pages_once_within_the_block_and_again_after_it() -> None:
    before = _fresh_pages()
    with keeping_freed_memory():
        _fresh_pages()
        assert _fresh_pages() < before / 4
    assert _fresh_pages() > before / 2


def test_arrays_of_a_few_megabytes_serve_again_after_the_block() -> None:
    with keeping_freed_memory():
        _fresh_pages()
    few = 8
    _fresh_pages(few)
    assert _fresh_pages(few) < (few << 20) // 4096 / 4
