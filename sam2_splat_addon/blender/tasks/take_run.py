# SPDX-License-Identifier: GPL-3.0-or-later
"""Take over into a clip what another process has propagated and baked for it."""

from __future__ import annotations

import json
from collections.abc import Collection, Generator
from pathlib import Path

import bpy

from ...core.mattes.store import MatteStore
from ..clip import clear_results, found_cameras, markers, matte_run
from ..context import changes, properties
from ..review import live_review
from .layer_build import LayerBuild


def taken(
    clip: bpy.types.MovieClip, store_folder: Path, damaged: Collection[str], output: Path | None
) -> Generator[None, None, None]:
    """Make the mask layers of a clip from a store, in steps, and note what was left out and baked.

    Parameters
    ----------
    damaged
        Names of the photos that the run left out.
    output
        Folder of the bake, if there was one. Raises StoreError.
    """
    store, settings = MatteStore(store_folder), properties.of_clip(clip)
    settings.store_folder = str(store_folder)
    settings.outdated_run = ""
    settings.damaged_names = json.dumps(list(damaged))
    if output is not None:
        settings.output_folder = str(output)
    found_cameras.read_again(clip)
    matte_run.remember(clip, store)
    changes.mattes_changed(clip.session_uid)
    names = {object_id: name for name, object_id in markers.sync_objects(clip).items()}
    clear_results.propagated(clip, store, names)
    build = LayerBuild(clip, store, names)
    while not build.step():
        yield
    live_review.layers_written(clip, build.edited)
