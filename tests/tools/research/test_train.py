# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the training tool, on tiny captures drawn here. May import: anything."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sam2_splat_addon.engine.models.bundled_model import build_bundled_model
from sam2_splat_addon.engine.models.checkpoints import load_model
from tools.research.train import train
from tools.research.train.clips import sample_clip
from tools.research.train.export import export
from tools.research.train.feeder import BatchPlan, make_batch
from tools.research.train.library import Library
from tools.research.train.objective import Weights, frame_loss, mask_loss, soft_iou
from tools.research.train.photos import PhotoLibrary, hash_of
from tools.research.train.prompts import click_inside, next_click
from tools.research.train.rollout import Prompts, run_batch
from tools.research.train.state import Progress, read_exported, read_state, restore, save_state
from tools.research.train.still_clips import sample_moving, sample_still


def draw_scene(folder: Path, frames: int = 4) -> None:
    """Write a capture: a bright box that moves over a dark floor, with its ids."""
    folder.mkdir(parents=True)
    for i in range(frames):
        picture = np.full((96, 64, 3), 40, np.uint8)
        ids = np.zeros((96, 64), np.uint8)
        picture[30:70, 10 + i : 40 + i] = (200, 180, 60)
        ids[30:70, 10 + i : 40 + i] = 1
        picture[5:20, 45:60] = (90, 90, 220)
        ids[5:20, 45:60] = 2
        cv2.imwrite(str(folder / f"{i:04d}.jpg"), picture)
        cv2.imwrite(str(folder / f"{i:04d}.png"), ids)
    (folder / "scene.json").write_text("{}")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("captures")
    draw_scene(root / "box_1")
    draw_scene(root / "box_2")
    return root


def test_library_reads_captures_that_appear_later_and_each_once(tmp_path: Path) -> None:
    library = Library(tmp_path / "none yet")
    assert library.rescan() == 0
    draw_scene(library.root / "box_1")
    draw_scene(library.root / ".unfinished")
    assert library.rescan() == 1
    assert library.rescan() == 0
    assert library.scenes[0].areas[1] == (1200,) * 4
    assert library.scenes[0].areas[2] == (225,) * 4


def test_capture_without_ids_is_refused(tmp_path: Path) -> None:
    draw_scene(tmp_path / "box_1")
    (tmp_path / "box_1" / "0002.png").unlink()
    with pytest.raises(OSError, match=r"0002\.jpg has no ids"):
        Library(tmp_path).rescan()


@pytest.mark.parametrize("rendered", [0.0, 1.0])
def test_same_seed_gives_the_same_clip(scenes: Path, rendered: float) -> None:
    library = Library(scenes)
    library.rescan()
    first, second = (
        sample_clip(np.random.default_rng(7), library, 64, 3, rendered) for _ in range(2)
    )
    assert first.frames.shape == (3, 64, 64, 3)
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.ids, second.ids)
    other = sample_clip(np.random.default_rng(8), library, 64, 3, rendered)
    assert not np.array_equal(first.frames, other.frames)


def draw_photos(root: Path) -> Path:
    """Lay out real photos with masks: whole subjects, segments of two photos, people, one orbit."""
    rng = np.random.default_rng(5)

    def photo(path: Path, number: int) -> np.ndarray[Any, Any]:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 255, (9, 12, 3), np.uint8)
        picture = cv2.resize(noise, (120, 90), interpolation=cv2.INTER_CUBIC)
        mask = np.zeros((90, 120), np.uint8)
        mask[20:70, 20 + number : 80 + number] = 255
        picture[mask > 0] = (30, 200, 220)
        cv2.imwrite(str(path), picture)
        return mask

    for number in range(6):
        mask = photo(root / "stills" / "set" / "images" / f"{number}.jpg", number)
        (root / "stills" / "set" / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "stills" / "set" / "masks" / f"{number}.png"), mask)
        mask = photo(root / "people" / "images" / f"{number}.jpg", number)
        (root / "people" / "parts").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "people" / "parts" / f"{number}.png"), mask // 85)
    entries = []
    folder = root / "coco" / "panoptic" / "panoptic_a"
    folder.mkdir(parents=True)
    for number in range(2):
        mask = photo(root / "coco" / "images" / "a" / f"{number}.jpg", number)
        labels = np.zeros((90, 120, 3), np.uint8)  # B, G, R
        labels[..., 2] = np.where(mask > 0, 7, 9)
        cv2.imwrite(str(folder / f"{number}.png"), labels)
        sizes = [{"id": 7, "area": 3000}, {"id": 9, "area": 100}]
        entries.append({"file_name": f"{number}.png", "segments_info": sizes})
    (folder.parent / "panoptic_a.json").write_text(json.dumps({"annotations": entries}))
    for number in range(4):
        mask = photo(root / "orbits" / "cup" / "photos" / f"{number}.jpg", number)
        (root / "orbits" / "cup" / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "orbits" / "cup" / "masks" / f"{number}.png"), mask)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos"))


