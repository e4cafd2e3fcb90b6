# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks are compared in 3D: wrong ones are listed, clipped, and prompted, and the user's own ones win."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.cameras.capture import Camera
from sam2_splat_addon.core.errors import CameraError, Cancelled
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import (
    AgreeRequest,
    BakeRequest,
    FootageFiles,
    ModelChoice,
    PropagateRequest,
)
from sam2_splat_addon.core.review.agreement import read_agreement
from sam2_splat_addon.core.review.judge import review_object
from sam2_splat_addon.engine.agreement.verdicts import Verdict
from sam2_splat_addon.engine.jobs import agree, bake, compare, propagate
from sam2_splat_addon.engine.jobs.agree import AgreeReport
from sam2_splat_addon.engine.jobs.agreed_rounds import AgreedRounds
from tests.core.cameras.ring import write_colmap, write_trained, write_transforms
from tests.engine.agreement.solid import HEIGHT, WIDTH, cameras, logits_of, truth

COUNT = 16
LEAK, LOST, OTHER = 5, 9, 12  # frames with spoilt masks
BLOB = (slice(150, 230), slice(10, 100))  # the thing beside the subject


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ACROSS", 128)
    monkeypatch.setattr(compare, "_FINER", 1)


class Scene:
    """Photos of the stool, their cameras beside them, and a store with masks.

    Parameters
    ----------
    order
        Which way round the stool the photos go; else each is beside the one before it.
    grain
        Sigma of the photos' noise, levels of 255. Without it the bundled model finds less than on a real
        photo.
    """

    def __init__(
        self, folder: Path, count: int = COUNT, order: Sequence[int] = (), grain: float = 0.0
    ) -> None:
        views = cameras(count)
        self.views = [
            dataclasses.replace(
                views[of], camera=dataclasses.replace(views[of].camera, name=views[at].camera.name)
            )
            for at, of in enumerate(order or range(count))
        ]
        self.photos = folder / "photos é"
        self.photos.mkdir(parents=True)
        for frame, view in enumerate(self.views, 1):
            pixels = np.full((HEIGHT, WIDTH, 3), (60, 110, 60), np.uint8)
            pixels[BLOB] = (40, 60, 200)
            pixels[truth(view)] = (200, 70, 40)
            noise = np.random.default_rng(frame - 1).normal(0, grain, pixels.shape)
            pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
            path = self.photos / view.camera.name
            Image.fromarray(pixels).save(path, quality=95)
            assert view.camera.name == f"{frame - 1:04d}.jpg"
        write_colmap(
            folder / "sparse" / "0", [view.camera for view in self.views], np.zeros((0, 3))
        )
        self.footage = FootageFiles.of(scan(self.photos))
        self.store = MatteStore.open(folder / "store", create=True)
        for frame, view in enumerate(self.views, 1):
            self.put(frame, truth(view))

    def put(self, frame: int, inside: np.ndarray) -> None:
        area = float(inside.mean())
        scores = MatteScores(5.0 if area else -5.0, 0.95, area)
        record = MatteRecord(1, frame, WIDTH, HEIGHT, logits_of(inside), scores, key=f"key{frame}")
        self.store.write(record)

    def spoil(self) -> None:
        """Let one mask leak onto the thing beside, one be empty, and one be on the other thing."""
        leak = truth(self.views[LEAK - 1])
        leak[BLOB] = True
        self.put(LEAK, leak)
        self.put(LOST, np.zeros((HEIGHT, WIDTH), bool))
        other = np.zeros((HEIGHT, WIDTH), bool)
        other[BLOB] = True
        self.put(OTHER, other)

    def click(self, frame: int = 1) -> PromptSet:
        depth = cv2.distanceTransform(truth(self.views[frame - 1]).astype(np.uint8), cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        point = PointPrompt(float(x) + 0.5, float(y) + 0.5)
        return PromptSet((ObjectPrompts(1, "stool", (FramePrompts(frame, (point,)),)),))

    def request(self, rounds: int = 0, cameras: str = "") -> AgreeRequest:
        model = ModelChoice("bundled", device="cpu", threads=1)
        wish = PropagateRequest(self.footage, self.click(), str(self.store.folder), model)
        return AgreeRequest(wish, cameras, rounds)


def run(request: AgreeRequest) -> AgreeReport:
    return agree.run(
        request,
        on_progress=lambda event: None,
        on_frame_done=lambda event: None,
        on_log=lambda event: None,
        cancelled=lambda: False,
    )


def test_wrong_masks_are_listed_with_a_reason(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.spoil()
    report = run(scene.request())
    assert report.prompts.objects[0].frames == scene.click().objects[0].frames
    found = read_agreement(scene.store, 1)
    assert found is not None
    by_frame = found.by_frame()
    assert by_frame[LEAK].extra > 0.3
    assert by_frame[OTHER].extra > 0.9
    assert by_frame[LOST].missing > 0.5  # the photo shows the subject's colours there
    good = [one for frame, one in by_frame.items() if frame not in (LEAK, LOST, OTHER)]
    assert max(one.extra for one in good) < 0.05
    assert max(one.missing for one in good) < 0.05
    assert min(one.overlap for one in good) > 0.65
    x, y = np.array(by_frame[1].outlines[0]).reshape(-1, 2).T
    assert 0 <= x.min() < x.max() <= WIDTH
    assert 0 <= y.min() < y.max() <= HEIGHT
    reviews = {one.frame: one for one in review_object(scene.store, 1)}
    said = "Other photos say that a part of this mask is not the subject"
    assert said in reviews[LEAK].reasons
    assert said in reviews[OTHER].reasons
    assert not any("Other photos" in reason for reason in reviews[2].reasons)
    logits = logits_of(truth(scene.views[LEAK - 1]))
    again = MatteRecord(1, LEAK, WIDTH, HEIGHT, logits, MatteScores(5, 1, 0.1))
    scene.store.write(again)  # another mask: what was said of the one before does not count
    reviews = {one.frame: one for one in review_object(scene.store, 1)}
    assert said not in reviews[LEAK].reasons


def test_a_part_that_something_hides_is_not_missing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    frame = 4
    hidden = truth(scene.views[frame - 1])
    columns = np.flatnonzero(hidden.any(axis=0))
    cut = slice(int(columns[0]), int(columns[len(columns) // 2]))
    path = scene.photos / scene.views[frame - 1].camera.name
    pixels = np.array(Image.open(path))
    pixels[:, cut] = (120, 120, 130)  # a post
    Image.fromarray(pixels).save(path, quality=95)
    scene.footage = FootageFiles.of(scan(scene.photos))
    hidden[:, cut] = False
    scene.put(frame, hidden)
    run(scene.request())
    found = read_agreement(scene.store, 1)
    assert found is not None
    assert found.by_frame()[frame].missing < 0.1
    assert found.by_frame()[frame].overlap > 0.6


def test_the_bake_clips_what_others_contradict_but_not_what_the_user_drew(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.spoil()
    images = {}
    for clip in (False, True):
        options = BakeOptions(clip_to_hull=clip, frames=(LEAK, 2))
        out = tmp_path / f"out{clip}"
        request = BakeRequest(scene.footage, str(scene.store.folder), str(out), options)
        bake.bake(request, scene.store, lambda event: None, lambda: False)
        images[clip] = {
            path.stem: np.array(Image.open(path))[..., 3] > 0 for path in out.rglob("*.png")
        }
    name = f"{LEAK - 1:04d}"
    assert images[False][name][BLOB].mean() > 0.9
    assert images[True][name][BLOB].mean() < 0.1
    own = truth(scene.views[LEAK - 1])
    own[BLOB] = False
    assert images[True][name][own].mean() > 0.97
    kept = images[False]["0001"]
    assert (kept & ~images[True]["0001"]).sum() < 0.02 * kept.sum()


def test_clipping_without_cameras_says_so_before_anything_is_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for path in (tmp_path / "sparse" / "0").iterdir():
        path.unlink()
    request = BakeRequest(
        scene.footage,
        str(scene.store.folder),
        str(tmp_path / "out"),
        BakeOptions(clip_to_hull=True),
    )
    with pytest.raises(CameraError, match="No cameras"):
        bake.bake(request, scene.store, lambda event: None, lambda: False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(CameraError, match="No cameras"):
        run(scene.request())
    options = BakeOptions(frames=(1,))
    plain = BakeRequest(scene.footage, str(scene.store.folder), str(tmp_path / "out"), options)
    bake.bake(plain, scene.store, lambda event: None, lambda: False)


def test_cameras_of_another_capture_are_found_out(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    names = [view.camera.name for view in scene.views]
    rng = np.random.default_rng(4)
    order = rng.permutation(len(names))
    mixed = [
        dataclasses.replace(view.camera, name=names[int(at)])
        for at, view in zip(order, scene.views, strict=True)
    ]
    write_colmap(tmp_path / "sparse" / "0", mixed, np.zeros((0, 3)))
    wrong = np.zeros((HEIGHT, WIDTH), bool)
    for frame in range(1, COUNT + 1):
        spot = wrong.copy()
        y, x = rng.integers(10, 180), rng.integers(10, 250)
        spot[y : y + 50, x : x + 50] = True
        scene.put(frame, spot)
    with pytest.raises(CameraError, match=r"agree too little|do not meet"):
        run(scene.request())


def spoilt_cameras(scene: Scene, folder: Path, how: str) -> None:
    """Replace the cameras beside the photos by some that do not fit."""
    model = folder / "sparse" / "0"
    for path in model.iterdir():
        path.unlink()
    own = [view.camera for view in scene.views]
    flip = np.diag([-1.0, 1.0, 1.0])
    turned = dataclasses.replace(own[0].lens, width=HEIGHT, height=WIDTH)
    if how == "other photos":
        wrong = [dataclasses.replace(one, name=f"DSC{at}.jpg") for at, one in enumerate(own)]
        write_colmap(model, wrong, np.zeros((0, 3)))
    elif how == "mirrored for a trainer":
        wrong = [Camera(one.name, one.lens, one.rotation @ flip, one.position) for one in own]
        write_trained(folder / "cameras.json", wrong)
    elif how == "mirrored for nerfstudio":
        wrong = [Camera(one.name, one.lens, one.rotation @ flip, one.position) for one in own]
        write_transforms(folder / "transforms.json", wrong)
    elif how == "turned":
        wrong = [dataclasses.replace(one, lens=turned) for one in own]
        write_colmap(model, wrong, np.zeros((0, 3)))
    else:
        write_colmap(model, own[: COUNT // 2], np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("other photos", "of other photos, such as DSC0.jpg"),
        ("mirrored for a trainer", "No camera in .* can be used"),
        ("mirrored for nerfstudio", "No camera in .* can be used"),
        ("turned", "fit only 0 of 16 photos"),
        ("half", ""),
    ],
)
def test_cameras_that_do_not_fit_cost_a_sentence_and_nothing_else(
    tmp_path: Path, how: str, said: str
) -> None:
    scene = Scene(tmp_path)
    scene.spoil()
    spoilt_cameras(scene, tmp_path, how)
    if said:
        with pytest.raises(CameraError, match=said):
            run(scene.request())
        assert read_agreement(scene.store, 1) is None
    else:
        report = run(scene.request())
        assert any("have no camera" in text for text in report.warnings)
        found = read_agreement(scene.store, 1)
        assert found is not None
        assert sorted(found.by_frame()) == list(range(1, COUNT // 2 + 1))
        assert found.by_frame()[LEAK].extra > 0.3
    for name in ("with", "without"):  # in the end there are no cameras at all
        request = BakeRequest(
            scene.footage,
            str(scene.store.folder),
            str(tmp_path / name),
            BakeOptions(frames=(1, 2, COUNT)),
        )
        bake.bake(request, scene.store, lambda event: None, lambda: False)
        for path in (*(tmp_path / "sparse" / "0").iterdir(), *tmp_path.glob("*.json")):
            path.unlink()
    images = [
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.png")}
        for name in ("with", "without")
    ]
    assert len(images[0]) == 3
    assert images[0] == images[1]


def verdict_with(inside: np.ndarray, shape: np.ndarray) -> Verdict:
    none = np.zeros_like(shape)
    return Verdict(3, shape, inside, inside & ~shape, shape & ~inside, none)


def test_prompts_that_the_hull_suggests_are_on_the_photo_and_on_the_subject() -> None:
    shape = np.zeros((96, 128), bool)
    shape[20:80, 30:90] = True
    inside = shape.copy()
    inside[20:80, 90:120] = True
    found = list(agree.candidates(verdict_with(inside, shape), 1280, 960))
    assert len(found) >= 4
    for prompts in found:
        assert prompts.anew
        assert prompts.includes_something
        for point in prompts.points:
            assert shape[int(point.y / 10), int(point.x / 10)] == point.include
        if prompts.box is not None:
            assert (prompts.box.x0, prompts.box.y1) == (300.0, 800.0)
    assert any(not point.include for prompts in found for point in prompts.points)
    assert not list(agree.candidates(verdict_with(inside, np.zeros_like(shape)), 1280, 960))


def test_photos_that_the_user_prompted_and_hidden_ones_are_left_alone() -> None:
    shape = np.zeros((96, 128), bool)
    shape[20:80, 30:90] = True
    half = shape.copy()
    half[:, 55:] = False
    assert compare.may_be_hidden(verdict_with(half, shape))
    leak = shape.copy()
    leak[20:80, 90:120] = True
    assert not compare.may_be_hidden(verdict_with(leak, shape))
    elsewhere = np.zeros_like(shape)
    elsewhere[20:80, 100:120] = True
    assert not compare.may_be_hidden(verdict_with(elsewhere, shape))


def best_for(
    monkeypatch: pytest.MonkeyPatch, scene: Scene, verdict: Verdict, inside: np.ndarray
) -> FramePrompts | None:
    """Return the prompts for a photo on which the model gives this mask whatever it is asked."""
    monkeypatch.setattr(agree, "mask_of", lambda *_: np.where(inside, 8.0, -8.0).astype(np.float32))
    request = scene.request()
    entry = request.propagation.prompts.objects[0]
    return agree._best_prompts(request, entry, verdict, 0.9, lambda: None, 0)


def test_the_present_mask_without_what_is_wrong_is_a_prompt_if_clicks_give_nothing_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, 4)
    shape = np.zeros((HEIGHT, WIDTH), bool)
    shape[60:180, 80:180] = True
    leak = shape.copy()
    leak[60:180, 180:240] = True
    worse = shape.copy()
    worse[60:180, 160:] = False
    found = best_for(monkeypatch, scene, verdict_with(leak, shape), worse)
    assert found is not None
    assert found.mask is not None
    assert (found.mask.to_array() == shape).all()
    assert not found.points
    found = best_for(monkeypatch, scene, verdict_with(leak, shape), shape)
    assert found is not None
    assert found.mask is None  # clicks are as good, and the user can move them
    assert found.points


def test_a_photo_on_which_clicks_find_no_subject_gets_no_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, 4)
    shape = np.zeros((HEIGHT, WIDTH), bool)
    shape[60:180, 80:180] = True
    leak = shape.copy()
    leak[60:180, 180:240] = True
    elsewhere = np.zeros_like(shape)
    elsewhere[60:180, 170:300] = True
    assert best_for(monkeypatch, scene, verdict_with(leak, shape), elsewhere) is None


def test_a_round_counts_if_others_contradict_less_and_photos_without_prompts_do_not_pay() -> None:
    shape = np.zeros((96, 128), bool)
    shape[20:80, 30:90] = True

    def leaking(columns: int) -> Verdict:
        inside = shape.copy()
        inside[20:80, 90 : 90 + columns] = True
        return verdict_with(inside, shape)

    def compared(*columns: int) -> dict[int, compare.Compared]:
        verdicts = {frame: leaking(many) for frame, many in enumerate(columns, 1)}
        return {1: cast(compare.Compared, SimpleNamespace(verdicts=verdicts))}

    click = FramePrompts(2, (PointPrompt(500, 500),))
    before = PromptSet((ObjectPrompts(1, "stool", (FramePrompts(1, click.points),)),))
    rounds = AgreedRounds("", 0.0, before, trying=agree._with(before, {1: {2: click}}))
    now = compared(0, 30, 0, 0)
    assert agree._is_better(compared(0, 0, 0, 0), now, rounds)
    assert agree._is_better(compared(0, 0, 2, 0), now, rounds)
    assert not agree._is_better(compared(0, 0, 15, 15), now, rounds)
    assert not agree._is_better(compared(0, 30, 0, 0), now, rounds)
    assert not agree._is_better(now, compared(0, 0, 0, 0), rounds)


@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_stopped_and_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agree, "_is_better", lambda *_: True)
    asked: list[int] = []

    def proposed(*_: object) -> dict[int, dict[int, FramePrompts]]:
        asked.append(len(asked))
        return {1: {4: whole.click(4).objects[0].frames[0]}} if len(asked) == 1 else {}

    monkeypatch.setattr(agree, "_proposed", proposed)
    whole = Scene(tmp_path / "whole", 5)
    whole.store.clear()
    report = run(whole.request(rounds=2))
    assert [at.frame for at in report.prompts.objects[0].frames] == [1, 4]
    assert not whole.store.trial.folder.exists()
    asked.clear()
    scene = Scene(tmp_path / "stopped", 5)
    scene.store.clear()
    logs: list[str] = []

    def stopped_after(frames: int) -> AgreeReport:
        seen: list[object] = []
        return agree.run(
            scene.request(rounds=2),
            on_progress=lambda event: seen.append(event) if "in round" in logs else None,
            on_frame_done=lambda event: None,
            on_log=lambda event: logs.append("in round" if "Round 1" in event.text else event.text),
            cancelled=lambda: len(seen) > frames,
        )

    with pytest.raises(Cancelled):
        stopped_after(3)
    assert scene.store.trial.frames(1)
    before = {path: path.stat().st_mtime_ns for path in scene.store.trial.folder.rglob("*.matte")}
    logs.clear()
    again = stopped_after(10**6)
    assert len(asked) == 2  # the first round's prompts were known
    assert before
    assert not scene.store.trial.folder.exists()
    assert again.prompts == report.prompts
    for frame in range(1, 6):
        one, other = (store.path(1, frame).read_bytes() for store in (whole.store, scene.store))
        assert one == other
    last = run(scene.request(rounds=2))
    assert len(asked) == 2
    assert last.prompts == report.prompts


@pytest.mark.slow
def test_a_round_keeps_the_users_prompts_and_leaves_a_store_that_is_up_to_date(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, 10)
    scene.store.remove(1)
    report = run(scene.request(rounds=1))
    own = scene.click().objects[0].frames
    assert set(own) <= set(report.prompts.objects[0].frames)
    wish = replace(scene.request().propagation, prompts=report.prompts)
    again = propagate.run(
        wish,
        on_progress=lambda event: None,
        on_frame_done=lambda event: None,
        on_log=lambda event: None,
        cancelled=lambda: False,
    )
    assert again.frames == 0
    manifest = json.loads((scene.store.folder / "manifest.json").read_text())
    assert len(manifest["prompts"]["objects"][0]["frames"]) == len(report.prompts.objects[0].frames)


def test_cancel_leaves_the_masks_as_they_are(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 8)
    before = {path: path.read_bytes() for path in scene.store.folder.rglob("*.matte")}
    with pytest.raises(Cancelled):
        agree.run(
            scene.request(),
            on_progress=lambda event: None,
            on_frame_done=lambda event: None,
            on_log=lambda event: None,
            cancelled=lambda: True,
        )
    assert {path: path.read_bytes() for path in scene.store.folder.rglob("*.matte")} == before
