# SPDX-License-Identifier: GPL-3.0-or-later
"""Change a model's answer until it agrees with its prompts.

The mask then contains every include click on its photo and no exclude click, and lies inside a
given box, whatever the model says. If a click is not obeyed, its correction spreads to near cells
that look like the clicked one. This works as in Gaussian process regression. Obeyed clicks count as
exact observations, so the answer around them stays. Two opposite clicks on similar cells may still
disagree after that. Then only the cells directly around each click change.

A missed click changes sides only in the piece around it. What only looks alike far away stays.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .prompt_tensors import BOX_END, BOX_START, EXCLUDE, INCLUDE

MARGIN: Final = 1.5
"""A click that was not obeyed gets this logit, on its own side of 0."""

_SURE: Final = 0.2  # a click counts as obeyed from this logit on, on its own side of 0
_NEAR: Final = 0.2  # of the grid's side: how far the correction spreads for a single click
_NARROWING: Final = 0.35  # it spreads less for more clicks, by this power of their number
_ALIKE: Final = 0.8  # distance of unit features at which a correction has faded
_UNSURE: Final = 0.3  # largest logit of cells that only look like a place that a click changed
_NOISE: Final = 1e-3  # so that clicks on the same cell have a solution
_BOUND: Final = 32.0  # bound of logits; larger ones don't say more
_ROOM: Final = 0.03  # of a box's sides: how far a mask may reach out of it
_ROUNDS: Final = 4  # number of rounds over clicks that share cells


def keep_prompts(
    logits: Tensor,
    points: dict[str, Tensor],
    features: Tensor,
    side: int,
) -> Tensor:
    """Return logits that agree with the prompts; the same tensor if they agree already.

    Parameters
    ----------
    logits
        (1, 1, h, w) float32.
    points
        "point_coords" (1, P, 2), pixel indices of the model's input. "point_labels" (1, P): 1
        include, 0 exclude, 2 and 3 the corners of a box.
    features
        (1, C, h', w') of any size. Places with near features look alike.
    side
        Side of the model's input, px.
    """
    with torch.autocast(logits.device.type, enabled=False):  # a rounded kernel would miss clicks
        return _kept(logits.float(), points, features, side)


def _kept(logits: Tensor, points: dict[str, Tensor], features: Tensor, side: int) -> Tensor:
    coordinates, labels = points["point_coords"][0].float(), points["point_labels"][0]
    kept = _inside_box(logits, coordinates, labels, side)
    is_click = (labels == INCLUDE) | (labels == EXCLUDE)
    count = int(is_click.sum())
    if not count:
        return kept
    places, signs = coordinates[is_click], labels[is_click].float() * 2 - 1  # (P, 2), (P)
    cells, weights = _observed(places, logits.shape[-2:], side)  # both (P, 4)
    flat = kept.flatten()  # (h * w)
    if not bool(_missing(flat, cells, weights, signs).any()):
        return kept
    flat = flat.clamp(-_BOUND, _BOUND)
    away, unlike = _distances(features, logits.shape[-2:], places, side)  # (P, h * w)
    near = _NEAR * count**-_NARROWING
    kernel = torch.exp(-away / (2 * near**2) - unlike / (2 * _ALIKE**2))
    missed = _missing(flat, cells, weights, signs) != 0
    spread = (flat + _spread(flat, kernel, cells, weights, signs)).clamp(-_BOUND, _BOUND)
    flat = _near_pieces(flat, spread, cells[missed].flatten(), wide=logits.shape[-1])
    flat = _inside_box(flat.view_as(logits), coordinates, labels, side).flatten()
    for _ in range(_ROUNDS):
        flat = _settle(flat, cells, weights, signs)
    return flat.view_as(logits)


def in_turn(points: dict[str, Tensor], *, known: bool) -> list[dict[str, Tensor]]:
    """Return the prompts as their user gave them: the box and the first click, then one more each time.

    Parameters
    ----------
    points
        As in `keep_prompts`. Clicks are in the order in which they were made.
    known
        Whether the subject is known already. If not, the first turn goes as far as the first
        prompt that says where it is.
    """
    labels = points["point_labels"]  # (1, P)
    count = labels.shape[1]
    first = 1
    if not known:
        says = torch.nonzero((labels[0] == INCLUDE) | (labels[0] == BOX_END))
        first = int(says[0]) + 1 if len(says) else count
    elif bool((labels[0] == BOX_START).any()):
        first = 2  # a box is two corners
    return [
        {name: part[:, :end] for name, part in points.items()} for end in range(first, count + 1)
    ]


def inside_box(logits: Tensor, points: dict[str, Tensor], side: int) -> Tensor:
    """Remove everything outside a box, except in a little room around it. As `keep_prompts`."""
    coordinates, labels = points["point_coords"][0].float(), points["point_labels"][0]
    return _inside_box(logits, coordinates, labels, side)


def obeys(logits: Tensor, points: dict[str, Tensor], side: int) -> bool:
    """Whether each click's own place is as the click says. Parameters as in `keep_prompts`."""
    labels = points["point_labels"][0]
    clicks = (labels == INCLUDE) | (labels == EXCLUDE)
    places = points["point_coords"][0].float()[clicks]
    cells, weights = _observed(places, logits.shape[-2:], side)
    found = (logits.flatten()[cells] * weights).sum(1)
    return bool((found * (labels[clicks].float() * 2 - 1) > 0).all())