def test_photos_are_read_by_kind_and_every_twentieth_is_held_out(photos: Path) -> None:
    library = PhotoLibrary.read(photos)
    assert {kind: len(found) for kind, found in library.photos.items()} == {
        "whole": 5,
        "segments": 2,
        "person": 6,
    }
    assert [photo.name for photo in library.held_out] == ["set/0"]
    assert library.photos["segments"][0].segments == (7,)  # the other one is a crumb
    assert len(library.orbits[0].images) == 4


def test_photos_of_a_test_set_are_left_out_also_smaller_and_saved_again(
    photos: Path, tmp_path: Path
) -> None:
    picture = cv2.imread(str(photos / "stills" / "set" / "images" / "3.jpg"))
    again = tmp_path / "other name.jpg"
    cv2.imwrite(str(again), cv2.resize(picture, (60, 45)), [cv2.IMWRITE_JPEG_QUALITY, 60])
    library = PhotoLibrary.read(photos, [again])
    assert library.left_out == 1
    assert "set/3" not in {photo.name for photo in library.photos["whole"]}
    assert hash_of(b"no picture") is None


def test_samples_show_their_subject_and_follow_from_the_seed(photos: Path) -> None:
    library = PhotoLibrary.read(photos)
    for seed in range(8):
        still = sample_still(np.random.default_rng(seed), library, 64)
        assert still.frames.shape == (1, 64, 64, 3)
        assert still.masks[0].any()
        clip = sample_moving(np.random.default_rng(seed), library, 64, 3)
        again = sample_moving(np.random.default_rng(seed), library, 64, 3)
        assert clip.frames.shape == (3, 64, 64, 3)
        assert np.array_equal(clip.frames, again.frames)
        assert np.array_equal(clip.masks, again.masks)
        assert clip.masks[0].any()


@pytest.mark.parametrize(("moving", "shape"), [(0.0, (5, 1)), (1.0, (2, 3))])
def test_batches_are_stills_or_clips(
    scenes: Path, photos: Path, moving: float, shape: tuple[int, int]
) -> None:
    library = Library(scenes)
    library.rescan()
    plan = BatchPlan(64, 5, 2, 3, moving, 0.5, 1)
    batch = make_batch(plan, library, PhotoLibrary.read(photos), 0)
    assert batch.frames.shape == (*shape, 64, 64, 3)
    assert batch.targets.shape == (*shape, 32, 32)
    assert (batch.targets[:, 0] > 127).any((1, 2)).all()


def test_the_next_click_lies_deepest_in_the_deepest_error() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((40, 40), bool)
    truth[5:15, 5:15] = True
    truth[5:12, 20:27] = True
    nothing = np.zeros_like(truth)
    click = next_click(truth, nothing)
    assert click is not None
    assert (round(click.x), round(click.y), click.include) in {
        (x, y, True) for x in (9, 10) for y in (9, 10)
    }
    for _ in range(20):  # a hand's place: somewhere in the same kind of error
        drawn = next_click(truth, nothing, rng)
        assert drawn is not None
        assert truth[int(drawn.y), int(drawn.x)]
    found = truth.copy()
    found[20:38, 20:38] = True
    click = next_click(truth, found)
    assert click is not None
    assert not click.include
    assert 26 <= click.x <= 31
    assert next_click(truth, truth) is None
    inside = click_inside(rng, truth)
    assert truth[int(inside.y), int(inside.x)]
    with pytest.raises(ValueError, match="empty mask"):
        click_inside(rng, nothing)


