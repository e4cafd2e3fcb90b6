# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preview of a frame's clicks is made with: its model and settings, as a key.

A preview shows as long as its clip has the key that it was made with. A matte in the store is what a
preview would show where its run has the clip's key.
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
    """The key that a clip's previews are made with now."""
    return _key(checkpoint_identity.sha256_of(settings), lambda name: getattr(settings, name))


def of_run(run: RunManifest) -> str:
    """The key that a preview with a run's model and settings would have."""
    values = {"model": run.model, **msgspec.structs.asdict(run.settings)}
    return _key(run.checkpoint_sha256, values.__getitem__)


def _key(checkpoint_sha256: str | None, value: Callable[[str], Any]) -> str:
    """The check sum is None while it is not known yet: such a key is no run's."""
    shown = [
        f"{one.name}={value(one.name)}"
        for kind in CLIP_SETTINGS
        for one in declared(kind)
        if one.setting.previews
    ]
    return " ".join((str(checkpoint_sha256), *shown))
