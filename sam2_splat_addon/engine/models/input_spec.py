# SPDX-License-Identifier: GPL-3.0-or-later
"""How large and how exactly a model sees the photos; imports core and its siblings of the engine."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.settings import QUALITY, Speed
from .architectures import BUNDLED, own_size


@dataclass(frozen=True)
class ModelInput:
    """What the model is given.

    Attributes
    ----------
    size
        Side of the square that a photo is squashed to, px.
    exact
        As in `frames.FrameSource`: to the bit what sam2's own loader makes of a photo. Otherwise
        large JPEGs are decoded at a reduced scale.
    """

    size: int
    exact: bool


def model_input(model: str, image_size: int, speed: Speed, *, bitwise: bool = False) -> ModelInput:
    """The input of a run.

    The official models see in full quality what they would see in sam2. The bundled model has no
    such measure to meet, and takes so little time that decoding would be most of it.

    Parameters
    ----------
    model
        One of `architectures.MODEL_NAMES`.
    image_size, bitwise
        As in `core.manifest.RunSettings`.
    speed
        Decides the size where ``image_size`` is 0.

    Raises
    ------
    CheckpointError
        There is no such model.
    """
    own = own_size(model)
    size = image_size or speed.input_size(own)
    return ModelInput(size, exact=bitwise or (speed == QUALITY and model != BUNDLED))
