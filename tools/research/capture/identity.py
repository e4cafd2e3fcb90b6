# SPDX-License-Identifier: GPL-3.0-or-later
"""Which thing is which: instance ids, and the channels that hold their coverage.

A channel holds the antialiased part of each pixel that a thing covers, without what is hidden by
things in front.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GROUND = 0
SUBJECT = 1
FIRST_DISTRACTOR = 2
OCCLUDER = 255
MAX_DISTRACTORS = 7

_IDS = (SUBJECT, OCCLUDER, *range(FIRST_DISTRACTOR, FIRST_DISTRACTOR + MAX_DISTRACTORS))
CHANNELS = len(_IDS)


def channel(instance: int) -> int:
    """Return the coverage channel of an instance id, -1 for the ground."""
    return -1 if instance == GROUND else _IDS.index(instance)


def id_map(coverage: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the id that covers most of each pixel, shape (H, W).

    Parameters
    ----------
    coverage
        Shape (H, W, `CHANNELS`), each 0 to 1.
    """
    ground = 1.0 - coverage.sum(axis=2, keepdims=True)
    winner = np.concatenate([ground, coverage], axis=2).argmax(axis=2)
    return np.array((GROUND, *_IDS), dtype=np.uint8)[winner]
