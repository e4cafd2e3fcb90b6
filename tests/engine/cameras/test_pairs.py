# SPDX-License-Identifier: GPL-3.0-or-later
"""Few photos are all compared; of many, those that look alike, and in a film the next ones too."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.cameras.found import ALIKE, ALL_PAIRS, NEXT, estimate, pairs_of
from sam2_splat_addon.engine.cameras.pairs import every_pair, in_tiles, likely_pairs

Pictures = list[NDArray[np.uint8]]


def ring(count: int, reach: int = 6, each: int = 12) -> Pictures:
    """Photos on a full circle: each shares details with the `reach` photos before and after it."""
    rng = np.random.default_rng(3)
    world = rng.integers(0, 256, (count * each, 128), np.uint8)
    return [
        np.concatenate([world[(at + off) % count * each :][:each] for off in range(reach)])
        for at in range(count)
    ]


def test_all_pairs_of_few_photos_are_compared() -> None:
    pairs, _ = likely_pairs(ring(30))
    assert pairs == every_pair(30)
    assert len(pairs) == pairs_of(30)


def test_of_many_photos_those_that_look_alike_are_compared_and_a_film_is_closed() -> None:
    count = ALL_PAIRS + 30
    pairs, is_film = likely_pairs(ring(count))
    assert is_film
    assert len(pairs) < count * (ALIKE + NEXT)
    assert len(pairs) < len(every_pair(count)) / 2
    missing = {(at, at + 1) for at in range(count - 1)} - set(pairs)
    assert missing == set()
    assert (0, count - 1) in pairs, "the last photo meets the first"
    assert all(one < other for one, other in pairs)


def test_photos_in_any_order_are_no_film_and_meet_those_that_look_alike() -> None:
    pictures = ring(ALL_PAIRS + 30)
    order = list(range(len(pictures)))
    random.Random(5).shuffle(order)
    pairs, is_film = likely_pairs([pictures[at] for at in order])
    assert not is_film
    place = {at: number for number, at in enumerate(order)}
    met = {
        (min(place[at], place[at + 1]), max(place[at], place[at + 1]))
        for at in range(len(pictures) - 1)
    }
    assert len(met & set(pairs)) > 0.98 * len(met)


def test_the_same_photos_give_the_same_pairs() -> None:
    assert likely_pairs(ring(ALL_PAIRS + 5)) == likely_pairs(ring(ALL_PAIRS + 5))


def test_photos_without_details_do_no_harm() -> None:
    nothing = np.zeros((0, 128), np.uint8)
    pairs, is_film = likely_pairs([nothing] * (ALL_PAIRS + 1))
    assert len(pairs) > 0 or not is_film
    pairs, _ = likely_pairs([*ring(ALL_PAIRS), nothing])
    assert pairs


def test_pairs_come_in_groups_that_need_few_photos() -> None:
    pairs = every_pair(50)
    groups = list(in_tiles(pairs))
    assert sorted(pair for group in groups for pair in group) == pairs
    assert max(len({at for pair in group for at in pair}) for group in groups) <= 16


def test_the_time_is_said_beforehand() -> None:
    assert estimate(10, 8) == "about a minute"
    assert estimate(100, 2).startswith("about ")
    assert int(estimate(100, 2).split()[1]) <= 10
    assert int(estimate(1000, 2).split()[1]) > int(estimate(100, 2).split()[1])
