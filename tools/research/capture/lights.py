# SPDX-License-Identifier: GPL-3.0-or-later
"""Sun, sky and the camera's exposure. All of them change slowly over the frames."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from .orbit import Drift
from .scene import Development, LightState, Sky


class Weather:
    """The light of a capture from its first frame to its last."""

    def __init__(self, rng: Random, indoors: bool) -> None:
        self._azimuth = rng.uniform(-math.pi, math.pi)
        self._height = math.radians(rng.uniform(28, 65))
        self._travel = math.radians(rng.uniform(10, 50))
        self._strength = rng.uniform(1.6, 3.8)
        self._softness = math.radians(rng.choice([0.6, 2, 5, 12, 25]))
        self._sky = rng.uniform(0.35, 0.8) if indoors else rng.uniform(0.5, 1.1)
        self._warmth = rng.uniform(-0.06, 0.1)
        self._exposure = rng.uniform(-0.25, 0.3)
        self._noise = rng.choice([0.002, 0.004, 0.008, 0.014])
        self._clouds = rng.uniform(0.1, 0.5)
        self._drifts = [Drift(rng) for _ in range(5)]
        overcast = rng.random()
        zenith = (0.25 + 0.5 * overcast, 0.45 + 0.35 * overcast, 0.95)
        self.sky = Sky(zenith, horizon=(0.85, 0.88, 0.92), below=(0.35, 0.33, 0.3))

    def at(self, progress: float) -> tuple[LightState, Development]:
        """Return the light at `progress` (0 to 1), and how to develop the frame."""
        travel, cloud, warmth, exposure, sky = (drift(progress) for drift in self._drifts)
        azimuth = self._azimuth + self._travel * (progress - 0.5) * 2
        height = self._height + math.radians(5) * travel
        to_sun = np.array(
            [
                math.cos(height) * math.cos(azimuth),
                math.cos(height) * math.sin(azimuth),
                math.sin(height),
            ]
        )
        power = self._strength * (1 + self._clouds * cloud)
        glow = self._warmth + 0.06 * warmth
        green, blue = 0.95 - 0.4 * max(glow, 0.0), 0.9 - 1.6 * max(glow, -0.05)
        sun = (power, power * green, power * blue)
        state = LightState(to_sun, sun, self._softness, self._sky * (1 + 0.2 * sky))
        develop = Development(self._exposure + 0.3 * exposure, 0.07 * warmth, self._noise)
        return state, develop
