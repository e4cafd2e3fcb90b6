# SPDX-License-Identifier: GPL-3.0-or-later
"""Panoramas that go all the way round, seen with the object in the middle; imports torch, core.

The left and right edge of an equirectangular photo are one line in space. An object that lies
across it falls into two halves which the model has no way to know for one. So each object is
looked at in a turned view: the photo rolled sideways until the object is in the middle, wrapping
around. Its prompts are rolled with it and the logits are rolled back: by whole cells of their grid,
so nothing is interpolated.

A roll is counted in cells of the logits' grid, to the right, from 0 to less than their width. It is
a multiple of `STEP`, the image encoder's coarsest cell: a frame then looks to the encoder as it
would unrolled, its former edges apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.prompts import FramePrompts
from .prompt_tensors import PromptTensors
from .sam2_steps import ImageFeatures

CELL: Final = 4  # px of the model's input to a cell of the logits
STEP: Final = 8  # cells
LEANS: Final = 0.1
"""How far out of 1 the circular mean must lie from the centre: below it there is as much of an
object on every side, and no middle to bring it to."""


class Views:
    """One photo's features in every view of it that is asked for, each encoded once.

    Parameters
    ----------
    encode
        Gives the features of the photo rolled by so many cells.
    """

    def __init__(self, encode: Callable[[int], ImageFeatures]) -> None:
        self._encode = encode
        self._known: dict[int, ImageFeatures] = {}

    def at(self, roll: int) -> ImageFeatures:
        """The photo's features in the view of this roll."""
        if roll not in self._known:
            self._known[roll] = self._encode(roll)
        return self._known[roll]


def roll_frame(frame: Tensor, roll: int) -> Tensor:
    """The model's input, (3, S, S), rolled to the right by ``roll`` cells."""
    return torch.roll(frame, roll * CELL, dims=-1) if roll else frame


def roll_prompts(prompts: PromptTensors, roll: int, image_size: int) -> PromptTensors:
    """Prompts rolled with the frame; a box stays in one piece, whatever lies on the seam."""
    if not roll:
        return prompts
    coordinates = prompts.coordinates
    if coordinates is not None and prompts.labels is not None:
        edges = coordinates[..., 0] + 0.5  # (1, P): sam2 takes indices of pixels
        rolled = torch.remainder(edges + roll * CELL, image_size)
        corners = prompts.labels >= 2
        if bool(corners.any()):
            width = edges[corners].max() - edges[corners].min()
            middle = torch.remainder(edges[corners].mean() + roll * CELL, image_size)
            rolled[corners] = torch.stack([middle - width / 2, middle + width / 2])
        coordinates = torch.stack([rolled - 0.5, coordinates[..., 1]], dim=-1)  # (1, P, 2)
    mask = None if prompts.mask is None else torch.roll(prompts.mask, roll * CELL, dims=-1)
    return PromptTensors(coordinates, prompts.labels, mask)


def unroll(logits: NDArray[np.float32], roll: int) -> NDArray[np.float32]:
    """Logits of a view, (h, w), as the photo lies."""
    return np.roll(logits, -roll, axis=1) if roll else logits


def roll_to_prompts(prompts: FramePrompts, width: int, cells: int) -> int:
    """The roll that brings prompts to the middle of the view.

    Parameters
    ----------
    prompts
        Of one object on one frame: its box counts, else its mask, else the points that include.
    width
        Of the footage, px.
    cells
        Width of the logits.
    """
    if prompts.box is not None:
        return _roll((prompts.box.x0 + prompts.box.x1) / 2 / width, cells)
    if prompts.mask is not None:
        return roll_to_columns(prompts.mask.to_array().sum(axis=0), cells, 0)
    places = np.array([point.x / width for point in prompts.points if point.include])
    return _roll(_middle(places, np.ones(len(places)), 0.5), cells)


def roll_to_matte(logits: NDArray[np.float32], roll: int) -> int:
    """The roll that brings a matte to the middle.

    Parameters
    ----------
    logits
        (h, w) as the photo lies.
    roll
        What holds when there is nothing inside, or as much on every side.
    """
    return roll_to_columns((logits > 0).sum(axis=0), logits.shape[1], roll)


def roll_to_columns(inside: NDArray[np.integer[Any]], cells: int, roll: int) -> int:
    """The same from the pixels inside each column of a mask, (w,)."""
    if not inside.any():
        return roll
    places = (np.arange(len(inside)) + 0.5) / len(inside)
    now = (0.5 - roll / cells) % 1.0
    return _roll(_middle(places, inside.astype(np.float64), now), cells)


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
