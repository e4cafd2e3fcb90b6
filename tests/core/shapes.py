# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes that are hard to outline, as small logits such as a model gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.geometry.spline_slots import SlotPlan, SlotPlanner
from sam2_splat_addon.core.geometry.trace import Contour

Array = NDArray[np.float64]
# Signed distance to the edge of a shape, positive inside, in a unit square with y down.
Shape = Callable[[Array, Array], Array]

LOGITS_SIDE = 160


def disc(x: float, y: float, radius: float) -> Shape:
    return lambda u, v: radius - np.hypot(u - x, v - y)


def bar(x0: float, y0: float, x1: float, y1: float, half: float) -> Shape:
    """A bar with round ends between two points; its thickness is twice `half`."""

    def shape(u: Array, v: Array) -> Array:
        along = np.array([x1 - x0, y1 - y0])
        at = ((u - x0) * along[0] + (v - y0) * along[1]) / float(along @ along)
        at = at.clip(0.0, 1.0)
        return half - np.hypot(u - x0 - at * along[0], v - y0 - at * along[1])

    return shape


def union(*shapes: Shape) -> Shape:
    return lambda u, v: np.max([shape(u, v) for shape in shapes], axis=0)


def without(shape: Shape, *holes: Shape) -> Shape:
    return lambda u, v: np.minimum(shape(u, v), np.min([-hole(u, v) for hole in holes], axis=0))


def nothing(u: Array, v: Array) -> Array:
    return np.full_like(u, -1.0)


def everything(u: Array, v: Array) -> Array:
    return np.full_like(u, 1.0)


def checkers(u: Array, v: Array) -> Array:
    """Squares that touch at their corners."""
    inside = ((u * 6).astype(int) + (v * 6).astype(int)) % 2 == 0
    return np.where(inside & (u < 5 / 6) & (v < 5 / 6), 0.5, -0.5)


def logits_of(shape: Shape, side: int = LOGITS_SIDE) -> Array:
    """Make logits, (side, side): positive inside a shape, and as steep as those of a model."""
    centres = (np.arange(side) + 0.5) / side
    u, v = np.meshgrid(centres, centres)
    distance = (shape(u, v) * side * 2.0).clip(-10.0, 10.0)
    return distance.astype(np.float16).astype(np.float64)


def matte_of(logits: Array, width: int, height: int) -> NDArray[np.bool_]:
    """Make the matte that logits describe, (height, width)."""
    return upsample_binary(logits.astype(np.float32), width, height)


def intersection_over_union(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the IoU; 1 for two empty mattes."""
    either = int((one | other).sum())
    return 1.0 if either == 0 else int((one & other).sum()) / either


# Odd coordinates: straight edges must not lie on pixel centres, where both answers are right.
_CHAIR = without(
    union(
        bar(0.3031, 0.152, 0.2963, 0.903, 0.008),
        bar(0.7017, 0.149, 0.7094, 0.897, 0.008),
        bar(0.4042, 0.551, 0.3871, 0.803, 0.006),
        bar(0.6029, 0.553, 0.6213, 0.798, 0.006),
        bar(0.3031, 0.5037, 0.7017, 0.5081, 0.05),
        bar(0.3237, 0.2513, 0.6829, 0.2497, 0.08),
    ),
    disc(0.5, 0.25, 0.04),
)
_RING = without(disc(0.5, 0.5, 0.3), disc(0.5, 0.5, 0.2))

HARD_SHAPES: dict[str, Shape] = {
    "chair": _CHAIR,
    "ring": _RING,
    "nothing": nothing,
    "nested": union(
        _RING, without(disc(0.5, 0.5, 0.14), disc(0.5, 0.5, 0.07)), disc(0.5, 0.5, 0.03)
    ),
    "two_parts": union(disc(0.25, 0.4, 0.15), bar(0.7, 0.2, 0.8, 0.8, 0.05)),
    "thin_limbs": union(
        disc(0.5, 0.5, 0.08),
        *(
            bar(0.5, 0.5, 0.5 + 0.4 * np.cos(a), 0.5 + 0.4 * np.sin(a), 0.007)
            for a in np.arange(7) * 0.9
        ),
    ),
    "specks": union(
        disc(0.5, 0.5, 0.2),
        *(disc(0.1 + 0.09 * step, 0.1 + 0.01 * step, 0.008) for step in range(9)),
    ),
    "over_the_border": union(disc(0.0, 0.3, 0.2), disc(1.0, 1.0, 0.3), bar(0.5, 0, 0.5, 1, 0.04)),
    "everything": everything,
    "hole_in_everything": without(everything, disc(0.5, 0.5, 0.1), disc(1.0, 0.0, 0.2)),
    "touching_corners": checkers,
    "other_parts": union(disc(0.8, 0.2, 0.1), disc(0.2, 0.8, 0.12), _RING),
    "one_speck": disc(0.62, 0.31, 0.012),
}


def plan_slots(
    frames: Iterable[Sequence[Contour]], *, max_slots: int = 24, max_points: int = 256
) -> SlotPlan:
    """Give the slots of one object, from the outlines of all frames."""
    planner = SlotPlanner(max_slots=max_slots, max_points=max_points)
    for contours in frames:
        planner.add(contours)
    return planner.finish()
