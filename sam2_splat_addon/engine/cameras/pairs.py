# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose which photos are compared: all pairs of few photos, and of many those that look alike.

How alike two photos are is told by VLAD vectors (Jegou et al., CVPR 2010): each detail of a photo is given
to the nearest of some typical details, and the differences to it are added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.cameras.found import ALIKE, ALL_PAIRS, NEXT

Floats = NDArray[np.float32]
Descriptors = NDArray[np.uint8]

DETAILS: Final = 600
"""So many details of a photo, the largest ones, tell whether it looks like another."""

_WORDS: Final = 64
_MOST_LEARNT: Final = 40_000  # details that the typical ones are made from
_ROUNDS: Final = 12
_BLOCK: Final = 512  # photos compared at a time
_NEAR: Final = 8  # among so many most alike photos the next one must be, in a film
_MOSTLY: Final = 0.6  # of the photos
_TILE: Final = 8  # photos: pairs of two tiles come together, so that few photos are in memory


def every_pair(count: int) -> list[tuple[int, int]]:
    """Return all pairs of places, the smaller first."""
    return [(one, other) for one in range(count) for other in range(one + 1, count)]


def likely_pairs(details: Sequence[Descriptors]) -> tuple[list[tuple[int, int]], bool]:
    """Return the pairs of photos to compare, and whether the photos are a film.

    Parameters
    ----------
    details
        For each photo, the descriptors of its largest details, (n, 128).

    Returns
    -------
    pairs : list
        Sorted pairs of places, the smaller first.
    is_film : bool
        Whether most photos look like the one after them. Then each is also compared with the next `NEXT`.
    """
    count = len(details)
    alike = _most_alike(_vlad(details), ALIKE)
    near = [at for at in range(count - 1) if at + 1 in alike[at][:_NEAR]]
    is_film = len(near) >= _MOSTLY * max(count - 1, 1)
    if count <= ALL_PAIRS:
        return every_pair(count), is_film
    found = {
        (min(at, other), max(at, other)) for at in range(count) for other in alike[at].tolist()
    }
    if is_film:
        found |= {
            (at, other) for at in range(count) for other in range(at + 1, min(at + 1 + NEXT, count))
        }
    return sorted(found), is_film


def in_tiles(pairs: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield all pairs in groups that need few photos each."""
    tiles: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for one, other in pairs:
        tiles.setdefault((one // _TILE, other // _TILE), []).append((one, other))
    for at in sorted(tiles):
        yield tiles[at]


def _vlad(details: Sequence[Descriptors]) -> Floats:
    """Return a vector of length 1 for each photo, (photos, words * 128)."""
    each = max(1, _MOST_LEARNT // max(len(details), 1))
    learnt = np.concatenate([_unit(one[:each]) for one in details])
    if not len(learnt):
        return np.zeros((len(details), 1), np.float32)
    words = min(_WORDS, max(1, len(learnt) // 8))
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, 1e-4)
    no_labels: Any = None
    _, _, centres = cv2.kmeans(learnt, words, no_labels, criteria, 1, cv2.KMEANS_PP_CENTERS)
    found = np.zeros((len(details), words, learnt.shape[1]), np.float32)
    for at, one in enumerate(details):
        own = _unit(one[:DETAILS])
        if not len(own):
            continue
        word = np.argmin((centres**2).sum(1) - 2 * own @ centres.T, axis=1)
        np.add.at(found[at], word, own - centres[word])
    found = np.sign(found) * np.sqrt(np.abs(found))
    flat: Floats = found.reshape(len(details), -1)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return flat


def _unit(descriptors: Descriptors) -> Floats:
    found = descriptors.astype(np.float32)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return found


def _most_alike(vectors: Floats, most: int) -> list[NDArray[np.int64]]:
    """Return for each photo the places of the others that look most like it, the likest first."""
    found = []
    for begin in range(0, len(vectors), _BLOCK):
        likeness = vectors[begin : begin + _BLOCK] @ vectors.T
        for row, values in enumerate(likeness):
            values[begin + row] = -2.0
            order = np.argsort(-values, kind="stable")[:most]
            found.append(order[order != begin + row])
    return found
