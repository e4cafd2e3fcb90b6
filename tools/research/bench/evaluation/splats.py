# SPDX-License-Identifier: GPL-3.0-or-later
"""A small trainer of gaussian splats for the processor. It serves the benchmarks alone.

It learns an object without a background from images with alpha, as Postshot, Brush and others do. The image
and the splat lie over the same random colour in each step, so what is transparent is learned too. The rules
are those of Kerbl et al. 2023, with colours of the first degree and a fixed number of gaussians: these begin
on the surface of the masks' hull.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .splat_raster import draw, lead_back, tiles_of

_BLUR = 0.3  # px², added to each gaussian's picture
_NEAR = 0.05  # of the depth to the middle of the scene
_SH0, _SH1 = 0.28209479177387814, 0.4886025119029199
_CELLS = 56  # along each side of the hull
_DECAY = 0.02  # of the rate of places at the end


@dataclass(frozen=True)
class View:
    """A camera.

    Attributes
    ----------
    position
        (3,), world.
    rotation
        (3, 3) from the world to right, down and ahead.
    focal
        px.
    size
        (width, height), px. The middle of the picture is the principal point.
    """

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    focal: float
    size: tuple[int, int]

    def project(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any]:
        """Return px positions, (n, 2), and depths, (n,)."""
        local = (points - self.position) @ self.rotation.T
        depth = np.maximum(local[:, 2], 1e-6)
        middle = np.array(self.size) / 2
        return self.focal * local[:, :2] / depth[:, None] + middle, local[:, 2]


class _Raster(torch.autograd.Function):
    """The compiled loops as one step of torch's."""

    @staticmethod
    def forward(
        ctx: Any,
        middles: Tensor,
        conics: Tensor,
        colors: Tensor,
        opacities: Tensor,
        radii: NDArray[np.float32],
        order: NDArray[np.int64],
        size: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        width, height = size
        at, shapes, hues, alphas = (
            one.detach().numpy() for one in (middles, conics, colors, opacities)
        )
        begins, listed = tiles_of(at, radii, order, width, height)
        image = np.zeros((height, width, 3), np.float32)
        left = np.zeros((height, width), np.float32)
        ends = np.zeros((height, width), np.int64)
        draw(at, shapes, hues, alphas, begins, listed, image, left, ends)
        ctx.kept = (at, shapes, hues, alphas, begins, listed, left, ends)
        return torch.from_numpy(image), torch.from_numpy(left)

    @staticmethod
    def backward(ctx: Any, to_image: Tensor, to_left: Tensor) -> Any:
        at, shapes, hues, alphas, begins, listed, left, ends = ctx.kept
        slopes = [np.zeros_like(one) for one in (at, shapes, hues, alphas)]
        lead_back(
            at,
            shapes,
            hues,
            alphas,
            begins,
            listed,
            left,
            ends,
            to_image.contiguous().numpy(),
            to_left.contiguous().numpy(),
            slopes[0],
            slopes[1],
            slopes[2],
            slopes[3],
        )
        return *(torch.from_numpy(one) for one in slopes), None, None, None


class Splat:
    """Gaussians that can be trained.

    Parameters
    ----------
    points, colors
        Where they begin and in which colours, (n, 3); colours from 0 to 1.
    spacing
        How far they lie apart, in the world's units.
    """

    def __init__(
        self, points: NDArray[np.float64], colors: NDArray[np.float64], spacing: float
    ) -> None:
        count = len(points)
        harmonics = torch.zeros(count, 4, 3)
        harmonics[:, 0] = torch.from_numpy((colors - 0.5) / _SH0).float()
        turns = torch.zeros(count, 4)
        turns[:, 0] = 1
        self.places = torch.from_numpy(points).float().requires_grad_()
        self.scales = torch.full((count, 3), float(np.log(spacing * 0.6))).requires_grad_()
        self.turns = turns.requires_grad_()
        self.opacities = torch.full((count,), 0.0).requires_grad_()
        self.harmonics = harmonics.requires_grad_()

    def render(self, view: View) -> tuple[Tensor, Tensor]:
        """Return colours multiplied by alpha, (H, W, 3), and alpha, (H, W)."""
        rotation = torch.from_numpy(view.rotation).float()
        away = self.places - torch.from_numpy(view.position).float()
        x, y, z = (away @ rotation.T).unbind(1)
        is_seen = z > _NEAR
        z = z.clamp(min=_NEAR)
        width, height = view.size
        middles = torch.stack(
            [view.focal * x / z + width / 2, view.focal * y / z + height / 2], dim=1
        )
        zero = torch.zeros_like(z)
        slope = torch.stack(
            [
                torch.stack([view.focal / z, zero, -view.focal * x / z**2], dim=1),
                torch.stack([zero, view.focal / z, -view.focal * y / z**2], dim=1),
            ],
            dim=1,
        )  # (N, 2, 3)
        spread = slope @ rotation @ (_rotations(self.turns) * self.scales.exp()[:, None, :])
        covariance = spread @ spread.transpose(1, 2)
        xx, xy, yy = covariance[:, 0, 0] + _BLUR, covariance[:, 0, 1], covariance[:, 1, 1] + _BLUR
        area = (xx * yy - xy * xy).clamp(min=1e-9)
        conics = torch.stack([yy / area, -xy / area, xx / area], dim=1)
        towards = functional.normalize(away, dim=1)
        a, b, c = (towards[:, i, None] for i in range(3))
        sh = self.harmonics
        colors = 0.5 + _SH0 * sh[:, 0] + _SH1 * (-b * sh[:, 1] + c * sh[:, 2] - a * sh[:, 3])
        with torch.no_grad():
            mean = (xx + yy) / 2
            longest = mean + (mean**2 - area).clamp(min=0.01).sqrt()
            radii = (3 * longest.sqrt()).where(is_seen, zero).numpy()
            order = z.argsort().numpy()
        image, left = _Raster.apply(  # type: ignore[no-untyped-call]
            middles, conics, colors.clamp(min=0), self.opacities.sigmoid(), radii, order, view.size
        )
        return image, 1 - left


def _rotations(turns: Tensor) -> Tensor:
    """Return rotations, (n, 3, 3), of quaternions (w, x, y, z)."""
    w, x, y, z = functional.normalize(turns, dim=1).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def train(
    views: Sequence[View],
    images: Sequence[NDArray[np.uint8]],
    alphas: Sequence[NDArray[np.uint8]],
    *,
    count: int,
    steps: int,
    seed: int = 0,
) -> Splat:
    """Train a splat.

    Parameters
    ----------
    images, alphas
        What each view shows: straight colours, (H, W, 3), and their alpha, (H, W).
    count
        Number of gaussians.
    steps
        Each is one view.
    """
    random = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    points, spacing = hull_surface(views, alphas, count, random)
    splat = Splat(points, _colors_at(points, views, images, alphas), spacing)
    reach = float(np.linalg.norm(np.ptp(points, axis=0)))
    rates = {
        "places": 4e-4 * reach,
        "scales": 1e-2,
        "turns": 4e-3,
        "opacities": 5e-2,
        "harmonics": 1e-2,
    }
    adam = torch.optim.Adam(
        [{"params": [getattr(splat, name)], "lr": rate} for name, rate in rates.items()], eps=1e-15
    )
    wanted = [torch.from_numpy(image.astype(np.float32) / 255) for image in images]
    kept = [torch.from_numpy(alpha[:, :, None].astype(np.float32) / 255) for alpha in alphas]
    order: list[int] = []
    for step in range(steps):
        if not order:
            order = random.permutation(len(views)).tolist()
        at = order.pop()
        adam.param_groups[0]["lr"] = rates["places"] * _DECAY ** (step / steps)
        behind = torch.rand(3, generator=generator)
        image, alpha = splat.render(views[at])
        drawn = image + (1 - alpha[:, :, None]) * behind
        right = wanted[at] * kept[at] + (1 - kept[at]) * behind
        loss = (drawn - right).abs().mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return splat


def hull_surface(
    views: Sequence[View],
    alphas: Sequence[NDArray[np.uint8]],
    count: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], float]:
    """Return places on the surface of the masks' hull, (count, 3), and how far they lie apart.

    A place is inside if nearly all views that have it in their picture see it inside of their mask. These
    must be half of all.
    """
    low, high = _around(views)
    for _ in range(2):  # once to find the subject, once to look closer
        side = float((high - low).max()) / _CELLS
        axes = [np.arange(a + side / 2, b, side) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        votes, voters = np.zeros((2, *grid.shape[:3]), np.int64)
        for view, alpha in zip(views, alphas, strict=True):
            pixels, depth = view.project(grid.reshape(-1, 3))
            x, y = np.floor(pixels).astype(np.int64).T
            width, height = view.size
            is_in = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (depth > 0)
            inside = np.zeros(len(x), np.bool_)
            inside[is_in] = alpha[y[is_in], x[is_in]] > 127
            votes += inside.reshape(votes.shape)
            voters += is_in.reshape(votes.shape)
        solid = (votes >= 0.92 * voters) & (voters >= len(views) / 2)
        places = grid[solid]
        low, high = places.min(axis=0) - 2 * side, places.max(axis=0) + 2 * side
    padded = np.pad(solid, 1)
    core = padded[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for shift in (-1, 1):
            core &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1]
    surface = grid[solid & ~core]
    chosen = surface[random.integers(0, len(surface), count)]
    chosen = chosen + random.uniform(-side / 2, side / 2, chosen.shape)
    return chosen, side * float(np.sqrt(len(surface) / count))


def _around(views: Sequence[View]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a box around what all cameras look at."""
    normals = np.stack([np.eye(3) - np.outer(v.rotation[2], v.rotation[2]) for v in views])
    middle = np.linalg.lstsq(
        normals.sum(axis=0),
        sum(n @ v.position for n, v in zip(normals, views, strict=True)),
        rcond=None,
    )[0]
    away = float(np.mean([np.linalg.norm(view.position - middle) for view in views]))
    return middle - 0.6 * away, middle + 0.6 * away


def _colors_at(
    points: NDArray[np.float64],
    views: Sequence[View],
    images: Sequence[NDArray[np.uint8]],
    alphas: Sequence[NDArray[np.uint8]],
) -> NDArray[np.float64]:
    """Return the mean colour at the points' places in all images, from 0 to 1."""
    total, seen = np.zeros((len(points), 3)), np.zeros(len(points))
    for view, image, alpha in zip(views, images, alphas, strict=True):
        pixels, _ = view.project(points)
        x, y = np.floor(pixels).astype(np.int64).T
        x, y = x.clip(0, view.size[0] - 1), y.clip(0, view.size[1] - 1)
        weight = alpha[y, x] / 255.0
        total += image[y, x] / 255.0 * weight[:, None]
        seen += weight
    return np.asarray((total + 0.5 * 1e-3) / (seen + 1e-3)[:, None])
