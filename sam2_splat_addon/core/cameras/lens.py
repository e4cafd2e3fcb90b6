# SPDX-License-Identifier: GPL-3.0-or-later
"""Project points through a lens, and find the ray of a pixel: every camera model of COLMAP, and one more.

A model has two steps. First the direction of a point becomes a place on a plane. A perspective lens divides
by the depth; a fisheye takes the angle to the axis as distance from the centre. Then the plane is distorted.
Names and order of the parameters are COLMAP's. `BROWN` is RealityScan's and nerfstudio's lens with four
radial terms, which COLMAP does not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEPS = 60  # of Newton's method; nearly all pixels need fewer than ten
_CLOSE = 1e-10
_STEP = 1e-6  # of the numeric derivative
_MOST = 1 << 24  # px of a side; no picture is larger, and arithmetic with more can overflow

_Plane = Literal["perspective", "fisheye", "division", "eucm", "sphere"]
_Distort = Callable[[Floats, Floats, tuple[float, ...]], tuple[Floats, Floats]]


def _none(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    return x, y


def _radial(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Any number of radial terms: 1 + k1 r^2 + k2 r^4 ..."""
    r2 = x * x + y * y
    factor = np.ones_like(r2)
    power = r2
    for one in k:
        factor = factor + one * power
        power = power * r2
    return x * factor, y * factor


def _tangential(x: Floats, y: Floats, p1: float, p2: float) -> tuple[Floats, Floats]:
    r2 = x * x + y * y
    return (
        2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        2 * p2 * x * y + p1 * (r2 + 2 * y * y),
    )


