# SPDX-License-Identifier: GPL-3.0-or-later
"""Where found cameras lie, what is known of them, and what a search costs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sam2_splat_addon.core.cameras.found import (
    ALL_PAIRS,
    FOUND_NAME,
    FoundCameras,
    estimate,
    folder_beside,
    model_beside,
    pairs_of,
    read_found,
    seconds_for,
)


def test_found_cameras_lie_beside_the_mattes_of_their_photos() -> None:
    assert folder_beside(Path("out/chair_mattes")) == Path("out/chair_cameras")
    assert folder_beside(Path("out/chair")) == Path("out/chair_cameras")
    assert folder_beside(Path("a_mattes/b_mattes_2")) == Path("a_mattes/b_mattes_2_cameras")
    assert model_beside(Path("out/chair_mattes")) == Path("out/chair_cameras/sparse/0")


def test_what_was_found_is_read_back_and_anything_else_is_nothing(tmp_path: Path) -> None:
    assert read_found(tmp_path) is None
    found = FoundCameras("key", 40, 38, ("a.jpg", "b.jpg"), 0.7, 1200)
    data = msgspec.json.encode(found)
    (tmp_path / FOUND_NAME).write_bytes(data)
    assert read_found(tmp_path) == found
    assert found.sentence() == "38 of 40 photos have a camera."
    for other in (data[:-1], b"", b"[]", b"\xff", b'{"footage": 1}', b'{"x": ' + b"[" * 100_000):
        (tmp_path / FOUND_NAME).write_bytes(other)
        assert read_found(tmp_path) is None
    (tmp_path / FOUND_NAME).unlink()
    (tmp_path / FOUND_NAME).mkdir()
    assert read_found(tmp_path) is None


def test_few_photos_are_compared_each_with_each_and_many_only_with_some() -> None:
    assert [pairs_of(count) for count in (0, 1, 2, 3, 10)] == [0, 0, 1, 3, 45]
    assert pairs_of(ALL_PAIRS) == ALL_PAIRS * (ALL_PAIRS - 1) // 2
    # From there on, the work grows with the photos and not with their square.
    assert pairs_of(ALL_PAIRS + 1) < pairs_of(ALL_PAIRS)
    assert pairs_of(2000) == 2 * pairs_of(1000)
    assert 10 * 1000 < pairs_of(1000) < 40 * 1000


def test_more_cores_shorten_what_is_done_side_by_side() -> None:
    one, two, eight, many = (seconds_for(100, cores) for cores in (1, 2, 8, 64))
    assert one[0] == pytest.approx(2 * two[0]) and one[1] == pytest.approx(2 * two[1])
    assert one[0] == pytest.approx(4 * eight[0]) and one[1] == pytest.approx(8 * eight[1])
    assert one[2] == two[2] == eight[2]
    assert many == eight
    assert seconds_for(100, 0) == one  # the number of cores may be unknown


def test_the_time_of_a_search_is_said_in_minutes_rounded_up() -> None:
    assert estimate(2, 8) == "about a minute"
    assert 60 < sum(seconds_for(40, 2)) < 120
    assert estimate(40, 2) == "about 2 minutes"
    seconds = sum(seconds_for(100, 2))
    assert estimate(100, 2) == f"about {int(seconds // 60) + 1} minutes"