def test_clicks_and_boxes_stand_where_sam2_reads_them() -> None:
    truth = np.zeros((32, 32), bool)
    truth[8:24, 8:24] = True
    prompts = Prompts([truth, np.zeros_like(truth)], 2.0)
    assert prompts.tensors() is None
    prompts.click_first(np.random.default_rng(0))
    given = prompts.tensors()
    assert given is not None
    assert given["point_labels"].tolist() == [[1], [-1]]  # the second has no subject
    x, y = ((given["point_coords"][0, 0] + 0.5) / 2 - 0.5).tolist()
    assert truth[round(y), round(x)]
    logits = torch.full((2, 1, 16, 16), 5.0)  # all of it: what is outside is wrong
    prompts.correct(np.random.default_rng(0), logits)
    assert prompts.obeyed(logits) == [True, False, False]


@pytest.mark.parametrize("length", [1, 3])
def test_gradient_reaches_the_head_the_neck_and_the_memory(
    photos: Path, scenes: Path, length: int
) -> None:
    torch.manual_seed(0)
    plan = BatchPlan(64, 2, 2, length, float(length > 1), 0.0, 1)
    batch = make_batch(plan, Library(scenes), PhotoLibrary.read(photos), 0)
    model = build_bundled_model(64).train()
    torch.nn.init.constant_(model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4.0)
    outcome = run_batch(model, batch, Weights(), np.random.default_rng(0))
    outcome.loss.backward()
    reached = {
        "sam_mask_decoder.maps.0.0.weight",
        "sam_mask_decoder.mask.weight",
        "image_encoder.neck.lateral4.weight",
    }
    if length > 1:
        reached |= {
            "memory_attention.layers.0.cross_attn_image.k_proj.weight",
            "memory_encoder.pix_feat_proj.weight",
        }
    for name in sorted(reached):
        gradient = model.get_parameter(name).grad
        assert gradient is not None, name
        assert float(gradient.abs().sum()) > 0, name
    assert 0 <= outcome.obeyed <= 1


def test_what_is_wrong_at_a_click_costs_most() -> None:
    target = torch.zeros(1, 32, 32)
    target[:, 8:24, 8:24] = 1
    wrong = (target * 2 - 1) * 4
    wrong[:, 14:18, 14:18] = -4.0
    clicked = torch.zeros(1, 32, 32)
    clicked[:, 14:18, 14:18] = 1
    plain = mask_loss(wrong, target, Weights())
    assert mask_loss(wrong, target, Weights(), clicked) > 2 * plain
    elsewhere = clicked.roll(12, 2)
    assert mask_loss(wrong, target, Weights(), elsewhere) < 1.2 * plain


def test_loss_prefers_the_right_mask_and_ignores_masks_of_absent_objects() -> None:
    target = torch.zeros(2, 32, 32)
    target[:, 8:24, 8:24] = 1
    good = (target * 2 - 1) * 8
    weights = Weights()
    score, quality = torch.full((2,), 5.0), torch.ones(2)
    right, reached, there = frame_loss(good, target, quality, score, weights)
    wrong, _, _ = frame_loss(-good, target, quality, score, weights)
    assert right < 0.05 < wrong
    assert torch.equal(reached, torch.ones(2))
    assert bool(there.all())
    assert float(soft_iou(-good, target).max()) == 0.0
    logits = good.clone().requires_grad_(True)
    loss, _, there = frame_loss(logits, torch.zeros_like(target), quality, -score, weights)
    loss.backward()
    assert not bool(there.any())
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0.0


def run_stage(scenes: Path, state: Path, name: str, steps: int, *more: str) -> None:
    small = ["--size", "64", "--stills", "2", "--clips", "1", "--length", "2"]
    where = ["--state", str(state), "--scenes", str(scenes), "--name", name]
    assert train.main([*small, *where, "--steps", str(steps), *more]) == 0


