# SPDX-License-Identifier: GPL-3.0-or-later
"""Panoramas that go all the way round, seen with the object in the middle; imports torch, core.

The left and right edge of an equirectangular photo are one line in space. An object that lies
across it falls into two halves which the model has no way to know for one. So each object is
looked at in a view of its own: the photo rolled sideways until the object is in the middle, wrapping
around. Its prompts are rolled with it and the logits are rolled back: by whole cells of their grid,
so nothing is interpolated.

An object whose prompts lie close together is seen near: in the half of the way round it that is a
square. The model then sees it undistorted and twice as wide as in the whole photo, which is
squashed to a square.

A roll is counted in cells of the logits' grid, to the right, from 0 to less than the cells all the
way round. It is a multiple of `STEP`, the image encoder's coarsest cell: a frame then looks to the
encoder as it would unrolled, its former edges apart.
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

from ...core.prompts import FramePrompts
from .prompt_tensors import PromptTensors, prompt_tensors
from .sam2_adapter import ImageFeatures

CELL: Final = 4  # px of the model's input to a cell of the logits
STEP: Final = 8  # cells
WIDE: Final = 2
"""How many times the model's input goes into a panorama's frame sideways."""

LEANS: Final = 0.1
"""How far out of 1 the circular mean must lie from the centre: below it there is as much of an
object on every side, and no middle to bring it to."""

NEAR: Final = 0.18
"""Of the way round: how far to either side prompts of an object that is seen near may lie. A near
view goes 0.25 to either side."""

_BEYOND: Final = -10.0  # logits of what a near view doesn't show


@dataclass(frozen=True)
class View:
    """A photo as the model sees it; as it is, unless it is a panorama.

    Attributes
    ----------
    roll
        To the right, in cells of the logits' grid all the way round.
    near
        Whether half of the way round is seen; else all of it is, or what there is.
    """

    roll: int = 0
    near: bool = False


class Views:
    """One photo's features in every view of it that is asked for, each encoded once.

    Parameters
    ----------
    encode
        Gives the features of the photo in a view.
    """

    def __init__(self, encode: Callable[[View], ImageFeatures]) -> None:
        self._encode = encode
        self._known: dict[View, ImageFeatures] = {}

    def at(self, view: View) -> ImageFeatures:
        """The photo's features in the view."""
        if view not in self._known:
            self._known[view] = self._encode(view)
        return self._known[view]


def frame_width(width: int, height: int, *, panorama: bool) -> int:
    """How many times as wide as high a frame is made of photos of this size, px."""
    return WIDE if panorama and 2 * width >= 3 * height else 1


def is_near(frames: Iterable[FramePrompts], width: int, height: int, *, panorama: bool) -> bool:
    """Whether an object is to be seen near, going by all that says where it is.

    Parameters
    ----------
    frames
        All prompts of the object.
    width, height
        Of the footage, px. Of photos that are hardly wider than high all is seen.
    panorama
        Whether they go all the way round.
    """
    if frame_width(width, height, panorama=panorama) == 1:
        return False
    return all(_is_close(entry, width) for entry in frames if entry.includes_something)


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
    """The model's input, (3, S, S), of a frame: (3, S, S), or a panorama's (3, S, WIDE * S)."""
    side, across = frame.shape[-2:]
    if across > side and not view.near:
        frame = frame.unflatten(-1, (side, across // side)).mean(dim=-1)
    if view.roll:
        frame = torch.roll(frame, view.roll * CELL, dims=-1)
    return _middle_columns(frame, side)


def tensors_seen(
    prompts: FramePrompts, size: tuple[int, int], view: View, side: int, device: torch.device
) -> PromptTensors:
    """Prompts in a view; a box stays in one piece, whatever lies on the seam.

    Parameters
    ----------
    prompts
        On a photo of ``size``, (width, height), px. Points beyond a near view are left out.
    side
        Of the model's input, px.
    """
    around = _around(side, near=view.near)
    tensors = prompt_tensors(prompts, *size, side, device, around=around)
    return _in_view(tensors, view, side, around) if view != View() else tensors


def _around(side: int, *, near: bool) -> int:
    """The way round in px of a model's input of this side."""
    return WIDE * side if near else side


def _in_view(prompts: PromptTensors, view: View, side: int, around: int) -> PromptTensors:
    start, shift = (around - side) // 2, view.roll * CELL
    coordinates, labels = prompts.coordinates, prompts.labels
    if coordinates is not None and labels is not None:
        edges = coordinates[..., 0] + 0.5  # (1, P): sam2 takes indices of pixels
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
    """Logits of a view, (h, w), as the photo lies: (h, w), or (h, WIDE * w) if it is seen near."""
    if view.near:
        width = logits.shape[1]
        around = np.full((len(logits), WIDE * width), _BEYOND, np.float32)
        start = (around.shape[1] - width) // 2
        around[:, start : start + width] = logits
        logits = around
    return np.roll(logits, -view.roll, axis=1) if view.roll else logits


def view_of(prompts: FramePrompts, width: int, side: int, *, near: bool) -> View:
    """The view with the prompts in the middle.

    Parameters
    ----------
    prompts
        Of one object on one frame: its box counts, else its mask, else the points that include.
    width
        Of the footage, px.
    side
        Of the model's input, px.
    near
        Whether the object is seen near.
    """
    return View(_roll(_place_of(prompts, width), _around(side, near=near) // CELL), near)


def _place_of(prompts: FramePrompts, width: int) -> float:
    """Where around the horizon prompts lie, 0 to 1."""
    if prompts.box is not None:
        return (prompts.box.x0 + prompts.box.x1) / 2 / width
    if prompts.mask is not None:
        return _place_of_columns(prompts.mask.to_array().sum(axis=0), 0.5)
    places = np.array([point.x / width for point in prompts.points if point.include])
    return _middle(places, np.ones(len(places)), 0.5)


def roll_to_matte(logits: NDArray[np.float32], roll: int) -> int:
    """The roll that brings a matte to the middle.

    Parameters
    ----------
    logits
        (h, w) as the photo lies.
    roll
        What holds when there is nothing inside, or as much on every side.
    """
    inside, cells = (logits > 0).sum(axis=0), logits.shape[1]
    if not inside.any():
        return roll
    return _roll(_place_of_columns(inside, (0.5 - roll / cells) % 1.0), cells)


def _place_of_columns(inside: NDArray[np.integer[Any]], otherwise: float) -> float:
    """The same from the pixels inside each column of a mask, (w,)."""
    places = (np.arange(len(inside)) + 0.5) / len(inside)
    return _middle(places, inside.astype(np.float64), otherwise)


def _middle(places: NDArray[np.float64], weights: NDArray[np.float64], otherwise: float) -> float:
    """Circular mean of places around the horizon, 0 to 1 each; `otherwise` where there is none."""
    angles = places * math.tau
    across, along = float(weights @ np.sin(angles)), float(weights @ np.cos(angles))
    if math.hypot(across, along) < LEANS * float(weights.sum()):
        return otherwise
    return math.atan2(across, along) / math.tau % 1.0


def _roll(place: float, cells: int) -> int:
    """The roll that brings a place around the horizon, 0 to 1, nearest to the middle."""
    steps = cells // STEP
    return round((0.5 - place) * steps) % steps * STEP
