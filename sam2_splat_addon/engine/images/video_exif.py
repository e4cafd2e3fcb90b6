# SPDX-License-Identifier: GPL-3.0-or-later
"""Make EXIF for a photo from a video: its time, its frame, and the camera as the video names it.

Apple, Android and cameras write these facts under different names. What is missing or makes no sense
is left out.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

_DESCRIPTION, _MAKE, _MODEL, _SOFTWARE = 0x010E, 0x010F, 0x0110, 0x0131
_EXIF, _GPS, _ORIENTATION = 0x8769, 0x8825, 0x0112
_ORIGINAL, _SUBSECONDS, _OFFSET, _COMMENT = 0x9003, 0x9291, 0x9011, 0x9286
_FOCAL_35, _LENS = 0xA405, 0xA434
_LONGEST: Final = 200  # letters of a text

# A fact, and the names of it, first one first. Names are compared without their case.
_NAMES: Final = {
    "make": ("com.apple.quicktime.make", "com.android.manufacturer", "make", "manufacturer", "©mak"),
    "model": ("com.apple.quicktime.model", "com.android.model", "model", "©mod"),
    "software": ("com.apple.quicktime.software", "software"),
    "lens": ("com.apple.quicktime.camera.lens_model", "lens_model", "lens"),
    "focal": ("com.apple.quicktime.camera.focal_length.35mm_equivalent", "focal_length_35mm"),
    "place": ("com.apple.quicktime.location.iso6709", "location", "location-eng", "©xyz"),
    "time": ("com.apple.quicktime.creationdate", "creation_time", "date"),
}  # fmt: skip
_ISO6709: Final = re.compile(
    r"([+-][0-9]{2,6}(?:\.[0-9]+)?)([+-][0-9]{3,7}(?:\.[0-9]+)?)([+-][0-9]+(?:\.[0-9]+)?)?"
)
_EARLIEST: Final = 1990  # containers without a time count from 1904 or 1970


@dataclass(frozen=True)
class Camera:
    """What a video says of its camera. Empty or None where it says nothing.

    Attributes
    ----------
    focal_mm
        Focal length as on 35 mm film, mm.
    place
        Latitude and longitude, degrees, and altitude, m, or None.
    begin
        When the first frame was taken.
    """

    make: str = ""
    model: str = ""
    software: str = ""
    lens: str = ""
    focal_mm: int = 0
    place: tuple[float, float, float | None] | None = None
    begin: datetime.datetime | None = None


def camera_of(metadata: Mapping[str, str]) -> Camera:
    """Read the facts of a video's metadata. What can't be understood is left out."""
    known = {name.casefold(): value for name, value in metadata.items()}

    def fact(what: str) -> str:
        found = (known.get(name, "").strip("\0 \t\r\n") for name in _NAMES[what])
        return next((text[:_LONGEST] for text in found if text), "")

    return Camera(
        fact("make"),
        fact("model"),
        fact("software"),
        fact("lens"),
        _focal(fact("focal")),
        _place(fact("place")),
        _time(fact("time")),
    )


def _focal(text: str) -> int:
    found = re.match(r"[0-9]{1,4}(\.[0-9]+)?", text)
    return round(float(found[0])) if found else 0


def _place(text: str) -> tuple[float, float, float | None] | None:
    found = _ISO6709.match(text)
    if found is None:
        return None
    latitude, longitude = _degrees(found[1], 2), _degrees(found[2], 3)
    if abs(latitude) > 90 or abs(longitude) > 180 or latitude == longitude == 0.0:
        return None
    return latitude, longitude, float(found[3]) if found[3] else None


def _degrees(text: str, digits: int) -> float:
    """Read ISO 6709: degrees, and perhaps two digits of minutes and of seconds without a sign between."""
    sign, number = (-1.0 if text[0] == "-" else 1.0), text[1:]
    whole, dot, rest = number.partition(".")
    parts = [whole[:digits], *(whole[at : at + 2] for at in range(digits, len(whole), 2))]
    parts[-1] += dot + rest
    return sign * float(sum(float(part) / 60.0**power for power, part in enumerate(parts)))


def _time(text: str) -> datetime.datetime | None:
    text = re.sub(r"^([0-9]{4})[:/]([0-9]{2})[:/]", r"\1-\2-", text)
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.year >= _EARLIEST and ":" in text else None


def exif_of(camera: Camera, video: str, frame: int, seconds: float) -> bytes:
    """Return the EXIF of a photo, as a TIFF structure.

    Parameters
    ----------
    video
        Name of the file.
    frame, seconds
        Number of the frame, from 1, and its time since the first frame.
    """
    made: Any = Image.Exif()
    text = f"{video}, frame {frame}, {seconds:.3f} s"
    made[_DESCRIPTION] = text.encode("ascii", "replace").decode()
    made[_ORIENTATION] = 1
    for tag, value in ((_MAKE, camera.make), (_MODEL, camera.model), (_SOFTWARE, camera.software)):
        if value:
            made[tag] = value.encode("ascii", "replace").decode()
    inner = made.get_ifd(_EXIF)
    inner[_COMMENT] = b"UNICODE\0" + text.encode("utf-16-le", "replace")
    if camera.begin is not None:
        _put_time(inner, camera.begin, seconds)
    if camera.focal_mm:
        inner[_FOCAL_35] = camera.focal_mm
    if camera.lens:
        inner[_LENS] = camera.lens.encode("ascii", "replace").decode()
    if camera.place is not None:
        _put_place(made.get_ifd(_GPS), camera.place)
    data: bytes = made.tobytes()
    return data.removeprefix(b"Exif\0\0")


def _put_time(inner: Any, begin: datetime.datetime, seconds: float) -> None:
    try:
        time = begin + datetime.timedelta(milliseconds=round(1000 * seconds))
    except OverflowError:
        return
    inner[_ORIGINAL] = time.strftime("%Y:%m:%d %H:%M:%S")
    inner[_SUBSECONDS] = f"{time.microsecond // 1000:03d}"
    offset = time.utcoffset()
    if offset is not None:
        minutes = int(offset.total_seconds()) // 60
        sign = "-" if minutes < 0 else "+"
        inner[_OFFSET] = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _put_place(gps: Any, place: tuple[float, float, float | None]) -> None:
    latitude, longitude, altitude = place
    gps[1], gps[2] = "N" if latitude >= 0 else "S", _sexagesimal(latitude)
    gps[3], gps[4] = "E" if longitude >= 0 else "W", _sexagesimal(longitude)
    if altitude is not None and math.isfinite(altitude):
        gps[5] = b"\1" if altitude < 0 else b"\0"
        gps[6] = _rational(round(abs(altitude) * 100), 100)


def _sexagesimal(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    parts = round(abs(degrees) * 3600 * 10000)
    whole, rest = divmod(parts, 3600 * 10000)
    minutes, seconds = divmod(rest, 60 * 10000)
    return _rational(whole, 1), _rational(minutes, 1), _rational(seconds, 10000)


def _rational(above: int, below: int) -> IFDRational:
    exact = Fraction(above, below)
    return IFDRational(exact.numerator, exact.denominator)
