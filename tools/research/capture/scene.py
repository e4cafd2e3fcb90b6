# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a scene, independent of any renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .finishes import Finish
from .mesh import Array, Model, rotation


@dataclass(frozen=True)
class Item:
    """A model with its looks and its place.

    Attributes
    ----------
    instance
        Its id; see `identity`.
    finishes
        One for each of the model's material roles.
    at, turn
        Its place (metres, shape (3,)), and its turn about z (radians).
    lets_light_through
        Only the camera sees it. Light passes as if it were not there.
    """

    name: str
    model: Model
    instance: int
    finishes: dict[str, Finish]
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: float = 0.0
    lets_light_through: bool = False

    def vertices(self) -> Array:
        """Return the vertices' places in the scene, shape (N, 3)."""
        return np.array(self.model.vertices) @ rotation("z", self.turn).T + np.array(self.at)


@dataclass(frozen=True)
class Sky:
    """Linear RGB of the zenith, the horizon and the ground below."""

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    below: tuple[float, float, float]


@dataclass(frozen=True)
class LightState:
    """Sun and sky on one frame.

    Attributes
    ----------
    to_sun
        Unit vector, shape (3,).
    sun
        Linear RGB of the sunlight on a surface that faces it, in watts per square metre.
    softness
        The sun's angle across, in radians.
    sky
        Factor on the sky's colours.
    """

    to_sun: Array
    sun: tuple[float, float, float]
    softness: float
    sky: float


@dataclass(frozen=True)
class Development:
    """How one frame's linear picture becomes a photo.

    Attributes
    ----------
    exposure
        In stops.
    warmth
        Above 0 the photo is warmer, below 0 colder; about -0.15 to 0.15.
    noise
        Standard deviation of the sensor's noise in the middle tones, 0 to 1 scale.
    """

    exposure: float
    warmth: float
    noise: float
