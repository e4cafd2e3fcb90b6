# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the last model loaded between requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ...core.protocol import ModelChoice
from .checkpoints import LoadedModel, load_model


class ModelCache:
    """Keep the last model loaded, so that the next request for the same model starts at once."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._model: LoadedModel | None = None

    def get(
        self,
        choice: ModelChoice,
        digest: str,
        device: torch.device,
        image_size: int,
        on_progress: Callable[[float], None],
    ) -> LoadedModel:
        """Return the kept model if it is the right one, otherwise load it; raises CheckpointError."""
        key = (choice.name, digest, device, image_size)
        if self._model is None or key != self._key:
            self._model = None  # never two models in memory
            checkpoint = Path(choice.checkpoint) if choice.checkpoint else None
            self._model = load_model(
                choice.name,
                checkpoint,
                device,
                image_size=image_size or None,
                on_progress=on_progress,
            )
            self._key = key
        return self._model


shared = ModelCache()
"""The worker's only cache. Propagation and preview use the same model."""
