# SPDX-License-Identifier: GPL-3.0-or-later
"""Panoramas that go all the way round, seen with the object in the middle.

The left and right edges of an equirectangular photo are the same line in space. If an object lies
across this line, the photo shows it in two halves, and the model can't know that they belong
together. So each object has its own view. The photo is rolled sideways, with wrap-around, until the
object is in the middle. Its prompts are rolled too, and the logits are rolled back. A roll is a
whole number of grid cells, so nothing is interpolated.

If the prompts of an object lie close together, it gets a *near view*: a square that shows half of
the way round. There the model sees the object undistorted, and twice as wide as in the whole photo.
The whole photo is squashed to a square.

A roll goes to the right and is counted in cells of the logits' grid. It lies from 0 up to the
number of cells all the way round. It is a multiple of `STEP`, the image encoder's coarsest cell. So
the encoder sees the same cells as in the unrolled photo, except along its former edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.footage.sizes import PhotoSizes
from ...core.prompts import FramePrompts
from .prompt_tensors import PromptTensors, prompt_tensors
from .sam2_adapter import ImageFeatures

CELL: Final = 4  # px of the model's input for one cell of the logits
STEP: Final = 8  # cells
WIDE: Final = 2
"""Width of a panorama's frame, in widths of the model's input."""

LEANS: Final = 0.1
"""The least length of the circular mean, which is at most 1. Below it the object lies on every
side alike, and there is no middle to turn to."""

NEAR: Final = 0.18
"""A near view needs all prompts within this part of the way round, to either side. The view
itself shows 0.25 to either side."""

_BEYOND: Final = -10.0  # the logits outside a near view


@dataclass(frozen=True)
class View:
    """How the model sees a photo. Only a panorama's view differs from the photo itself.

    Attributes
    ----------
    roll
        To the right, in cells of the logits' grid all the way round.
    near
        True: half of the way round is seen. False: the whole photo is.
    """

    roll: int = 0
    near: bool = False


class Views:
    """One photo's features in every view that is asked for. Each view is encoded once.

    Parameters
    ----------
    encode
        Gives the features of the photo in a view.
    """

    def __init__(self, encode: Callable[[View], ImageFeatures]) -> None:
        self._encode = encode
        self._known: dict[View, ImageFeatures] = {}

    def at(self, view: View) -> ImageFeatures:
        """Return the photo's features in this view."""
        if view not in self._known:
            self._known[view] = self._encode(view)
        return self._known[view]


def frame_width(sizes: PhotoSizes, *, panorama: bool) -> int:
    """Return the width of a frame in units of its height. All photos of a capture get the same."""
    every = ((sizes.width, sizes.height), *sizes.odd.values())
    is_wide = panorama and all(2 * width >= 3 * height for width, height in every)
    return WIDE if is_wide else 1


def is_near(frames: Iterable[FramePrompts], sizes: PhotoSizes, *, panorama: bool) -> bool:
    """Whether an object gets a near view. All prompts that say where it is are considered.

    Parameters
    ----------
    frames
        All prompts of the object.
    sizes
        Of the photos. If one is hardly wider than high, all are seen whole.
    panorama
        Whether the photos go all the way round.
    """
    if frame_width(sizes, panorama=panorama) == 1:
        return False
    given = (entry for entry in frames if entry.includes_something)
    return all(_is_close(entry, sizes.of(entry.frame)[0]) for entry in given)


def _is_close(prompts: FramePrompts, width: int) -> bool:
    reach = NEAR * width
    if prompts.box is not None and prompts.box.x1 - prompts.box.x0 > 2 * reach:
        return False
    middle = _place_of(prompts, width) * width
    inside = [np.array([point.x for point in prompts.points if point.include])]
    if prompts.mask is not None:
        inside.append(np.flatnonzero(prompts.mask.to_array().any(axis=0)) + 0.5)
    away = (np.concatenate(inside) - middle + width / 2) % width - width / 2
    return bool((np.abs(away) <= reach).all())


