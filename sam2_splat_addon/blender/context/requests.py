# SPDX-License-Identifier: GPL-3.0-or-later
"""What propagation and preview ask the worker alike, from a clip's settings; imports bpy, core."""

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
    """The model that a clip's settings mean; raises CheckpointError when its file is missing."""
    return ModelChoice(settings.model, _checkpoint_path(settings), device, threads)


def run_settings(settings: SAM2SPLAT_PG_clip, frame_count: int) -> RunSettings:
    """What the user chose about a run over so many photos; raises PromptError for an empty range."""
    first, last = 1, frame_count
    if settings.use_range:
        first, last = settings.first_frame, min(settings.last_frame, frame_count)
        if first > last:
            raise PromptError(
                f"The range {first} to {last} holds no frame of the footage (1 to {frame_count}).",
                "Correct First and Last.",
            )
    return RunSettings(first, last, **chosen(settings, RunSettings))


def chosen(settings: SAM2SPLAT_PG_clip, kind: type[Settings]) -> dict[str, Any]:
    """What a clip's properties say of the settings that a struct declares, by name."""
    return {one.name: getattr(settings, one.name) for one in declared(kind)}


def checkpoint_file(settings: SAM2SPLAT_PG_clip) -> Path:
    """The file that the settings' model is read from, whether it is there or not."""
    if settings.model == BUNDLED:
        return BUNDLED_WEIGHTS
    if settings.checkpoint:
        return Path(bpy.path.abspath(settings.checkpoint))
    return Path(preferences.model_folder()) / f"{settings.model}.pt"


def _checkpoint_path(settings: SAM2SPLAT_PG_clip) -> str:
    """The checkpoint the settings mean, empty for the bundled model; raises CheckpointError."""
    if settings.model == BUNDLED:
        return ""
    path = checkpoint_file(settings)
    if not settings.checkpoint and not (is_there(path) and path.is_file()):
        raise CheckpointError(
            f"{path.name} is not in {path.parent}.",
            "Download it with the button in the panel, or choose the bundled model.",
        )
    return str(path)