def _missing(flat: Tensor, cells: Tensor, weights: Tensor, signs: Tensor) -> Tensor:
    """Return (P): what each click's own place lacks to obey the click. 0 if it obeys."""
    found = (flat[cells] * weights).sum(1)
    return torch.where(found * signs >= _SURE, torch.zeros_like(found), signs * MARGIN - found)


def _spread(flat: Tensor, kernel: Tensor, cells: Tensor, weights: Tensor, signs: Tensor) -> Tensor:
    """Return (h * w): the correction, spread to similar cells."""
    missing = _missing(flat, cells, weights, signs)
    among = (kernel[:, cells] * weights).sum(2)  # (P, P)
    among = (among + among.T) / 2 + _NOISE * torch.eye(len(among), device=among.device)
    shares = torch.linalg.lstsq(among.cpu().double(), missing.cpu().double()[:, None]).solution
    most = float(missing.abs().max())
    spread: Tensor = shares[:, 0].to(kernel) @ kernel
    return spread.clamp(-1.5 * most, 1.5 * most)


def _settle(flat: Tensor, cells: Tensor, weights: Tensor, signs: Tensor) -> Tensor:
    """Change the cells around each click that is still not obeyed, as little as possible."""
    flat = flat.clone()
    for cell, weight, sign in zip(cells, weights, signs, strict=True):
        missing = _missing(flat, cell[None], weight[None], sign[None])[0]
        flat.index_add_(0, cell, weight * (missing / (weight * weight).sum()))
    return flat


def _observed(places: Tensor, size: tuple[int, ...], side: int) -> tuple[Tensor, Tensor]:
    """Return the four cells around each place and their weights, (P, 4) each."""
    high, wide = size
    x = ((places[:, 0] + 0.5) * wide / side - 0.5).clamp(0, wide - 1)
    y = ((places[:, 1] + 0.5) * high / side - 0.5).clamp(0, high - 1)
    left, top = x.floor(), y.floor()
    right, bottom = (left + 1).clamp(max=wide - 1), (top + 1).clamp(max=high - 1)
    fx, fy = x - left, y - top
    cells = torch.stack([top * wide + left, top * wide + right, bottom * wide + left,
                         bottom * wide + right], dim=1)  # fmt: skip
    shares = torch.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], dim=1)
    return cells.long(), shares


def _near_pieces(before: Tensor, after: Tensor, cells: Tensor, *, wide: int) -> Tensor:
    """Of the cells that change sides, keep only the pieces with one of these cells.

    A click says something about its place and the area connected with it. The user has seen other
    places that only look alike, and left them as they were. Those places become less certain.
    """
    changed = ((before > 0) != (after > 0)).view(-1, wide)
    _, pieces = cv2.connectedComponents(changed.cpu().numpy().astype(np.uint8), connectivity=4)
    numbers = torch.from_numpy(pieces).to(before.device).flatten()
    elsewhere = (numbers > 0) & ~torch.isin(numbers, numbers[cells])
    return torch.where(elsewhere, before.clamp(-_UNSURE, _UNSURE), after)


def _distances(
    features: Tensor, size: tuple[int, ...], places: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Return each cell's distance from each place and its difference in looks, (P, h * w) each, squared.

    The distance is in units of the grid's side. The difference is between unit features.
    """
    high, wide = size
    maps = F.interpolate(features.float(), (high, wide), mode="bilinear", align_corners=False)
    unit = F.normalize(maps[0].flatten(1), dim=0)  # (C, h * w)
    cells, shares = _observed(places, size, side)
    own = F.normalize((unit[:, cells] * shares).sum(2), dim=0)  # (C, P)
    unlike = 2 - 2 * own.T @ unit  # (P, h * w)
    return squared_distances(places, size, side).flatten(1), unlike


def squared_distances(places: Tensor, size: tuple[int, ...], side: int) -> Tensor:
    """Return each cell's squared distance from each place, (P, h, w), in units of the grid's side.

    Parameters
    ----------
    places
        (P, 2), pixels of the model's square input.
    size
        (h, w) of the grid.
    side
        Side of that input, px.
    """
    high, wide = size
    across = (torch.arange(wide, device=places.device) + 0.5) / wide
    down = (torch.arange(high, device=places.device) + 0.5) / high
    at = (places + 0.5) / side  # (P, 2), 0 to 1
    dx, dy = across - at[:, :1], down - at[:, 1:]  # (P, w), (P, h)
    return dy[:, :, None] ** 2 + dx[:, None] ** 2


def _inside_box(logits: Tensor, coordinates: Tensor, labels: Tensor, side: int) -> Tensor:
    starts, ends = coordinates[labels == BOX_START], coordinates[labels == BOX_END]
    if not len(starts) or not len(ends):
        return logits
    high, wide = logits.shape[-2:]
    beyond = []
    for start, end, count in ((starts[0, 0], ends[0, 0], wide), (starts[0, 1], ends[0, 1], high)):
        low, top = ((at + 0.5) * count / side for at in (start, end))
        room = (top - low) * _ROOM
        centres = torch.arange(count, device=logits.device) + 0.5
        beyond.append(torch.maximum(low - room - centres, centres - top - room))
    outside = torch.maximum(beyond[0][None], beyond[1][:, None])  # (h, w) cells, negative inside
    bound = torch.where(outside > 0, -_SURE - outside, torch.full_like(outside, _BOUND))
    return torch.minimum(logits, bound) if bool((outside > 0).any()) else logits