def _opencv(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    k1, k2, p1, p2 = k
    radial, tangential = _radial(x, y, (k1, k2)), _tangential(x, y, p1, p2)
    return radial[0] + tangential[0], radial[1] + tangential[1]


def _full_opencv(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    k1, k2, p1, p2, k3, k4, k5, k6 = k
    r2 = x * x + y * y
    factor = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    factor = factor / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    tangential = _tangential(x, y, p1, p2)
    return x * factor + tangential[0], y * factor + tangential[1]


def _brown(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    radial, tangential = _radial(x, y, k[:4]), _tangential(x, y, k[4], k[5])
    return radial[0] + tangential[0], radial[1] + tangential[1]


def _fov(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    omega = k[0]
    if abs(omega) < 1e-9:
        return x, y
    wide = 2 * math.tan(omega / 2)
    r = np.sqrt(x * x + y * y)
    factor = np.divide(
        np.arctan(r * wide), r * omega, out=np.full_like(r, wide / omega), where=r > 1e-9
    )
    return x * factor, y * factor


def _thin_prism(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    k1, k2, p1, p2, k3, k4, sx1, sy1 = k
    r2 = x * x + y * y
    radial, tangential = _radial(x, y, (k1, k2, k3, k4)), _tangential(x, y, p1, p2)
    return radial[0] + tangential[0] + sx1 * r2, radial[1] + tangential[1] + sy1 * r2


def _rad_tan_thin_prism(x: Floats, y: Floats, k: tuple[float, ...]) -> tuple[Floats, Floats]:
    p0, p1, s0, s1, s2, s3 = k[6:]
    x, y = _radial(x, y, k[:6])
    r2 = x * x + y * y
    tangential = _tangential(x, y, p1, p0)
    prism = s0 * r2 + s1 * r2 * r2, s2 * r2 + s3 * r2 * r2
    return x + tangential[0] + prism[0], y + tangential[1] + prism[1]


@dataclass(frozen=True)
class _Model:
    """How a model works.

    Attributes
    ----------
    number
        COLMAP's id.
    focals
        1: one focal length for both directions; 2: one each; 0: none.
    distorts
        The distortion of the plane.
    coefficients
        How many numbers follow the focal lengths and the centre.
    """

    number: int
    plane: _Plane
    focals: int
    coefficients: int = 0
    distorts: _Distort = _none

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.focals + 2 + self.coefficients


MODELS: Final[dict[str, _Model]] = {
    "SIMPLE_PINHOLE": _Model(0, "perspective", 1),
    "PINHOLE": _Model(1, "perspective", 2),
    "SIMPLE_RADIAL": _Model(2, "perspective", 1, 1, _radial),
    "RADIAL": _Model(3, "perspective", 1, 2, _radial),
    "OPENCV": _Model(4, "perspective", 2, 4, _opencv),
    "OPENCV_FISHEYE": _Model(5, "fisheye", 2, 4, _radial),
    "FULL_OPENCV": _Model(6, "perspective", 2, 8, _full_opencv),
    "FOV": _Model(7, "perspective", 2, 1, _fov),
    "SIMPLE_RADIAL_FISHEYE": _Model(8, "fisheye", 1, 1, _radial),
    "RADIAL_FISHEYE": _Model(9, "fisheye", 1, 2, _radial),
    "THIN_PRISM_FISHEYE": _Model(10, "fisheye", 2, 8, _thin_prism),
    "RAD_TAN_THIN_PRISM_FISHEYE": _Model(11, "fisheye", 2, 12, _rad_tan_thin_prism),
    "SIMPLE_DIVISION": _Model(12, "division", 1, 1),
    "DIVISION": _Model(13, "division", 2, 1),
    "SIMPLE_FISHEYE": _Model(14, "fisheye", 1),
    "FISHEYE": _Model(15, "fisheye", 2),
    "EUCM": _Model(16, "eucm", 2, 2),
    "EQUIRECTANGULAR": _Model(17, "sphere", 0),
    "BROWN": _Model(-1, "perspective", 2, 6, _brown),
}
"""The models by name."""

NAMES: Final[dict[int, str]] = {
    model.number: name for name, model in MODELS.items() if model.number >= 0
}
"""COLMAP's number of a model -> its name."""


@dataclass(frozen=True)
class Lens:
    """A lens with the size of its pictures.

    Pixels have their origin at the top-left corner of the top-left pixel, as everywhere here and in COLMAP.

    Attributes
    ----------
    model
        One of `MODELS`.
    width, height
        Size of the picture that the parameters are for, px.
    params
        COLMAP's parameters: focal lengths, the centre, then distortion.

    Raises
    ------
    ValueError
        The model is unknown, or the parameters are of a wrong number or no numbers, or there is no size.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        model = MODELS.get(self.model)
        if model is None:
            raise ValueError(f"the camera model {self.model} is unknown")
        if len(self.params) != model.size:
            raise ValueError(f"{self.model} has {model.size} parameters, not {len(self.params)}")
        if not all(map(math.isfinite, self.params)):
            raise ValueError(f"a parameter of {self.model} is no number")
        if not 1 <= min(self.width, self.height) <= max(self.width, self.height) <= _MOST:
            raise ValueError(f"a camera has {self.width}x{self.height} px")
        if min(self._focal) <= 0:
            raise ValueError("a focal length is not above 0")

    @property
    def _focal(self) -> tuple[float, float]:
        """The focal lengths, px."""
        focals = MODELS[self.model].focals
        if focals == 0:
            return self.width / (2 * math.pi), self.height / math.pi
        return self.params[0], self.params[focals - 1]

    @property
    def focal(self) -> float:
        """The focal length, px: how many pixels a radian has in the middle of the picture."""
        return math.sqrt(self._focal[0] * self._focal[1])

    @property
    def _centre(self) -> tuple[float, float]:
        focals = MODELS[self.model].focals
        if focals == 0:
            return self.width / 2, self.height / 2
        return self.params[focals], self.params[focals + 1]

    @property
    def _coefficients(self) -> tuple[float, ...]:
        focals = MODELS[self.model].focals
        return self.params[focals + 2 :] if focals else ()

    def project(self, points: Floats) -> Floats:
        """Return the pixels of points.

        Parameters
        ----------
        points
            (n, 3), in the camera's own axes: x right, y down, z forwards.

        Returns
        -------
        (n, 2) float64
            x and y, px. They may be outside of the picture. NaN where the lens can't see the point.
        """
        x, y, z = np.asarray(points, dtype=np.float64).T
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            u, v, seen = self._on_plane(x, y, z)
            seen &= np.hypot(u, v) <= self._reach
            u, v = MODELS[self.model].distorts(u, v, self._coefficients)
            (fx, fy), (cx, cy) = self._focal, self._centre
            found: Floats = np.stack([fx * u + cx, fy * v + cy], axis=-1)
        found[~seen] = np.nan
        return found

    def _on_plane(
        self, x: Floats, y: Floats, z: Floats
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return the place on the plane, and where there is one."""
        plane = MODELS[self.model].plane
        across = np.hypot(x, y)
        if plane == "fisheye":
            angle = np.arctan2(across, z)
            factor = np.divide(angle, across, out=np.zeros_like(across), where=across > 0)
            straight = (across == 0) & (z > 0)
            return x * factor, y * factor, (across > 0) | straight
        if plane == "sphere":
            far = np.sqrt(across * across + z * z)
            up = np.divide(y, far, out=np.zeros_like(y), where=far > 0)
            return np.arctan2(x, z), np.arcsin(up.clip(-1, 1)), far > 0
        if plane == "division":
            (k,) = self._coefficients
            under = z * z - 4 * k * across * across
            below = z + np.sqrt(under)
            return 2 * x / below, 2 * y / below, (z > 0) & (under >= 0) & (below > 0)
        if plane == "eucm":
            alpha, beta = self._coefficients
            below = alpha * np.sqrt(beta * across * across + z * z) + (1 - alpha) * z
            return x / below, y / below, (below > 1e-12) & (z > -_widest(alpha) * below)
        return x / z, y / z, z > 0

    @cached_property
    def _reach(self) -> float:
        """The distance from the centre of the plane up to which the distortion does not fold back.

        Beyond it, a polynomial brings points that are far outside of the picture back into it.
        """
        model = MODELS[self.model]
        if model.distorts in (_none, _fov):
            return math.inf
        most = math.pi if model.plane == "fisheye" else 8.0
        r = np.linspace(0, most, 2001)
        found = most if model.plane == "fisheye" else math.inf
        for angle in np.linspace(0, 2 * math.pi, 8, endpoint=False):
            u, v = model.distorts(r * math.cos(angle), r * math.sin(angle), self._coefficients)
            along = u * math.cos(angle) + v * math.sin(angle)
            falls = np.flatnonzero(np.diff(along) <= 0)
            if len(falls):
                found = min(found, float(r[falls[0]]))
        return found

    def unproject(self, pixels: Floats) -> Floats:
        """Return the rays of pixels.

        Parameters
        ----------
        pixels
            (n, 2): x and y, px.

        Returns
        -------
        (n, 3) float64
            Unit vectors in the camera's axes; NaN where no ray ends at the pixel.
        """
        (fx, fy), (cx, cy) = self._focal, self._centre
        pixels = np.asarray(pixels, dtype=np.float64)
        x, y = (pixels[:, 0] - cx) / fx, (pixels[:, 1] - cy) / fy
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            u, v = self._undistorted(x, y)
            rays = self._off_plane(u, v)
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        rays[~np.isfinite(rays).all(axis=1)] = np.nan
        return rays

    def _off_plane(self, u: Floats, v: Floats) -> Floats:
        plane = MODELS[self.model].plane
        r = np.hypot(u, v)
        if plane == "fisheye":
            factor = np.divide(np.sin(r), r, out=np.ones_like(r), where=r > 0)
            rays: Floats = np.stack([u * factor, v * factor, np.cos(r)], axis=-1)
            rays[r > math.pi] = np.nan
            return rays
        if plane == "sphere":
            level = np.cos(v)
            return np.stack([np.sin(u) * level, np.sin(v), np.cos(u) * level], axis=-1)
        if plane == "division":
            (k,) = self._coefficients
            return np.stack([u, v, 1 + k * r * r], axis=-1)
        if plane == "eucm":
            alpha, beta = self._coefficients
            b = beta * r * r
            z = (1 - alpha * alpha * b) / (alpha * np.sqrt(1 - (2 * alpha - 1) * b) + 1 - alpha)
            return np.stack([u, v, z], axis=-1)
        return np.stack([u, v, np.ones_like(u)], axis=-1)

    def _undistorted(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Invert the distortion by Newton's method, for each place by itself."""
        distorts, k = MODELS[self.model].distorts, self._coefficients
        if distorts is _none:
            return x, y
        u, v = x.copy(), y.copy()
        for _ in range(_STEPS):
            a, b = distorts(u, v, k)
            off_x, off_y = a - x, b - y
            if not (np.maximum(np.abs(off_x), np.abs(off_y)) > _CLOSE).any():
                break
            right, down = distorts(u + _STEP, v, k), distorts(u, v + _STEP, k)
            ax, bx = (right[0] - a) / _STEP, (right[1] - b) / _STEP
            ay, by = (down[0] - a) / _STEP, (down[1] - b) / _STEP
            det = ax * by - ay * bx
            du, dv = (by * off_x - ay * off_y) / det, (ax * off_y - bx * off_x) / det
            # A step of more than half the way would jump over the fold of a strong distortion.
            longest = 0.5 * np.maximum(np.hypot(u, v), 0.1)
            short = np.minimum(1.0, longest / np.maximum(np.hypot(du, dv), 1e-30))
            u, v = u - short * du, v - short * dv
        a, b = distorts(u, v, k)
        wrong = ~(np.hypot(a - x, b - y) < 1e-6) | (np.hypot(u, v) > self._reach)
        u[wrong], v[wrong] = np.nan, np.nan
        return u, v


def _widest(alpha: float) -> float:
    """Return how far behind the camera an EUCM lens may see, as a share of the distance."""
    return (1 - alpha) / alpha if alpha > 0.5 else (alpha / (1 - alpha) if alpha < 1 else math.inf)
