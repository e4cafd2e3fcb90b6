# SPDX-License-Identifier: GPL-3.0-or-later
"""Equirectangular captures with truth, the subject across the photo's edge or away from it.

Each photo is made of six square pictures of a stage, in six directions from one camera.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.research.bench.evaluation import orbits
from tools.research.bench.evaluation.prompting import place_clicks
from tools.research.bench.evaluation.sources import Clip, Subject
from tools.research.capture import photo
from tools.research.capture.geometry import Geometry
from tools.research.capture.identity import SUBJECT, id_map
from tools.research.capture.mesh import Array
from tools.research.capture.orbit import SENSOR_MM, Pose
from tools.research.capture.quick import QuickRenderer
from tools.research.capture.stage import Stage, StagePlan

FIRST_SEED: Final = 760
KINDS: Final = ("statue", "bench", "plant", "office_chair")
SEAM_SHIFT: Final = 0.47
"""Part of the width by which the photos are turned, so that the subject lies across the photo's
edge. It is not a whole number of the engine's steps, so that nothing is equal only by
arithmetic."""

_FACE: Final = 288  # px, side of each of the six pictures
_NEARER: Final = 0.5  # of the orbit's distance, because a panorama shows things small


def plans(count: int, frames: int) -> tuple[StagePlan, ...]:
    """What each capture shows."""
    return tuple(
        StagePlan(
            KINDS[number % len(KINDS)],
            FIRST_SEED + number,
            (_FACE, _FACE),
            frames,
            orbits.STEP * frames,
            occluder="",
        )
        for number in range(count)
    )


def rendered(plan: StagePlan, root: Path, report: Callable[[str], None]) -> Path:
    """Return the folder of a capture with the subject in the middle. It is rendered now if it is missing."""
    target = root / f"{plan.kind}_{plan.seed}_panorama_{plan.frames}"
    if target.exists():
        return target
    part = root / "part" / target.name
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    stage = Stage(plan)
    ways = [_six_ways(pose) for pose in stage.poses]
    renderer, geometry = QuickRenderer(stage), Geometry(stage)
    faces: list[list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = [[] for _ in ways]
    for way in range(6):
        stage.poses = [six[way] for six in ways]  # read for each picture
        for index in range(plan.frames):
            _, light = stage.weather.at(stage.progress(index))
            linear = renderer.render(index)
            pixels = photo.develop(linear, light.exposure, light.warmth, 0.0, 0)
            faces[index].append((pixels, id_map(geometry.coverage(index, 2))))
            report(f"{target.name} {way + 1}/6 {index + 1}/{plan.frames}")
    for index, six in enumerate(faces):
        pixels, ids = _equirectangular(six)
        Image.fromarray(pixels).save(part / f"{index:04d}.png")
        photo.write_grey(part / f"{index:04d}_truth.png", ids)
    os.replace(part, target)
    return target


def clip(folder: Path) -> Clip:
    """Return the capture as rendered, with clicks on the first photo."""
    truths = sorted(folder.glob("*_truth.png"))
    photos = tuple(path.with_name(path.name.replace("_truth", "")) for path in truths)
    first = np.asarray(Image.open(truths[0])) == SUBJECT
    clicks = tuple(place_clicks(first, 3))
    name = folder.name
    subject = Subject(1, name, SUBJECT, clicks)
    return Clip(name, photos, tuple(truths), (subject,), range(len(photos)))


def over_seam(middle: Clip, folder: Path) -> Clip:
    """Turn the same photos until the subject lies across the edge, and write them into a folder.

    Clicks are turned with them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width = 0
    files: list[list[Path]] = [[], []]
    for paths, kept in zip((middle.photos, middle.truths), files, strict=True):
        for path in paths:
            with Image.open(cast(Path, path)) as image:
                pixels = np.asarray(image)
            width = pixels.shape[1]
            turned = np.roll(pixels, round(SEAM_SHIFT * width), axis=1)
            kept.append(folder / cast(Path, path).name)
            Image.fromarray(turned).save(kept[-1])
    subject = middle.subjects[0]
    shift = round(SEAM_SHIFT * width)
    clicks = tuple(((x + shift) % width, y) for x, y in subject.clicks)
    return Clip(
        f"{middle.name}_seam",
        tuple(files[0]),
        tuple(files[1]),
        (Subject(subject.id, subject.name, subject.label, clicks),),
        middle.scored,
    )


def _six_ways(pose: Pose) -> list[Pose]:
    """Return six right-angled views from a point on the way to the subject: ahead, right, ..., down."""
    distance = np.hypot(*pose.position[:2])
    ahead = np.array([*(-pose.position[:2] / distance), 0.0])
    position = pose.position * np.array([_NEARER, _NEARER, 1.0])
    position[2] = max(float(position[2]) * 0.8, 0.3)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    up = np.array([0.0, 0.0, 1.0])
    looks: list[tuple[Array, Array]] = [  # (right, up) of each picture
        (right, up),
        (-ahead, up),
        (-right, up),
        (ahead, up),
        (right, -ahead),
        (right, ahead),
    ]
    lens = SENSOR_MM / 2  # 90 degrees
    return [
        Pose(position, np.stack([x, y, np.cross(x, y)], axis=1), lens, pose.size) for x, y in looks
    ]


def _equirectangular(
    faces: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Join six pictures and their ids into one, (2 f, 4 f) for faces of side f; nearest pixels."""
    height, width = 2 * _FACE, 4 * _FACE
    turn = ((np.arange(width) + 0.5) / width - 0.5)[None] * 2 * np.pi
    rise = (0.5 - (np.arange(height) + 0.5) / height)[:, None] * np.pi
    # In the coordinates of the first picture: x right, y up, z ahead.
    x, y, z = np.cos(rise) * np.sin(turn), np.sin(rise) + 0 * turn, np.cos(rise) * np.cos(turn)
    pixels = np.zeros((height, width, 3), np.uint8)
    ids = np.zeros((height, width), np.uint8)
    local = [(x, y, z), (-z, y, x), (-x, y, -z), (z, y, -x), (x, -z, y), (x, z, -y)]
    for (across, up, depth), (picture, truth) in zip(local, faces, strict=True):
        here = (depth > 0) & (np.abs(across) <= depth) & (np.abs(up) <= depth)
        column = (across[here] / depth[here] + 1) / 2 * _FACE
        row = (1 - up[here] / depth[here]) / 2 * _FACE
        at = (
            np.clip(row.astype(int), 0, _FACE - 1),
            np.clip(column.astype(int), 0, _FACE - 1),
        )
        pixels[here], ids[here] = picture[at], truth[at]
    return pixels, ids
