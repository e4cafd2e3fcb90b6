# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide how large and how exactly a model sees the photos."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.settings import QUALITY, Speed
from .architectures import BUNDLED, own_size


@dataclass(frozen=True)
class ModelInput:
    """What the model gets.

    Attributes
    ----------
    size
        Side of the square to which a photo is resized, px.
    exact
        As in `images.frame_source.FrameSource`. True: the photo has the same bits as from sam2's
        own loader. False: large JPEGs are decoded at a reduced scale.
    """

    size: int
    exact: bool


def model_input(model: str, speed: Speed, image_size: int = 0) -> ModelInput:
    """Return the input of a run.

    In full quality the official models get exactly what sam2 would give them. The bundled model
    need not match sam2. It is so fast that exact decoding would take most of the time.

    Parameters
    ----------
    model
        One of `architectures.MODEL_NAMES`.
    speed
        Decides the size if ``image_size`` is 0.
    image_size
        Another size, px, for tests and benches.

    Raises
    ------
    CheckpointError
        There is no such model.
    """
    size = image_size or speed.input_size(own_size(model))
    return ModelInput(size, exact=speed == QUALITY and model != BUNDLED)
