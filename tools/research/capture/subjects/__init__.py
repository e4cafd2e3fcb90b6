# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of subject and their builders."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ..mesh import Model
from .chairs import chair, office_chair, stool
from .figures import animal, figure, statue
from .furniture import bench, ladder, lamp, rack, shelf, table
from .things import bicycle, boxes, broom, machine, sign
from .vessels import basket, bucket, plant, teapot, vase

KINDS: dict[str, Callable[[Random], Model]] = {
    "chair": chair,
    "office_chair": office_chair,
    "stool": stool,
    "table": table,
    "lamp": lamp,
    "vase": vase,
    "plant": plant,
    "animal": animal,
    "shelf": shelf,
    "bicycle": bicycle,
    "teapot": teapot,
    "broom": broom,
    "bucket": bucket,
    "statue": statue,
    "ladder": ladder,
    "basket": basket,
    "bench": bench,
    "figure": figure,
    "rack": rack,
    "boxes": boxes,
    "sign": sign,
    "machine": machine,
}


def build_subject(kind: str, rng: Random) -> Model:
    """Return a model of `kind` that stands on the ground around the z axis.

    Every proportion is drawn from `rng`, so the same state gives the same model.

    Raises
    ------
    KeyError
        `kind` is not in `KINDS`.
    """
    model = KINDS[kind](rng)
    model.stand_on_ground()
    return model
