# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of photos are the same in whatever order they are read, and the next photo is ready in time."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.engine.refine.crops import CropReader, Part

_SIDE = 32
_SIZE = (643, 427)  # no JPEG scale divides this size
_PHOTOS = 5
_PARTS: tuple[Part, ...] = ((0.1, 0.2, 0.9, 0.7), (0.4, 0.3, 0.6, 0.5), (0.0, 0.0, 0.1, 0.1))


@pytest.fixture(params=["jpg", "png"])
def photos(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.{request.param}" for number in range(_PHOTOS)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(_SIZE).save(path, quality=95)
    return paths


@pytest.mark.parametrize(
    "order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 1, 3, 4, 2, 2, 1, 4]], ids=str
)
def test_a_part_is_the_same_whatever_was_asked_for_before(
    photos: list[Path], order: list[int]
) -> None:
    close = CropReader(photos, _SIDE)
    for turn, index in enumerate(order):
        for part in (_PARTS[turn % 3], _PARTS[(turn + 1) % 3]):
            alone = CropReader(photos, _SIDE).at(index, part)
            assert alone.shape == (_SIDE, _SIDE, 3)
            assert np.array_equal(close.at(index, part), alone)


@pytest.mark.parametrize("step", [1, -1])
def test_the_photo_that_comes_next_is_decoded_already(photos: list[Path], step: int) -> None:
    close = CropReader(photos, _SIDE)
    for index in (2 - step, 2):
        close.at(index, _PARTS[1])
    assert close._ahead is not None
    coming, decoded = close._ahead
    assert coming == 2 + step
    assert list(decoded.result()) == list(close._decoded)
    taken_over = decoded.result()
    close.at(2 + step, _PARTS[1])
    assert close._decoded is taken_over
    assert len(taken_over) == 1


def test_scales_that_are_needed_no_more_are_not_decoded_ahead(photos: list[Path]) -> None:
    close = CropReader(photos, _SIDE)
    for part in _PARTS:
        close.at(0, part)
    for index in (1, 2):
        close.at(index, _PARTS[0])
    assert close._ahead is not None
    assert len(close._ahead[1].result()) == 1


def test_a_damaged_photo_is_named_when_it_is_asked_for_and_not_before(photos: list[Path]) -> None:
    photos[2].write_bytes(photos[2].read_bytes()[: photos[2].stat().st_size // 2])
    close = CropReader(photos, _SIDE)
    for index in (0, 1, 3, 4):  # the damaged photo is decoded ahead, but never asked for
        close.at(index, _PARTS[0])
    for index in (0, 1):
        close.at(index, _PARTS[0])
    for _ in range(2):
        with pytest.raises(FootageError, match=photos[2].name):
            close.at(2, _PARTS[0])
    close.at(3, _PARTS[0])


def test_no_thread_is_left_when_it_is_let_go(photos: list[Path]) -> None:
    before = set(threading.enumerate())
    close = CropReader(photos, _SIDE)
    for index in range(3):
        close.at(index, _PARTS[0])
    (thread,) = set(threading.enumerate()) - before
    del close
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
