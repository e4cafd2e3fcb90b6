# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of a preview: the model and the settings that it was made with.

A preview shows as long as its clip still has its key. If the run of a matte in the store has the clip's
key, a preview would show the same matte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ...core.mattes.run_manifest import RunManifest
from ...core.settings import CLIP_SETTINGS, declared
from ..context.properties import SAM2SPLAT_PG_clip
from . import checkpoint_identity


def of_clip(settings: SAM2SPLAT_PG_clip) -> str:
    """Return the present key of a clip's previews."""
    return _key(checkpoint_identity.sha256_of(settings), lambda name: getattr(settings, name))


def of_run(run: RunManifest) -> str:
    """Return the key of a preview with a run's model and settings."""
    values = {"model": run.model, **msgspec.structs.asdict(run.settings)}
    return _key(run.checkpoint_sha256, values.__getitem__)


def _key(checkpoint_sha256: str | None, value: Callable[[str], Any]) -> str:
    """Make a key. The checksum is None if it is not known yet, and no run has such a key."""
    shown = [
        f"{one.name}={value(one.name)}"
        for kind in CLIP_SETTINGS
        for one in declared(kind)
        if one.setting.previews
    ]
    return " ".join((str(checkpoint_sha256), *shown))
