# SPDX-License-Identifier: GPL-3.0-or-later
"""How far found cameras are from the true ones, whatever turn, shift and scale their world has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sam2_splat_addon.core.cameras.find import PhotoCamera
from sam2_splat_addon.core.cameras.lens import Floats


@dataclass(frozen=True)
class Errors:
    """Errors of cameras after the best turn, shift and scale of all of them.

    Attributes
    ----------
    far
        Distance from the true place, as a share of the mean distance of the true places from their middle.
    angles
        Angle between the true and the found direction of the photo's middle, degrees.
    """

    far: Floats
    angles: Floats


def errors(found: Mapping[int, PhotoCamera], true: Mapping[int, PhotoCamera]) -> Errors:
    """Compare the cameras of the frames that both have, at least three."""
    frames = sorted(set(found) & set(true))
    ours = np.array([found[frame].position for frame in frames])
    theirs = np.array([true[frame].position for frame in frames])
    a, b = ours - ours.mean(0), theirs - theirs.mean(0)
    left, sizes, right = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(left @ right)))])
    turn = left @ sign @ right
    scale = float((sizes * sign.diagonal()).sum() / (a**2).sum())
    far = np.linalg.norm(scale * a @ turn.T - b, axis=1) / np.linalg.norm(b, axis=1).mean()
    angles = []
    for frame in frames:
        one, other = found[frame], true[frame]  # the picture of one may lie turned: compare rays
        ray = one.rays(np.array([[one.width / 2, one.height / 2]]))[0] @ turn.T
        meant = other.rays(np.array([[other.width / 2, other.height / 2]]))[0]
        angles.append(math.degrees(math.acos(float(np.clip(ray @ meant, -1, 1)))))
    return Errors(far, np.array(angles))
