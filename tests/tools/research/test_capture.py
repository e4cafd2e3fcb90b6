# SPDX-License-Identifier: GPL-3.0-or-later
"""The capture tool: files, names, EXIF, truth and repeatability, with tiny pictures."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tools.research.capture import identity, scene_file
from tools.research.capture.capture import Layout, camera_layout, make_capture, plain_layout
from tools.research.capture.cycles_render import CyclesRenderer, CyclesSettings
from tools.research.capture.geometry import Geometry
from tools.research.capture.make import main
from tools.research.capture.quick import QuickRenderer
from tools.research.capture.stage import Stage, StagePlan
from tools.research.capture.subjects import KINDS, build_subject
from tools.research.capture.train_set import SHORT_OF_SEEDS, plan_scene

SIZE = (96, 144)
PLAN = StagePlan("chair", 12, SIZE, frames=2, sweep=0.4, indoors=True, occluder="")


def _arguments(out: Path, *more: str) -> list[str]:
    fixed = ["--kind", "chair", "--seed", "12", "--size", "96x144", "--frames", "2"]
    return [*fixed, "--samples", "2", "--out", str(out), *more]


def _mask(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("capture")
    assert main(_arguments(out)) == 0
    return out


def test_a_capture_has_photos_truth_and_facts(capture: Path) -> None:
    facts = scene_file.decode((capture / "scene.json").read_bytes())
    assert (facts.kind, facts.seed, facts.size) == ("chair", 12, SIZE)
    assert len(facts.frames) == 2
    for frame in facts.frames:
        photo, truth = Image.open(capture / frame.file), Image.open(capture / frame.truth)
        assert (photo.size, photo.mode, photo.format) == (SIZE, "RGB", "JPEG")
        assert (truth.size, truth.mode, truth.format) == (SIZE, "L", "PNG")
        assert Path(frame.truth).stem == Path(frame.file).stem
    assert not list(capture.rglob("*.part"))


def test_photo_names_are_a_cameras_with_gaps() -> None:
    names = camera_layout(48).names
    numbers = [
        int(match[1]) for name in names if (match := re.fullmatch(r"IMG_(\d{4})\.JPG", name))
    ]
    assert len(numbers) == len(set(numbers)) == 48
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] > 47


def test_photos_carry_exif_that_rises_in_time_and_an_srgb_profile(capture: Path) -> None:
    stamps = []
    for path in sorted((capture / "photos").iterdir()):
        with Image.open(path) as photo:
            exif = photo.getexif()
            details = exif.get_ifd(0x8769)
            assert exif[0x0112] == 1
            assert exif[0x010F]
            assert exif[0x0110]
            assert 10 < details[0x920A] < 120  # focal length, mm
            assert 0 < details[0x829A] < 1  # exposure, s
            assert details[0x8827] > 0  # ISO
            assert (
                b"sRGB" in photo.info["icc_profile"] or b"s\0R\0G\0B" in photo.info["icc_profile"]
            )
            stamps.append(details[0x9003])
    assert stamps == sorted(set(stamps))


def test_facts_agree_with_the_truth(capture: Path) -> None:
    facts = scene_file.decode((capture / "scene.json").read_bytes())
    for frame in facts.frames:
        solid = _mask(capture / frame.truth) > 127
        assert frame.box is not None
        left, top, right, bottom = frame.box
        assert solid[top:bottom, left:right].sum() == solid.sum() > 200
        assert solid[top].any()
        assert solid[bottom - 1].any()
        assert solid[:, left].any()
        assert solid[:, right - 1].any()


def test_clicks_lie_on_the_subject_and_apart(capture: Path) -> None:
    facts = scene_file.decode((capture / "scene.json").read_bytes())
    truth = _mask(capture / facts.frames[0].truth)
    assert len(facts.clicks) == 3
    assert len({click.name for click in facts.clicks}) == 3
    assert all(truth[int(click.y), int(click.x)] >= 250 for click in facts.clicks)


def test_the_same_seed_gives_the_same_bytes(capture: Path, tmp_path: Path) -> None:
    assert main(_arguments(tmp_path / "again")) == 0
    first = sorted(path.relative_to(capture) for path in capture.rglob("*.*"))
    again = sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.*")
    )
    assert first == again
    for path in first:
        assert (capture / path).read_bytes() == (tmp_path / "again" / path).read_bytes(), path


def test_resume_makes_what_is_missing_and_keeps_what_is_there(
    capture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "half"
    make_capture(Stage(PLAN), QuickRenderer, camera_layout(2), out, report=lambda line: None)
    whole = {path: path.read_bytes() for path in out.rglob("*.*")}
    kept, lost = sorted((out / "photos").iterdir())
    lost.unlink()
    (out / "scene.json").unlink()
    os.utime(kept, (1, 1))
    make_capture(
        Stage(PLAN), QuickRenderer, camera_layout(2), out, resume=True, report=lambda line: None
    )
    assert kept.stat().st_mtime == 1
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == whole


def test_a_folder_with_files_is_refused_without_resume(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(capture.rglob("*"))
    assert main(_arguments(capture)) == 2
    assert "--resume" in capsys.readouterr().err
    assert sorted(capture.rglob("*")) == before


def test_the_truth_is_where_cycles_draws_the_subject(tmp_path: Path) -> None:
    stage = Stage(PLAN)
    truth = Geometry(stage).silhouette(1, oversampling=4)
    del stage.items[1:]
    renderer = CyclesRenderer(stage, CyclesSettings(16, threads=1, bounces=0, denoise=False))
    renderer.set_frame(1)
    scene: Any = bpy.context.scene
    scene.cycles.pixel_filter_type = "BOX"  # no pixel looks into its neighbours
    render = scene.render
    render.film_transparent = True
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGBA"
    render.filepath = str(tmp_path / "alone.png")
    bpy.ops.render.render(write_still=True)
    drawn = np.asarray(Image.open(tmp_path / "alone.png"))[..., 3] / 255
    both, either = np.minimum(drawn, truth).sum(), np.maximum(drawn, truth).sum()
    assert truth.sum() > 500
    assert both / either > 0.97
    assert abs(drawn.sum() / truth.sum() - 1) < 0.01


def test_what_stands_in_front_is_taken_off_the_truth() -> None:
    stage = Stage(replace(PLAN, frames=24, sweep=2.0, occluder="porter"))
    geometry = Geometry(stage)
    shares = []
    for index in range(24):
        seen = geometry.coverage(index, 2)[..., identity.channel(identity.SUBJECT)]
        whole = geometry.silhouette(index, 2)
        assert (seen <= whole).all()
        shares.append(float(seen.sum() / whole.sum()))
        passing = stage.occluder(index) is not None
        covered = geometry.coverage(index, 2)[..., identity.channel(identity.OCCLUDER)].sum()
        assert (covered > 0) <= passing
    assert shares[0] > 0.95
    assert sum(share < 0.15 for share in shares) >= 2
    assert sum(0.15 <= share < 0.95 for share in shares) >= 3


def test_training_scenes_hold_ids_of_all_that_stands_about(tmp_path: Path) -> None:
    plan = StagePlan("stool", 3, SIZE, frames=4, sweep=0.3, occluder="board")
    layout: Layout = plain_layout(4)
    facts = make_capture(
        Stage(plan), QuickRenderer, layout, tmp_path / "x", report=lambda line: None
    )
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == sorted(
        [f"{i:04d}.{kind}" for i in range(4) for kind in ("jpg", "png")] + ["scene.json"]
    )
    found = {int(v) for i in range(4) for v in np.unique(_mask(tmp_path / "x" / f"{i:04d}.png"))}
    others = set(
        range(identity.FIRST_DISTRACTOR, identity.FIRST_DISTRACTOR + len(facts.distractors))
    )
    assert {identity.GROUND, identity.SUBJECT, identity.OCCLUDER} <= found
    assert found <= {identity.GROUND, identity.SUBJECT, identity.OCCLUDER} | others


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_stands_on_the_ground_with_three_points_to_click(kind: str) -> None:
    for seed in range(20):
        model = build_subject(kind, Random(seed))
        low, high = model.bounds()
        assert low[2] == pytest.approx(0.0, abs=1e-9)
        assert 0.1 < high[2] < 3.0
        assert len(model.anchors) >= 3
        assert all((np.array(p) >= low - 0.02).all() for p in model.anchors.values())
        assert all((np.array(p) <= high + 0.02).all() for p in model.anchors.values())
        assert all(0 <= i < len(model.vertices) for face in model.faces for i in face)


def test_training_seeds_stay_clear_of_the_samples_and_a_third_are_chairs() -> None:
    plans = [plan_scene(number, seed=1) for number in range(60)]
    assert min(plan.seed for plan in plans) >= SHORT_OF_SEEDS
    assert len({plan.seed for plan in plans}) == 60
    assert sum(plan.kind == "chair" for plan in plans) == 20
    assert all(max(plan.size) == 448 or plan.size == (384, 384) for plan in plans)
    assert all(8 <= plan.frames <= 12 for plan in plans)
    step = [abs(math.degrees(plan.sweep or 0)) / plan.frames for plan in plans]
    assert 5.9 < min(step) <= max(step) < 12.1
