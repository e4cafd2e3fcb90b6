# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of a capture's photos: which is the usual one, and what each becomes upright."""

from __future__ import annotations

import pytest

from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.geometry.orientation import PhotoShape


def test_the_most_common_size_is_the_usual_one_and_others_are_named_by_frame() -> None:
    shapes = [PhotoShape(*size) for size in ((30, 20), (40, 20), (40, 20), (20, 40))]
    sizes = PhotoSizes.among(shapes)
    assert sizes == PhotoSizes(40, 20, {1: (30, 20), 4: (20, 40)})
    assert [sizes.of(frame) for frame in (1, 2, 3, 4)] == [(30, 20), (40, 20), (40, 20), (20, 40)]
    assert [sizes.shape(frame) for frame in (1, 2)] == shapes[:2]
    assert sizes.most_pixels == 800
    assert PhotoSizes(10, 10, {3: (30, 40)}).most_pixels == 1200
    even = PhotoSizes.among([PhotoShape(30, 20), PhotoShape(40, 20)])
    assert (even.width, even.odd) == (30, {2: (40, 20)})


def test_the_usual_turn_is_the_one_that_makes_most_photos_equally_large() -> None:
    turns = [6, 8, 8, 1, 1, 3, 6]
    sizes = PhotoSizes.among([PhotoShape(40, 20, turn) for turn in turns])
    assert sizes.orientation == 6  # with 8 it makes four upright ones; and 6 comes first
    assert sizes.turns == {2: 8, 3: 8, 4: 1, 5: 1, 6: 3}
    assert sizes.odd == {}
    assert not sizes.are_as_stored
    assert sizes.upright == PhotoSizes(20, 40, {4: (40, 20), 5: (40, 20), 6: (40, 20)})
    more_upright = PhotoSizes.among([PhotoShape(40, 20, turn) for turn in (1, 1, 1, 8, 6, 8, 6, 8)])
    assert more_upright.orientation == 8  # no turn is as common, but five photos stand upright
    odd = PhotoSizes(40, 20, {2: (60, 20)}, 6)
    assert odd.upright == PhotoSizes(20, 40, {2: (20, 60)})
    assert PhotoSizes.among([PhotoShape(40, 20)] * 3).are_as_stored
    assert not PhotoSizes(40, 20, {}, 1, {2: 3}).are_as_stored
    assert PhotoSizes(40, 20, {2: (20, 40)}, 1, {2: 6}).upright == PhotoSizes(40, 20)


@pytest.mark.parametrize(
    ("sizes", "possible"),
    [
        (PhotoSizes(1, 1), True),
        (PhotoSizes(1, 1, {2: (5, 1)}, 8, {3: 2}), True),
        (PhotoSizes(0, 5), False),
        (PhotoSizes(5, -1), False),
        (PhotoSizes(5, 5, {2: (5, 0)}), False),
        (PhotoSizes(5, 5, {}, 0), False),
        (PhotoSizes(5, 5, {}, 9), False),
        (PhotoSizes(5, 5, {}, 1, {2: 9}), False),
    ],
)
def test_sizes_that_no_photo_has_are_known(sizes: PhotoSizes, possible: bool) -> None:
    assert sizes.are_possible == possible
