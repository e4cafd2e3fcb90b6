# SPDX-License-Identifier: GPL-3.0-or-later
"""Chosen frames are sharp, spread by how far the view moved, and never two of the same view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sam2_splat_addon.core.footage.video_choice import LEAST_MOVE, choose
from sam2_splat_addon.core.footage.video_scores import VideoScores


def scores(sharpness: Sequence[float] | Any, places: Sequence[float] | Any) -> VideoScores:
    count = len(sharpness)
    numbers = np.arange(1, count + 1)
    return VideoScores(
        64,
        48,
        numbers,
        numbers / 30.0,
        numbers * 512,
        np.asarray(sharpness, np.float32),
        np.asarray(places, np.float32),
        np.zeros(count, np.uint32),
    )


def test_the_sharpest_frame_of_each_window_is_taken() -> None:
    sharpness = np.full(100, 0.6)
    sharpness[5::10] = 0.9
    choice = choose(scores(sharpness, np.linspace(0, 1, 100)), 10)
    assert choice.chosen.tolist() == list(range(5, 100, 10))


def test_photos_are_spread_by_the_view_and_not_by_time() -> None:
    places = np.concatenate([np.zeros(500), np.linspace(0, 1, 100), np.ones(400)])
    choice = choose(scores(np.full(1000, 0.5), places), 20)
    assert len(choice.chosen) == 20
    gaps = np.diff(places[choice.chosen])
    assert gaps.max() < 2 / 20 and gaps.min() > 0.5 / 20


def test_frames_that_show_what_a_photo_shows_are_told_apart() -> None:
    sharpness = np.full(300, 0.5)
    sharpness[100] = 0.8
    places = np.concatenate([np.linspace(0, 0.5, 100), np.full(100, 0.5), np.linspace(0.5, 1, 100)])
    choice = choose(scores(sharpness, places), 11)
    assert 100 in choice.chosen
    assert choice.alike[101:200].all() and not choice.alike[100]


def test_blurred_frames_are_not_taken_where_the_gap_is_narrow() -> None:
    sharpness = np.full(300, 0.6)
    sharpness[100:120] = 0.2
    choice = choose(scores(sharpness, np.linspace(0, 3, 300)), 60)
    assert np.flatnonzero(choice.blurred).tolist() == list(range(100, 120))
    assert not set(choice.chosen.tolist()) & set(range(100, 120))
    assert len(choice.chosen) >= 58  # others take their part


@pytest.mark.parametrize("wanted", [2, 10, 60, 300])
@pytest.mark.parametrize("seed", range(3))
def test_a_quick_turn_leaves_no_wide_gap(wanted: int, seed: int) -> None:
    """The view turns by 1.2 widths in 20 frames, all of them blurred, some less than others."""
    rng = np.random.default_rng(seed)
    sharpness = rng.uniform(0.55, 0.65, 320)
    sharpness[150:170] = rng.uniform(0.1, 0.3, 20)
    steps = np.full(320, 0.01)
    steps[150:171] = 0.06
    places = np.cumsum(steps)
    choice = choose(scores(sharpness, places), wanted)
    assert len(choice.chosen) <= wanted
    usual = (places[-1] - places[0]) / (wanted - 1)
    gaps = np.diff(places[choice.chosen])
    assert gaps.max(initial=0.0) <= max(0.25, 3 * usual) + 0.01
    bridges = choice.blurred_photos
    assert set(bridges.tolist()) <= set(range(150, 170))
    if wanted >= 60:
        assert len(bridges) >= 4
        # Each is the sharpest around it.
        assert sharpness[bridges].mean() > sharpness[150:170].mean()
    assert f" ({int(choice.blurred.sum()) - len(bridges)} are blurred" in choice.sentence()


def test_a_jump_of_the_view_has_nothing_between() -> None:
    places = np.concatenate([np.linspace(0, 1, 100), np.linspace(3, 4, 100)])
    choice = choose(scores(np.full(200, 0.5), places), 30)
    assert np.diff(places[choice.chosen]).max() >= 2
    assert not len(choice.blurred_photos)


def test_a_video_without_any_sharp_part_still_gives_photos() -> None:
    choice = choose(scores(np.full(90, 0.05), np.linspace(0, 1, 90)), 10)
    assert len(choice.chosen) == 10
    assert not choice.blurred.any()


@pytest.mark.parametrize("wanted", [1, 2, 7, 200, 100_000])
def test_never_more_than_wanted_and_no_view_twice(wanted: int) -> None:
    rng = np.random.default_rng(wanted)
    places = np.cumsum(rng.exponential(0.003, 700))
    found = scores(rng.uniform(0.3, 0.9, 700), places)
    chosen = choose(found, wanted).chosen
    assert 1 <= len(chosen) <= wanted
    assert (np.diff(chosen) > 0).all()
    assert (np.diff(found.places[chosen]) > LEAST_MOVE / 3).all()
    assert chosen.tolist() == choose(found, wanted).chosen.tolist()


def test_a_still_video_gives_one_photo_the_sharpest() -> None:
    sharpness = np.full(50, 0.5)
    sharpness[31] = 0.55
    choice = choose(scores(sharpness, np.zeros(50)), 200)
    assert choice.chosen.tolist() == [31]
    assert choice.alike.sum() == 49


def test_one_frame_is_one_photo() -> None:
    assert choose(scores([0.4], [0.0]), 200).chosen.tolist() == [0]


def test_a_black_video_gives_one_photo() -> None:
    assert len(choose(scores(np.zeros(20), np.zeros(20)), 5).chosen) == 1


def test_the_sentence_counts_everything() -> None:
    sharpness = np.full(100, 0.6)
    sharpness[40] = 0.1
    choice = choose(scores(sharpness, np.linspace(0, 1, 100)), 10)
    assert choice.sentence() == (
        f"10 of 100 frames become photos (1 are blurred, {int(choice.alike.sum())} have the view of a"
        " photo)"
    )
