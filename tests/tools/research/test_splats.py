# SPDX-License-Identifier: GPL-3.0-or-later
"""The small trainer of splats draws and learns by the rules, and its bench sees a fringe and a gap."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tools.research.bench.evaluation import splats as splats_of
from tools.research.bench.evaluation.splats import Splat, View, hull_surface, train
from tools.research.bench.splats import compared

ROOT = Path(__file__).parents[3]
SIZE = (41, 37)  # px, no multiple of a tile
FOCAL = 60.0


def view(angle: float, size: tuple[int, int] = SIZE, focal: float = FOCAL) -> View:
    """Return a camera 3 units from the origin, which looks at it."""
    back = np.array([np.cos(angle), np.sin(angle), 0.3])
    back /= np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    return View(3.0 * back, np.stack([right, np.cross(right, back), -back]), focal, size)


def some_splat(count: int = 40) -> Splat:
    random = np.random.default_rng(3)
    splat = Splat(random.uniform(-0.6, 0.6, (count, 3)), random.uniform(0, 1, (count, 3)), 0.2)
    with torch.no_grad():
        splat.scales += torch.from_numpy(random.normal(0, 0.5, (count, 3))).float()
        splat.turns += torch.from_numpy(random.normal(0, 1, (count, 4))).float()
        splat.harmonics += torch.from_numpy(random.normal(0, 0.2, (count, 4, 3))).float()
        splat.opacities += torch.from_numpy(random.normal(0, 2, (count,))).float()
    return splat


def dense(
    middles: Tensor,
    conics: Tensor,
    colors: Tensor,
    opacities: Tensor,
    radii: Any,
    order: Any,
    size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Draw each gaussian on each pixel, with torch alone."""
    width, height = size
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    image, left = torch.zeros(height, width, 3), torch.ones(height, width)
    for at in order.tolist():
        dx, dy = middles[at, 0] - x, middles[at, 1] - y
        xx, xy, yy = conics[at]
        alpha = opacities[at] * torch.exp(-0.5 * (xx * dx**2 + yy * dy**2) - xy * dx * dy)
        alpha = alpha.clamp(max=0.99)
        alpha = torch.where(alpha < 1 / 255, torch.zeros_like(alpha), alpha)
        image = image + (alpha * left)[..., None] * colors[at]
        left = left * (1 - alpha)
    return image, left


def test_it_draws_and_leads_back_as_torch_alone_does(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (SIZE[1], SIZE[0], 3))).float()
    names = ("places", "scales", "turns", "opacities", "harmonics")
    found: list[list[Tensor]] = []
    for way in ("compiled", "torch"):
        if way == "torch":

            class Dense:
                apply = staticmethod(dense)

            monkeypatch.setattr(splats_of, "_Raster", Dense)
        splat = some_splat()
        image, alpha = splat.render(view(0.7))
        loss = (image - wanted).square().mean() + alpha.mean()
        loss.backward()
        slopes = [cast(Tensor, getattr(splat, name).grad) for name in names]
        found.append([image.detach(), alpha.detach(), *slopes])
    for compiled, plain in zip(*found, strict=True):
        apart = (compiled - plain).abs().max()
        assert apart <= 0.02 * plain.abs().max() + 1e-6


def ball(at: View, radius: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture of a ball at the origin, lit from above, and how much of each pixel it covers."""
    fine = 4
    width, height = at.size
    x = (np.arange(width * fine) + 0.5) / fine - width / 2
    y = (np.arange(height * fine) + 0.5) / fine - height / 2
    rays = np.stack([*np.meshgrid(x / at.focal, y / at.focal), np.ones((len(y), len(x)))], -1)
    rays = rays @ at.rotation
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    along = -(rays @ at.position)
    inside = radius**2 - (at.position @ at.position - along**2)
    hit = at.position + (along - np.sqrt(np.maximum(inside, 0)))[..., None] * rays
    light = np.clip(0.55 + 0.7 * hit[..., 2:], 0, 1) * np.array([0.9, 0.5, 0.2])
    color = np.where((inside > 0)[..., None], light, [0.1, 0.6, 0.8])
    small = cv2.resize(color, at.size, interpolation=cv2.INTER_AREA)
    covered = cv2.resize((inside > 0).astype(np.float64), at.size, interpolation=cv2.INTER_AREA)
    return np.rint(small * 255).astype(np.uint8), np.rint(covered * 255).astype(np.uint8)


def test_a_ball_is_learned_and_seen_from_elsewhere() -> None:
    views = [view(angle) for angle in np.arange(12) * np.pi / 6]
    shown = [ball(at) for at in views]
    images, alphas = [one[0] for one in shown], [one[1] for one in shown]
    points, _ = hull_surface(views, alphas, 500, np.random.default_rng(0))
    assert 0.4 < np.median(np.linalg.norm(points, axis=1)) < 0.65
    splat = train(views, images, alphas, count=400, steps=120)
    again = train(views, images, alphas, count=400, steps=120)
    assert torch.equal(splat.places, again.places)
    unseen = view(np.pi / 12)
    found = compared(splat, unseen, *ball(unseen))
    assert found["inside"] < 0.003
    assert found["leaks"] < 0.02
    assert found["fringe"] < 0.6 and found["gap"] < 0.6


@pytest.mark.parametrize("grown", [-1, 0, 1])
def test_a_fringe_and_a_gap_are_told_in_px_across_the_edge(grown: int) -> None:
    at = view(0.0, (80, 80), 150.0)
    photo, covered = ball(at)
    wide, wider = ball(at, 0.5 + grown * 3 / 150)
    alpha = wider / 255.0

    class Shown:
        """A splat that shows the photo as it is, in a mask that is one px too wide or too narrow."""

        def render(self, _: View) -> tuple[Tensor, Tensor]:
            return torch.from_numpy(photo / 255.0 * alpha[..., None]), torch.from_numpy(alpha)

    assert wide.shape == photo.shape
    found = compared(cast(Splat, Shown()), at, photo, covered)
    assert abs(found["fringe"] - max(grown, 0)) < 0.2
    assert abs(found["gap"] - max(-grown, 0)) < 0.2
    if grown == 0:
        assert -10 * np.log10(found["rim"]) > 20
        assert abs(found["background"]) < 0.02
    else:
        assert -10 * np.log10(found["rim"]) < 20


def test_the_command_prints_and_keeps_its_rows(tmp_path: Path) -> None:
    script = ROOT / "tools" / "research" / "bench" / "splats.py"
    target = tmp_path / "rows.json"
    small = ("--size", "40x60", "--frames", "8", "--count", "200", "--steps", "10")
    command = [
        sys.executable,
        str(script),
        "--only",
        "teapot",
        "--ways",
        "as it is",
        "Soft",
        *small,
    ]
    command += ["--rendered", str(tmp_path / "rendered"), "--json", str(target)]
    ran = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    rows = json.loads(target.read_bytes())
    assert [row["way"] for row in rows] == ["as it is", "Soft"]
    assert all(row["capture"] == "teapot" and row["rim"] > 5 for row in rows)
    assert ran.stdout.count("| Soft") == 2  # the mean, and the capture's own table
