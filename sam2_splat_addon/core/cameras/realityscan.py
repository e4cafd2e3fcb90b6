# SPDX-License-Identifier: GPL-3.0-or-later
"""Read cameras of RealityScan, the former RealityCapture: its CSV file, and XMP files beside the photos.

The CSV is the export "Internal/External camera parameters", with a heading that begins with ``#name``.
Lengths of the lens are in mm of a film that is 36 mm wide along the photo's longer side. Heading, pitch and
roll are degrees; with all three 0 the camera looks straight down, with the photo's top to the north.
XMP files have a rotation from the world to the camera, and lens values in the same film, or as a share of
the longer side.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import CameraError
from ..system.safe_read import read_plain
from .capture import FROM_OPENGL, Capture, Gathering
from .lens import Floats, Lens

KIND: Final = "RealityScan"

_FILM = 36.0
_HEADING = "#name"
_MAX_XMP = 1 << 22
_VALUE = re.compile(r"(?:\sxcr:(\w+)=\"([^\"]*)\"|<xcr:(\w+)>([^<]*)<)")


def is_export(path: Path) -> bool:
    """Whether a file begins as the CSV export."""
    try:
        with path.open("rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"#")
    except OSError:
        return False


def read_export(path: Path, size: tuple[int, int]) -> Capture:
    """Read the CSV export. ``size`` is that of the photos, px, which the file does not say.

    Raises
    ------
    CameraError
        It can't be read, or has no cameras.
    """
    try:
        text = read_plain(path).decode("utf-8-sig", errors="replace")
    except OSError as problem:
        raise CameraError(
            f"{path} can't be read: {problem.strerror or problem}.", "Export the cameras again."
        ) from problem
    lines = text.splitlines()
    first = next((at for at, line in enumerate(lines) if line.lower().startswith(_HEADING)), None)
    heading = [] if first is None else [one.strip().lower() for one in lines[first].split(",")]
    needed = {"x", "y", "heading", "pitch", "roll", "f"}
    if first is None or not needed <= set(heading) or not {"alt", "z"} & set(heading):
        raise CameraError(
            f"{path} has no cameras.",
            'Export "Internal/External camera parameters" from RealityScan.',
        )
    gathered = Gathering()
    try:
        rows = list(csv.reader(lines[first + 1 :]))
    except csv.Error as problem:
        raise CameraError(
            f"{path} can't be read: {problem}.", "Export the cameras again."
        ) from problem
    for row in rows:
        if len(row) < len(heading):
            continue
        values = dict(zip(heading, row, strict=False))
        name = row[0].strip()
        try:
            number = {
                key: float(value)
                for key, value in values.items()
                if key != _HEADING and value.strip()
            }
            turn = FROM_OPENGL @ _heading(number["heading"], number["pitch"], number["roll"]).T
            place = np.array([number["x"], number["y"], number["alt" if "alt" in number else "z"]])
            shift = number.get("px", 0.0) / _FILM, number.get("py", 0.0) / _FILM
            terms = [number.get(one, 0.0) for one in ("k1", "k2", "k3", "k4", "t1", "t2")]
            lens = _lens(size, number["f"], shift, terms)
        except (KeyError, ValueError) as problem:
            gathered.refuse(name, ValueError(str(problem)))
            continue
        gathered.add(name, lens, turn, place)
    return Capture(path, KIND, tuple(gathered.cameras), left_out=gathered.sentences())


def _heading(heading: float, pitch: float, roll: float) -> Floats:
    """Return the rotation from a camera with y up and z backwards to the world, (3, 3)."""
    (a, b, c) = (math.radians(one) for one in (-heading, pitch, roll))
    around_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    around_y = np.array([[math.cos(c), 0, math.sin(c)], [0, 1, 0], [-math.sin(c), 0, math.cos(c)]])
    around_z = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    found: Floats = around_z @ around_x @ around_y
    return found


def _lens(
    size: tuple[int, int], film: float, shift: tuple[float, float], terms: Iterable[float]
) -> Lens:
    """Return the lens. ``film`` is the focal length, mm; ``shift`` is that of the centre, in longer sides."""
    width, height = size
    longer = max(size)
    focal = film * longer / _FILM
    middle = width / 2 + shift[0] * longer, height / 2 + shift[1] * longer
    return Lens("BROWN", width, height, (focal, focal, *middle, *terms))


def read_sidecars(photos: Iterable[Path], size: tuple[int, int], source: Path) -> Capture:
    """Read the XMP file beside each photo. Photos without one, or without a place in it, are left out."""
    gathered = Gathering()
    for photo in photos:
        path = photo.with_suffix(".xmp")
        try:
            data = read_plain(path)
        except OSError:
            continue
        if len(data) > _MAX_XMP or b"xcr:" not in data:
            continue
        found = {
            attribute or element: value or text
            for attribute, value, element, text in _VALUE.findall(
                data.decode("utf-8", errors="replace")
            )
        }
        if "Rotation" not in found or "Position" not in found or "FocalLength35mm" not in found:
            continue
        try:
            turn = np.array(found["Rotation"].split(), dtype=np.float64).reshape(3, 3)
            place = np.array(found["Position"].split(), dtype=np.float64)
            shift = (
                float(found.get("PrincipalPointU", 0)),
                float(found.get("PrincipalPointV", 0)),
            )
            terms = [float(one) for one in found.get("DistortionCoeficients", "").split()]
            if found.get("DistortionModel") == "perspective" or len(terms) != 6:
                terms = [0.0] * 6
            lens = _lens(size, float(found["FocalLength35mm"]), shift, terms)
        except ValueError as problem:
            gathered.refuse(photo.name, problem)
            continue
        gathered.add(photo.name, lens, turn, place)
    return Capture(source, KIND, tuple(gathered.cameras), left_out=gathered.sentences())
