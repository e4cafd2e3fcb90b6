# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the matte on the screen with the bake's at several zooms. Played inside Blender."""

from __future__ import annotations

import importlib
from typing import Any

import bpy
import numpy as np

from tools.window.session import Play, Window

# Px of the screen for one px of the photo, and pans in px of the photo, from far off to very close.
VIEWS = (
    *((0.1, (0.0, 0.0)), (0.37, (0.0, 0.0)), (1.0, (31.0, -17.0)), (2.5, (-40.0, 60.0))),
    *((8.0, (200.0, 150.0)), (30.0, (-170.0, 120.0))),
)
# Folders of photos, with the pixel aspects of the clips.
PHOTOS = {"portrait": (1.0, 1.6), "landscape": (1.0,), "panorama": (1.0,)}
# Near the edge the overlay is smooth over about one px of the screen.
_EDGE = 1.0
# In px of the photo.
_BORDER = 0.02


def scenario(window: Window) -> Play:
    resample = _core(window, "geometry.resample")
    results: list[list[object]] = []
    for name, aspects in PHOTOS.items():
        yield from window.load(window.folder / name)
        clip = window.clip
        logits = _store_matte(window, clip)
        window.look.show_clicks = False
        window.look.overlay_mode = "matte"
        # Hide the sidebars, which are over the photo.
        window.space.show_region_ui = window.space.show_region_toolbar = False
        for aspect in aspects:
            clip.display_aspect = (aspect, 1.0)
            for ratio, pan in VIEWS:
                window.run("clip.view_all")
                window.run("clip.view_zoom_ratio", ratio=ratio)
                _pan(window, pan)
                yield from window.picture("matte")
                compared = _compare(window, resample, logits, clip)
                results.append([name, aspect, ratio, *compared])
    window.note(results=results)
    yield from _as_baked(window, resample, logits, clip)


def _as_baked(window: Window, resample: Any, logits: Any, clip: Any) -> Play:
    """Compare with small holes filled and specks dropped, then with a soft edge. The zoom is near
    enough to see the photo's own pixels."""
    look = _core(window, "geometry.bake_preview")
    settings, size = clip.sam2_splat, (int(clip.size[0]), int(clip.size[1]))
    window.run("clip.view_all")
    window.run("clip.view_zoom_ratio", ratio=8.0)
    px = settings.fill_holes_px = settings.drop_specks_px = size[0] * size[1] // 40
    (tidy,) = look.tidied([logits], size, fill_px=px, drop_px=px)
    yield from window.picture("matte")
    window.note(tidied=_compare(window, resample, tidy, clip), moved=float((tidy != logits).sum()))
    settings.fill_holes_px = settings.drop_specks_px = 0
    settings.alpha = "soft"
    yield from window.picture("matte")
    window.note(soft=_soft_error(window, resample, look, logits, clip))


def _pan(window: Window, offset: tuple[float, float]) -> None:
    """Pan at once. The key's way would wait for the mouse."""
    with bpy.context.temp_override(
        window=bpy.context.window_manager.windows[0],
        area=window.area,
        region=window.region(),
        space_data=window.space,
    ):
        bpy.ops.clip.view_pan("EXEC_DEFAULT", offset=offset)


def _core(window: Window, module: str) -> Any:
    package = window.addon("overlay.draw").__package__.rpartition(".blender.")[0]
    return importlib.import_module(f"{package}.core.{module}")


def _store_matte(window: Window, clip: Any) -> Any:
    """Put a matte of many blobs where the overlay finds it."""
    store = _core(window, "mattes.store")
    footage, mattes = window.addon("clip.footage"), window.addon("clip.matte_run")
    prompts = window.addon("clip.markers")
    prompts.sync_objects(clip)
    noise = np.random.default_rng(5).normal(size=(20, 14))
    logits = np.kron(noise, np.ones((6, 6)))
    for axis in (0, 1):
        for _ in range(4):
            logits = (np.roll(logits, 1, axis) + logits + np.roll(logits, -1, axis)) / 3
    logits = (logits * 6).astype(np.float16)
    folder = mattes.store_folder(clip, footage.footage_of(clip).folder)
    scores = store.MatteScores(1.0, 0.9, 0.5)
    width, height = clip.size
    store.MatteStore.open(folder, create=True).write(
        store.MatteRecord(1, 1, width, height, logits, scores)
    )
    # The overlay may have looked for it already.
    window.addon("context.changes").mattes_changed(clip.session_uid, 1, 1)
    return logits