def seen(frame: Tensor, view: View) -> Tensor:
    """Return the model's input, (3, S, S), of a frame: (3, S, S), or (3, S, WIDE * S) for a panorama."""
    side, across = frame.shape[-2:]
    if across > side and not view.near:
        frame = frame.unflatten(-1, (side, across // side)).mean(dim=-1)
    if view.roll:
        frame = torch.roll(frame, view.roll * CELL, dims=-1)
    return _middle_columns(frame, side)


def tensors_seen(
    prompts: FramePrompts, size: tuple[int, int], view: View, side: int, device: torch.device
) -> PromptTensors:
    """Convert prompts for a view. A box stays in one piece, even across the photo's edge.

    Parameters
    ----------
    prompts
        On a photo of ``size``, (width, height), px. Points outside a near view are left out.
    size
        (width, height) of the photo, px.
    view
        How the model sees the photo.
    side
        Side of the model's input, px.
    device
        Where the tensors are made.
    """
    around = _around(side, near=view.near)
    tensors = prompt_tensors(prompts, *size, side, device, around=around)
    return _in_view(tensors, view, side, around) if view != View() else tensors


def _around(side: int, *, near: bool) -> int:
    """Return the way round in px, for a model's input of this side."""
    return WIDE * side if near else side


def _in_view(prompts: PromptTensors, view: View, side: int, around: int) -> PromptTensors:
    start, shift = (around - side) // 2, view.roll * CELL
    coordinates, labels = prompts.coordinates, prompts.labels
    if coordinates is not None and labels is not None:
        edges = coordinates[..., 0] + 0.5  # (1, P): sam2 takes pixel indices
        rolled = torch.remainder(edges + shift, around)
        corners = labels >= 2
        if bool(corners.any()):
            width = edges[corners].max() - edges[corners].min()
            middle = torch.remainder(edges[corners].mean() + shift, around)
            rolled[corners] = torch.stack([middle - width / 2, middle + width / 2])
        rolled -= start
        coordinates = torch.stack([rolled - 0.5, coordinates[..., 1]], dim=-1)  # (1, P, 2)
        here = corners | ((rolled >= 0) & (rolled < side))
        coordinates, labels = coordinates[here][None], labels[here][None]
        if not labels.shape[1]:
            coordinates = labels = None
    mask = prompts.mask
    if mask is not None:
        mask = _middle_columns(torch.roll(mask, shift, dims=-1), side)
    return PromptTensors(coordinates, labels, mask)


def _middle_columns(picture: Tensor, count: int) -> Tensor:
    start = (picture.shape[-1] - count) // 2
    return picture[..., start : start + count].contiguous()


def as_photo(logits: NDArray[np.float32], view: View) -> NDArray[np.float32]:
    """Bring a view's logits, (h, w), back to the photo: (h, w), or (h, WIDE * w) for a near view."""
    if view.near:
        width = logits.shape[1]
        around = np.full((len(logits), WIDE * width), _BEYOND, np.float32)
        start = (around.shape[1] - width) // 2
        around[:, start : start + width] = logits
        logits = around
    return np.roll(logits, -view.roll, axis=1) if view.roll else logits


def view_of(prompts: FramePrompts, width: int, side: int, *, near: bool) -> View:
    """Return the view with the prompts in the middle.

    Parameters
    ----------
    prompts
        Of one object on one frame. The box counts; without one the mask; else the points that
        include.
    width
        Width of the photo, px.
    side
        Side of the model's input, px.
    near
        Whether it is a near view.
    """
    return View(_roll(_place_of(prompts, width), _around(side, near=near) // CELL), near)


def _place_of(prompts: FramePrompts, width: int) -> float:
    """Return where prompts lie on the way round, 0 to 1."""
    if prompts.box is not None:
        return (prompts.box.x0 + prompts.box.x1) / 2 / width
    if prompts.mask is not None:
        return _place_of_columns(prompts.mask.to_array().sum(axis=0), 0.5)
    places = np.array([point.x / width for point in prompts.points if point.include])
    return _middle(places, np.ones(len(places)), 0.5)


def roll_to_matte(logits: NDArray[np.float32], roll: int) -> int:
    """Return the roll that brings a matte to the middle.

    Parameters
    ----------
    logits
        (h, w), as the photo lies.
    roll
        The answer if the matte is empty or lies on every side alike.
    """
    inside, cells = (logits > 0).sum(axis=0), logits.shape[1]
    if not inside.any():
        return roll
    return _roll(_place_of_columns(inside, (0.5 - roll / cells) % 1.0), cells)


def _place_of_columns(inside: NDArray[np.integer[Any]], otherwise: float) -> float:
    """Return the same from the number of inside pixels in each column of a mask, (w,)."""
    places = (np.arange(len(inside)) + 0.5) / len(inside)
    return _middle(places, inside.astype(np.float64), otherwise)


def _middle(places: NDArray[np.float64], weights: NDArray[np.float64], otherwise: float) -> float:
    """Return the circular mean of places, 0 to 1 each, or ``otherwise`` where there is none."""
    angles = places * math.tau
    across, along = float(weights @ np.sin(angles)), float(weights @ np.cos(angles))
    if math.hypot(across, along) < LEANS * float(weights.sum()):
        return otherwise
    return math.atan2(across, along) / math.tau % 1.0


def _roll(place: float, cells: int) -> int:
    """Return the roll that brings a place, 0 to 1, nearest to the middle."""
    steps = cells // STEP
    return round((0.5 - place) * steps) % steps * STEP
