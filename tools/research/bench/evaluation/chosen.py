# SPDX-License-Identifier: GPL-3.0-or-later
"""The model that a command line chose."""

from __future__ import annotations

from pathlib import Path

from sam2_splat_addon.core.protocol import ModelChoice
from sam2_splat_addon.core.settings import Look
from sam2_splat_addon.engine.models.architectures import own_size
from sam2_splat_addon.engine.models.checkpoints import checkpoint_path, sha256_of
from sam2_splat_addon.engine.models.device import choose_device, use_threads
from tools.research.bench.evaluation.report import ModelFacts
from tools.research.bench.evaluation.tracking import find_model


def find(
    model: str,
    weights: Path | None,
    image_size: int,
    device: str,
    threads: int,
    *,
    refined: bool = False,
    second_look: Look = "automatic",
) -> tuple[ModelChoice, ModelFacts]:
    """Return the model in the form of requests, and in the form of results.

    Parameters
    ----------
    model, weights
        See `tracking.find_model`.
    image_size
        Side of its input, px. 0 is its own size.
    device, threads
        Threads 0 is torch's own choice.
    refined, second_look
        See `ModelFacts`.

    Raises
    ------
    CheckpointError
        There is no such model or file.
    """
    name, file = find_model(model, weights)
    path = checkpoint_path(name, file)
    facts = ModelFacts(
        name,
        sha256_of(path),
        image_size or own_size(name),
        choose_device(device).name,
        use_threads(threads),
        refined,
        second_look,
    )
    return ModelChoice(name, str(path), device, threads), facts