def _compare(window: Window, resample: Any, logits: Any, clip: Any) -> list[float]:
    """Return how many pixels were compared, and how many are clearly wrong, not only by rounding."""
    shown, x, y = _seen(window, clip)
    view = window.addon("context.frame_view").FrameView.of(window.region(), clip)
    width, height = view.width, view.height
    if view.zoom >= 4.0:
        full = resample.upsample_binary(logits, width, height)
        expected = full[np.ix_(y.astype(int), x.astype(int))]
        sure = np.ix_(_between_borders(y), _between_borders(x))
        wrong = ((shown > 0.5) != expected)[sure]
        return [float(wrong.size), float(wrong.sum())]
    values = _bilinear(logits.astype(np.float64), x / width, y / height)
    down, right = np.gradient(values)
    distance = np.abs(values) / np.maximum(np.hypot(down, right), 1e-9)
    wrong = (shown > 0.5) != (values > 0)
    return [float(wrong.size), float((wrong & (distance > _EDGE)).sum())]


def _seen(window: Window, clip: Any) -> tuple[Any, Any, Any]:
    """Return the brightness of the picture where it shows only the photo, with places in the photo."""
    image = bpy.data.images.load(str(window.folder / "matte.png"))
    wide, tall = image.size
    seen = np.empty(wide * tall * image.channels, dtype=np.float32)
    image.pixels.foreach_get(seen)
    seen = seen.reshape(tall, wide, -1)[..., 0]
    bpy.data.images.remove(image)
    region = window.region()
    view = window.addon("context.frame_view").FrameView.of(region, clip)
    part = seen[region.y : region.y + region.height, region.x : region.x + region.width]
    columns = np.arange(region.width) + 0.5
    rows = np.arange(region.height) + 0.5
    x = np.array([view.to_pixel(column, 0.0)[0] for column in columns])
    y = np.array([view.to_pixel(0.0, row)[1] for row in rows])
    width, height = view.width, view.height
    inside_x, inside_y = (x > 1) & (x < width - 1), (y > 1) & (y < height - 1)
    # Without the frame strip below, gizmos on the right, and reports above.
    inside_y &= (rows > 60) & (rows < region.height - 60)
    inside_x &= (columns > 60) & (columns < region.width - 120)
    return part[np.ix_(inside_y, inside_x)], x[inside_x], y[inside_y]


def _soft_error(window: Window, resample: Any, look: Any, logits: Any, clip: Any) -> list[float]:
    """Return how many pixels have no colour of a hard edge, and the largest error of all pixels."""
    shown, x, y = _seen(window, clip)
    values = resample.upsample(look.soft_band(logits), int(clip.size[0]), int(clip.size[1]))
    low = 1.0 / (1.0 + np.exp(look.SOFT_LOGIT))
    alpha = (1.0 / (1.0 + np.exp(-values)) - low) / (1.0 - 2.0 * low)
    expected = alpha[np.ix_(y.astype(int), x.astype(int))]
    sure = np.ix_(_between_borders(y), _between_borders(x))
    between = (expected > 0.1) & (expected < 0.9)
    return [float(between[sure].sum()), float(np.abs(shown - expected)[sure].max())]


def _between_borders(at: Any) -> Any:
    """Return which px of the screen are not on the border of two px of the photo."""
    return np.abs(at - np.round(at)) > _BORDER


def _bilinear(logits: Any, u: Any, v: Any) -> Any:
    rows, columns = logits.shape
    x = np.clip(u * columns - 0.5, 0, columns - 1)
    y = np.clip(v * rows - 0.5, 0, rows - 1)
    left, low = np.floor(x).astype(int), np.floor(y).astype(int)
    right, high = np.minimum(left + 1, columns - 1), np.minimum(low + 1, rows - 1)
    a, b = x - left, (y - low)[:, None]
    upper = logits[np.ix_(low, left)] * (1 - a) + logits[np.ix_(low, right)] * a
    lower = logits[np.ix_(high, left)] * (1 - a) + logits[np.ix_(high, right)] * a
    return upper * (1 - b) + lower * b
