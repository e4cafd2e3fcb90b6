# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a job is run: the SAM 2 process, the cache, and the folder of models."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...core.errors import CheckpointError, EnvironmentSetupError
from ...core.settings import BUNDLED, ModelSettings
from ...core.system.safe_read import is_folder, is_there
from ..packages.environment import SITE_VARIABLE, WorkerEnvironment, can_find_cameras, find
from ..worker.worker_pool import WorkerPool

# These variables also replace Blender's preferences, for scripts, tests and machines without a window.
CACHE_VARIABLE: Final = "SAM2_SPLAT_CACHE"
MODELS_VARIABLE: Final = "SAM2_SPLAT_MODELS"

_ADDON: Final = Path(__file__).resolve().parents[2]
_NAME: Final = "sam2-splat"


@dataclass(frozen=True)
class Workplace:
    """What a job needs of the machine.

    Attributes
    ----------
    pool
        Starts the SAM 2 process when it is needed.
    cache
        Folder for hashes of photos, and for what was found out about videos and RAW photos.
    models
        Folder of downloaded checkpoints.
    finds_cameras
        Whether the optional package for finding cameras is there.
    """

    pool: WorkerPool
    cache: Path
    models: Path
    finds_cameras: bool = False

    @classmethod
    def without_blender(cls) -> Workplace:
        """Return the workplace of this machine. Raises EnvironmentSetupError if packages are missing."""
        found = environment()
        return cls(WorkerPool(found), cache_folder(), model_folder(), can_find_cameras(found))

    def checkpoint_of(self, model: ModelSettings, checkpoint: str) -> str:
        """Return the path of a model's file, empty for the bundled one. Raises CheckpointError."""
        if model.model == BUNDLED:
            if checkpoint:
                raise CheckpointError(
                    f"{checkpoint} would not be used, because the model is the bundled one.",
                    "Name the checkpoint's model with --model.",
                )
            return ""
        if checkpoint:
            return checkpoint
        path = self.models / f"{model.model}.pt"
        if not (is_there(path) and path.is_file()):
            raise CheckpointError(
                f"{path.name} is not in {path.parent}.",
                "Press Download in Blender's panel, put the file there, or choose the bundled model.",
            )
        return str(path)


def environment() -> WorkerEnvironment:
    """Return the Python and the packages of the SAM 2 process. Raises EnvironmentSetupError.

    They are those of the running Python, or those that *Install SAM 2* made in Blender, if this runs
    from the installed extension.
    """
    own = _extension_folder()
    try:
        return find(own and own / "packages")
    except EnvironmentSetupError as error:
        raise EnvironmentSetupError(
            error.message,
            'Run pip install "sam2-splat[engine]", press Install SAM 2 in Blender, or name a folder with'
            f" PyTorch and SAM 2 in {SITE_VARIABLE}.",
        ) from error


def cache_folder() -> Path:
    """Return the cache folder: `SAM2_SPLAT_CACHE`, the extension's own, or one of the user's caches."""
    return _folder(CACHE_VARIABLE, "cache") or _user_cache() / "cache"


def model_folder() -> Path:
    """Return the folder of checkpoints: `SAM2_SPLAT_MODELS`, the extension's own, or beside the cache."""
    return _folder(MODELS_VARIABLE, "models") or _user_cache() / "models"


def _folder(variable: str, name: str) -> Path | None:
    chosen = os.environ.get(variable, "")
    if chosen:
        return Path(chosen).absolute()
    own = _extension_folder()
    return own / name if own is not None else None


def _extension_folder() -> Path | None:
    """Return the folder in which the installed extension keeps its files. None outside of Blender's folders.

    Blender installs into ``extensions/<repository>/sam2_splat``, and gives that extension
    ``extensions/.user/<repository>/sam2_splat``.
    """
    repository = _ADDON.parent
    own = repository.parent / ".user" / repository.name / _ADDON.name
    return own if is_folder(own) else None


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / _NAME
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / _NAME
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _NAME
