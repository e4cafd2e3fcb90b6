# SPDX-License-Identifier: GPL-3.0-or-later
"""Show a photo as three trainers use it, with a subject of each role. Played inside Blender."""

from __future__ import annotations

import importlib

import numpy as np

from tools.window.session import Play, Window

# Columns of a grid of 60 that each subject covers, from top to bottom; the photo has ten px for each.
COLUMNS = {"keep": (10, 50), "remove": (20, 30), "ignore": (36, 44)}
GRID = (90, 60)


def scenario(window: Window) -> Play:
    yield from window.load(window.folder / "photos")
    clip = window.clip
    package = window.addon("overlay.draw").__package__.rpartition(".blender.")[0]
    store = importlib.import_module(f"{package}.core.mattes.store")
    place = window.addon("clip.footage").footage_of(clip).folder
    mattes = store.MatteStore.open(
        window.addon("clip.matte_run").store_folder(clip, place), create=True
    )
    for role in COLUMNS:
        window.run("object_add", name=role)
    ids = window.addon("clip.markers").sync_objects(clip)
    width, height = clip.size
    for role, (left, right) in COLUMNS.items():
        logits = np.full(GRID, -8.0, np.float16)
        logits[:, left:right] = 8.0
        scores = store.MatteScores(1.0, 0.9, 0.5)
        mattes.write(store.MatteRecord(ids[role], 1, width, height, logits, scores))
        clip.sam2_splat.objects[role].role = role
        window.addon("context.changes").mattes_changed(clip.session_uid, ids[role], 1)
    window.look.show_clicks = False
    window.look.show_overlay = False
    yield from window.picture("plain")
    window.look.show_overlay = True
    window.look.overlay_mode = "trainer"
    for name in ("lichtfeld", "colmap", "postshot"):
        clip.sam2_splat.targets = {name}
        yield from window.picture(name)
    clip.sam2_splat.targets = {"lichtfeld"}
    for entry in clip.sam2_splat.objects:  # also the one that loading makes
        entry.use_in_bake = entry.role != "keep"
    yield from window.picture("scene")
    yield from window.scroll("UI", 12)
    yield from window.picture("panel")
