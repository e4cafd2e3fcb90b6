# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo of a video says when it was taken, from which frame, and by which camera, as far as is known."""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from sam2_splat_addon.engine.images.jpeg_exif import with_exif
from sam2_splat_addon.engine.images.video_exif import camera_of, exif_of

IPHONE = {
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.model": "iPhone 15 Pro",
    "com.apple.quicktime.software": "17.1",
    "com.apple.quicktime.creationdate": "2024-05-03T16:20:07+0200",
    "com.apple.quicktime.location.ISO6709": "+47.3769+008.5417+408.230/",
    "com.apple.quicktime.camera.focal_length.35mm_equivalent": "24",
    "creation_time": "2024-05-03T14:20:07.000000Z",
}
ANDROID = {
    "com.android.manufacturer": "Google",
    "com.android.model": "Pixel 8",
    "creation_time": "2024-05-03T14:20:07.000000Z",
    "location": "-33.8688+151.2093/",
}


def tags(metadata: dict[str, str], seconds: float = 1.25) -> tuple[Any, Any, Any]:
    """Return the tags of a photo, of its EXIF part and of its GPS part, as Pillow reads them."""
    exif = exif_of(camera_of(metadata), "walk.mov", 38, seconds)
    jpeg = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    image = Image.open(io.BytesIO(with_exif(jpeg, exif)))
    image.load()
    read = image.getexif()
    return read, read.get_ifd(0x8769), read.get_ifd(0x8825)


def test_an_iphone_is_known_with_place_time_and_lens() -> None:
    photo, inner, gps = tags(IPHONE)
    assert (photo[0x010F], photo[0x0110], photo[0x0112]) == ("Apple", "iPhone 15 Pro", 1)
    assert photo[0x010E] == "walk.mov, frame 38, 1.250 s"
    assert inner[0x9286].decode("utf-16-le")[4:] == "walk.mov, frame 38, 1.250 s"
    assert (inner[0x9003], inner[0x9291], inner[0x9011]) == ("2024:05:03 16:20:08", "250", "+02:00")
    assert inner[0xA405] == 24
    assert (gps[1], gps[3], gps[5]) == ("N", "E", b"\0")
    assert [float(part) for part in gps[2]] == pytest.approx([47, 22, 36.84])
    assert [float(part) for part in gps[4]] == pytest.approx([8, 32, 30.12])
    assert float(gps[6]) == pytest.approx(408.23)


def test_an_android_phone_is_known_too() -> None:
    photo, inner, gps = tags(ANDROID)
    assert (photo[0x010F], photo[0x0110]) == ("Google", "Pixel 8")
    assert (inner[0x9003], inner[0x9011]) == ("2024:05:03 14:20:08", "+00:00")
    assert (gps[1], gps[3], 5 in gps) == ("S", "E", False)


def test_without_facts_only_the_frame_is_told() -> None:
    photo, inner, gps = tags({})
    assert set(photo) == {0x010E, 0x0112, 0x8769}
    assert set(inner) == {0x9286}
    assert not gps


@pytest.mark.parametrize(
    "wrong",
    [
        {"creation_time": "1904-01-01T00:00:00.000000Z"},
        {"creation_time": "1970-01-01T00:00:00.000000Z"},
        {"creation_time": "yesterday"},
        {"creation_time": "2024"},
        {"creation_time": "9999-12-31T23:59:59.999Z"},
        {"location": "here"},
        {"location": "+99.0+000.0/"},
        {"location": "+00.0000+000.0000/"},
        {"com.apple.quicktime.camera.focal_length.35mm_equivalent": "wide"},
        {"make": "\0\0"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_left_out(wrong: dict[str, str]) -> None:
    photo, inner, gps = tags(wrong)
    assert set(photo) == {0x010E, 0x0112, 0x8769}
    assert set(inner) == {0x9286}
    assert not gps


def test_letters_that_exif_does_not_know_are_replaced() -> None:
    photo, _, _ = tags({"make": "Fünf", "model": "カメラ" * 200})
    assert photo[0x010F] == "F?nf"
    assert len(photo[0x0110]) == 200


def test_degrees_with_minutes_are_read() -> None:
    place = camera_of({"location": "+4730.5-00820.25/"}).place
    assert place is not None
    assert place[:2] == pytest.approx((47 + 30.5 / 60, -(8 + 20.25 / 60)))


def test_the_time_goes_over_midnight() -> None:
    begin = camera_of({"creation_time": "2024-12-31T23:59:59.900Z"}).begin
    assert begin == datetime.datetime(2024, 12, 31, 23, 59, 59, 900_000, datetime.UTC)
    assert tags({"creation_time": "2024-12-31T23:59:59.900Z"}, 0.2)[1][0x9003] == (
        "2025:01:01 00:00:00"
    )


def test_the_same_facts_give_the_same_bytes() -> None:
    made = {exif_of(camera_of(IPHONE), "walk.mov", 38, 1.25) for _ in range(3)}
    assert len(made) == 1
