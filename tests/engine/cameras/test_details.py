# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a photo before it is compared: a small upright copy, its details, its focal length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from . import textured

pytest.importorskip("pycolmap")

from sam2_splat_addon.engine.cameras.details import MOST, SIDE, details_of, scale_of

FILM = math.hypot(36.0, 24.0)


def photo(
    path: Path, size: tuple[int, int], tags: Mapping[int, object], orientation: int = 1
) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update(tags)
    Image.fromarray(textured.pattern(3)).resize(size).save(path, exif=exif, quality=90)
    return path


def rational(value: float) -> TiffImagePlugin.IFDRational:
    return TiffImagePlugin.IFDRational(Fraction(value).limit_denominator(1000))


def test_a_large_photo_is_looked_at_as_a_small_copy(tmp_path: Path) -> None:
    found = details_of(photo(tmp_path / "a.jpg", (2111, 1407), {}))
    assert (found.width, found.height) == (SIDE, 1066)
    assert found.centre == pytest.approx((800, 1407 / 2 * SIDE / 2111))
    assert 500 < len(found.places) <= MOST
    assert found.descriptors.shape == (len(found.places), 128)
    sizes = found.places[:, 2]
    assert (np.diff(sizes) <= 0).all(), "the largest first"
    assert scale_of(2111, 1407) == SIDE / 2111
    assert scale_of(300, 200) == 1


def test_a_photo_on_its_side_is_looked_at_upright(tmp_path: Path) -> None:
    found = details_of(photo(tmp_path / "a.jpg", (300, 200), {}, orientation=6))
    assert (found.width, found.height) == (200, 300)


@pytest.mark.parametrize(
    ("tags", "focal"),
    [
        ({0xA405: 28}, 28 / FILM * math.hypot(300, 200)),
        # 50 mm on a sensor with 100 pixels to the mm, of a photo that was 3000 px wide
        ({0x920A: 50.0, 0xA20E: 1000.0, 0xA210: 3, 0xA002: 3000, 0xA003: 2000}, 500.0),
    ],
    ids=["film", "sensor"],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_focal_length_that_a_photo_tells_is_used(
    tmp_path: Path, tags: dict[int, float], focal: float, suffix: str
) -> None:
    given = {
        tag: rational(value) if isinstance(value, float) else value for tag, value in tags.items()
    }
    found = details_of(photo(tmp_path / f"a{suffix}", (300, 200), given))
    assert found.is_told
    assert found.focal == pytest.approx(focal, rel=0.01)


@pytest.mark.parametrize(
    "tags",
    [{}, {0xA405: 0}, {0xA405: 60000}, {0x920A: rational(5.0)}, {0xA405: "wide"}],
    ids=["none", "zero", "absurd", "alone", "text"],
)
def test_without_a_usable_focal_length_one_is_guessed(
    tmp_path: Path, tags: dict[int, object]
) -> None:
    found = details_of(photo(tmp_path / "a.jpg", (300, 200), tags))
    assert not found.is_told
    assert found.focal == pytest.approx(360)


def test_a_photo_without_details_has_none(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (90, 120, 150)).save(tmp_path / "a.png")
    found = details_of(tmp_path / "a.png")
    assert found.places.shape == (0, 4)
    assert found.descriptors.shape == (0, 128)
