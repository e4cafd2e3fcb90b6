# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one capture, frame by frame. It can be resumed. The caller chooses the renderer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import facts, photo, scene_file
from .geometry import Geometry
from .identity import SUBJECT, channel, id_map
from .stage import Stage

Report = Callable[[str], None]
FloatImage = npt.NDArray[np.float32]


class Renderer(Protocol):
    """Turns a frame of a stage into a picture."""

    def render(self, index: int) -> FloatImage:
        """Return a frame's linear RGB, shape (H, W, 3)."""


@dataclass(frozen=True)
class Layout:
    """Where a capture's files go, and what its truth contains.

    Attributes
    ----------
    photos, truth
        Folder names below the capture's folder. ``""`` is the folder itself.
    names
        The photos' names, one for each frame.
    looks
        The square of this is the number of samples of each pixel for the truth.
    truth_is_ids
        True: instance ids (see `identity`). False: the subject's coverage from 0 to 255.
    camera_data
        Whether photos have EXIF and an ICC profile.
    quality
        Of the JPEGs, 1 to 95.
    brightness
        Stops added to every frame's exposure.
    """

    photos: str
    truth: str
    names: tuple[str, ...]
    looks: int
    truth_is_ids: bool
    camera_data: bool
    quality: int
    brightness: float = 0.0


def plain_layout(frames: int, quality: int = 92, looks: int = 2) -> Layout:
    """Return the layout of training scenes: ``0000.jpg`` and ``0000.png`` side by side."""
    names = tuple(f"{i:04d}.jpg" for i in range(frames))
    return Layout("", "", names, looks, truth_is_ids=True, camera_data=False, quality=quality)


def camera_layout(frames: int, quality: int = 84) -> Layout:
    """Return the layout of a photo set: numbered as by a camera, with a few photos deleted."""
    names = []
    number = 2041
    for i in range(frames):
        names.append(f"IMG_{number}.JPG")
        number += 3 if i % 11 == 7 else 2 if i % 5 == 1 else 1
    return Layout(
        "photos", "truth", tuple(names), 4, truth_is_ids=False, camera_data=True, quality=quality
    )


def make_capture(
    stage: Stage,
    start_renderer: Callable[[Stage], Renderer],
    layout: Layout,
    out: Path,
    resume: bool = False,
    report: Report = print,
) -> scene_file.SceneFacts:
    """Render a capture into `out` and return its facts. They are also written to ``scene.json``.

    With `resume`, frames whose photo and truth exist are kept. `start_renderer` is called when the
    first frame has to be rendered.

    Raises
    ------
    FileExistsError
        `out` contains files and `resume` is off.
    """
    if not resume and out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: choose another folder, or pass --resume.")
    for folder in (out, out / layout.photos, out / layout.truth):
        folder.mkdir(parents=True, exist_ok=True)
    plan = stage.plan
    renderer: Renderer | None = None
    geometry = Geometry(stage)
    frames = []
    clicks: list[scene_file.Click] = []
    for index, name in enumerate(layout.names):
        photo_path = out / layout.photos / name
        truth_path = out / layout.truth / f"{Path(name).stem}.png"
        started = time.monotonic()
        kept = resume and photo_path.exists() and truth_path.exists()
        if not kept:
            renderer = renderer or start_renderer(stage)
            _write_truth(geometry, index, layout, truth_path)
            _write_photo(stage, renderer, index, layout, photo_path)
        truth = np.asarray(Image.open(truth_path))
        mask = np.where(truth == SUBJECT, 255, 0) if layout.truth_is_ids else truth
        mask = mask.astype(np.uint8)
        frames.append(_frame_facts(stage, geometry, index, mask, photo_path, truth_path, out))
        if index == 0:
            clicks = facts.find_clicks(mask, stage.subject.anchors, stage.poses[0])
        verb = "kept" if kept else f"{time.monotonic() - started:.2f} s"
        report(f"{name} {index + 1}/{plan.frames} {verb} visible {frames[-1].visible:.2f}")
    whole = scene_file.SceneFacts(
        version=scene_file.VERSION,
        kind=plan.kind,
        seed=plan.seed,
        size=plan.size,
        distractors=tuple(stage.distractors),
        clicks=tuple(clicks),
        frames=tuple(frames),
    )
    photo.write_text(out / "scene.json", scene_file.encode(whole))
    return whole


def _write_truth(geometry: Geometry, index: int, layout: Layout, path: Path) -> None:
    coverage = geometry.coverage(index, layout.looks)
    truth: npt.NDArray[np.uint8]
    if layout.truth_is_ids:
        truth = id_map(coverage)
    else:
        truth = np.round(coverage[..., channel(SUBJECT)] * 255).astype(np.uint8)
    photo.write_grey(path, truth)


def _write_photo(stage: Stage, renderer: Renderer, index: int, layout: Layout, path: Path) -> None:
    linear = renderer.render(index)
    _, development = stage.weather.at(stage.progress(index))
    exposure = development.exposure + layout.brightness
    noise_seed = stage.plan.seed * 10_000 + index
    pixels = photo.develop(linear, exposure, development.warmth, development.noise, noise_seed)
    shot = None
    if layout.camera_data:
        shot = photo.plan_shot(index, exposure, stage.poses[index].lens)
    photo.write_photo(path, pixels, layout.quality, shot)


def _frame_facts(
    stage: Stage,
    geometry: Geometry,
    index: int,
    mask: npt.NDArray[np.uint8],
    photo_path: Path,
    truth_path: Path,
    out: Path,
) -> scene_file.FrameFacts:
    pose = stage.poses[index]
    whole = float(geometry.silhouette(index, 2).sum())  # px
    x, y, z = (round(float(v), 5) for v in pose.position)
    axes = tuple(
        (round(float(a), 6), round(float(b), 6), round(float(c), 6)) for a, b, c in pose.axes.T
    )
    return scene_file.FrameFacts(
        file=photo_path.relative_to(out).as_posix(),
        truth=truth_path.relative_to(out).as_posix(),
        visible=round(min(float(mask.sum()) / 255 / max(whole, 1.0), 1.0), 4),
        box=facts.visible_box(mask),
        camera=scene_file.CameraFacts((x, y, z), axes, round(pose.lens, 3)),
    )