def test_stage_trains_logs_saves_and_a_next_stage_starts_from_it(
    scenes: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    run_stage(scenes, state, "a", train.LOG_EVERY, "--moving", "0.5")
    first = read_state(state)
    assert first["progress"]["done"]
    assert first["progress"]["total_steps"] == train.LOG_EVERY
    with state.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1
    assert float(rows[0]["loss"]) > 0
    run_stage(scenes, state, "b", 2, "--moving", "1")
    second = read_state(state)
    assert second["progress"]["total_steps"] == train.LOG_EVERY + 2
    assert not state.with_name("state.pt.part").exists()
    key = "memory_encoder.pix_feat_proj.weight"
    moved = (first["model"][key] - second["model"][key]).abs().max()
    assert 0 < float(moved) < 0.1


def test_interrupted_stage_takes_up_step_optimizer_and_generator(tmp_path: Path) -> None:
    layer, average = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    rng = np.random.default_rng(3)
    save_state(tmp_path / "s.pt", layer, average, optimizer, Progress("a", 5, 9, 1.5), rng)
    expected = rng.random()
    other, fresh = torch.nn.Linear(2, 2), np.random.default_rng(4)
    again = torch.optim.AdamW(other.parameters())
    state = read_state(tmp_path / "s.pt")
    progress = restore(state, other, average, again, Progress("a"), fresh)
    assert progress == Progress("a", 5, 9, 1.5)
    assert fresh.random() == expected
    assert torch.equal(other.weight, layer.weight)
    assert len(again.state) == 2
    progress = restore(state, other, average, again, Progress("b"), fresh)
    assert progress == Progress("b", 0, 9)


def test_training_goes_on_from_exported_weights(scenes: Path, tmp_path: Path) -> None:
    first, state, weights = tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "a.safetensors"
    run_stage(scenes, first, "a", 1)
    export([first], weights, 64, "nothing")
    run_stage(scenes, state, "a", 1, "--moving", "1", "--start", str(weights))
    key = "memory_encoder.pix_feat_proj.weight"
    moved = (read_exported(weights)[key] - read_state(state)["model"][key]).abs().max()
    assert 0 < float(moved) < 1e-3


def test_export_writes_the_same_bytes_twice_and_the_model_reads_them(
    scenes: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build_bundled_model(64)
    optimizer = torch.optim.AdamW(model.parameters())
    state = tmp_path / "state.pt"
    save_state(
        state,
        model,
        model,
        optimizer,
        Progress("a", done=True),
        np.random.default_rng(0),
    )
    size = export([state], tmp_path / "a.safetensors", 64, "nothing")
    export([state, state], tmp_path / "b.safetensors", 64, "nothing")
    content = (tmp_path / "a.safetensors").read_bytes()
    assert content == (tmp_path / "b.safetensors").read_bytes()
    assert size == len(content) < 20_000_000
    cpu = torch.device("cpu")
    loaded = load_model("bundled", tmp_path / "a.safetensors", cpu, image_size=64).model
    rounded = {name: t.half().to(t.dtype) for name, t in model.state_dict().items()}
    kept = loaded.state_dict()
    for name in rounded:
        if not name.startswith("image_encoder."):  # which the engine has fused
            assert torch.equal(kept[name], rounded[name]), name
    model.load_state_dict(rounded)
    picture = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        wanted, given = (m.image_encoder(picture)["vision_features"] for m in (model, loaded))
    torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-4)


def test_states_are_averaged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_bundled_model(64)
    weight = model.sam_mask_decoder.mask.weight
    states = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for state, value in zip(states, (0.25, 0.75), strict=True):
        torch.nn.init.constant_(weight, value)
        optimizer = torch.optim.AdamW(model.parameters())
        rng = np.random.default_rng(0)
        save_state(state, model, model, optimizer, Progress("a", done=True), rng)
    export(states, tmp_path / "c.safetensors", 64, "nothing")
    mean = load_model("bundled", tmp_path / "c.safetensors", torch.device("cpu"), image_size=64)
    assert (mean.model.sam_mask_decoder.mask.weight == 0.5).all()


def test_training_begins_before_any_capture_exists(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    run_stage(tmp_path / "none", state, "a", 1)
    assert state.exists()


def test_an_error_on_a_thin_part_counts_more_than_one_in_the_open() -> None:
    target = torch.zeros(1, 64, 64)
    target[:, 8:56, 8:40] = 1.0
    target[:, 30:32, 40:60] = 1.0  # a rung
    right = torch.where(target > 0, 8.0, -8.0)
    on_rung, in_the_open = right.clone(), right.clone()
    on_rung[:, 30:32, 48:58] = -8.0
    in_the_open[:, 30:32, 15:25] = -8.0
    plain = Weights(balance=0.0, dice=0.0)
    kept = mask_loss(right, target, plain)
    thin, thick = (mask_loss(wrong, target, plain) - kept for wrong in (on_rung, in_the_open))
    assert thin > 2 * thick > 0
