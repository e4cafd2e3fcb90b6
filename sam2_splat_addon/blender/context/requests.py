# SPDX-License-Identifier: GPL-3.0-or-later
"""The common parts of requests for propagation and preview, made from a clip's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ...core.checkpoint_catalogue import BUNDLED_WEIGHTS
from ...core.errors import CheckpointError, PromptError
from ...core.protocol import ModelChoice
from ...core.settings import BUNDLED, RunSettings, Settings, declared
from ...core.system.safe_read import is_there
from . import preferences
from .properties import SAM2SPLAT_PG_clip


def model_choice(settings: SAM2SPLAT_PG_clip, *, device: str, threads: int) -> ModelChoice:
    """Return the model of a clip's settings. Raises CheckpointError if its file is missing."""
    return ModelChoice(settings.model, _checkpoint_path(settings), device, threads)


def run_settings(settings: SAM2SPLAT_PG_clip, frame_count: int) -> RunSettings:
    """Return the settings of a run over ``frame_count`` photos. Raises PromptError for an empty range."""
    first, last = 1, frame_count
    if settings.use_range:
        first, last = settings.first_frame, min(settings.last_frame, frame_count)
        if first > last:
            raise PromptError(
                f"The range {first} to {last} has no photo. Photos are on frames 1 to {frame_count}.",
                "Change First and Last in the options.",
            )
    return RunSettings(first, last, **chosen(settings, RunSettings))


def chosen(settings: SAM2SPLAT_PG_clip, kind: type[Settings]) -> dict[str, Any]:
    """Return the values of a clip's properties, by name, for the settings that a struct declares."""
    return {one.name: getattr(settings, one.name) for one in declared(kind)}


def cameras_place(settings: SAM2SPLAT_PG_clip) -> str:
    """Return the file or folder of the photos' cameras, absolute. Empty looks around the photos."""
    chosen_place = settings.cameras.strip()
    return str(Path(bpy.path.abspath(chosen_place)).absolute()) if chosen_place else ""


def checkpoint_file(settings: SAM2SPLAT_PG_clip) -> Path:
    """Return the file of the settings' model. The file may be missing."""
    if settings.model == BUNDLED:
        return BUNDLED_WEIGHTS
    if settings.checkpoint:
        return Path(bpy.path.abspath(settings.checkpoint))
    return Path(preferences.model_folder()) / f"{settings.model}.pt"


def _checkpoint_path(settings: SAM2SPLAT_PG_clip) -> str:
    """Return the path of the settings' checkpoint, empty for the bundled model. Raises CheckpointError."""
    if settings.model == BUNDLED:
        return ""
    path = checkpoint_file(settings)
    if not settings.checkpoint and not (is_there(path) and path.is_file()):
        raise CheckpointError(
            f"{path.name} is not in {path.parent}.",
            "Press Download in the panel, or choose the bundled model.",
        )
    return str(path)
