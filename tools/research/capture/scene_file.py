# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a capture, as in scene.json."""

from __future__ import annotations

import msgspec

VERSION = 1


class CameraFacts(msgspec.Struct, frozen=True):
    """A frame's camera.

    Attributes
    ----------
    position
        Metres, +z up, the subject's foot at the origin.
    axes
        The camera's right, up and backward directions.
    lens
        Focal length in mm for a sensor whose longer side is 36 mm.
    """

    position: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...]
    lens: float


class FrameFacts(msgspec.Struct, frozen=True):
    """What one photo shows.

    Attributes
    ----------
    file, truth
        Names below the capture's folder.
    visible
        Visible part of the subject's silhouette, 0 to 1. Things in front hide the rest.
    box
        Left, top, right, bottom of the visible subject in px, right and bottom exclusive. None if
        nothing of it is visible.
    """

    file: str
    truth: str
    visible: float
    box: tuple[int, int, int, int] | None
    camera: CameraFacts


class Click(msgspec.Struct, frozen=True):
    """A point on the subject: px from the top left corner, pixel centres at .5."""

    name: str
    x: float
    y: float


class SceneFacts(msgspec.Struct, frozen=True):
    """A whole capture.

    Attributes
    ----------
    size
        Width and height of the photos in px.
    distractors
        Their kinds; the first has id 2.
    clicks
        Up to three points on the subject on the first frame, the best first.
    """

    version: int
    kind: str
    seed: int
    size: tuple[int, int]
    distractors: tuple[str, ...]
    clicks: tuple[Click, ...]
    frames: tuple[FrameFacts, ...]


def encode(facts: SceneFacts) -> str:
    """Return the facts as indented JSON text."""
    return msgspec.json.format(msgspec.json.encode(facts), indent=1).decode() + "\n"


def decode(text: str | bytes) -> SceneFacts:
    """Read the facts from JSON text.

    Raises
    ------
    msgspec.ValidationError
        The text does not contain them.
    """
    return msgspec.json.decode(text, type=SceneFacts)
