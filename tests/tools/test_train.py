# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the training tool, on tiny captures drawn here. May import: anything."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sam2_splat_addon.engine.bundled_model import BUNDLED_WEIGHTS, build_bundled_model
from sam2_splat_addon.engine.checkpoints import load_model
from tools.train import train
from tools.train.clips import sample_clip
from tools.train.export import export
from tools.train.feeder import BatchPlan, make_batch
from tools.train.library import Library
from tools.train.objective import FigureGround, Weights, frame_loss, soft_iou
from tools.train.prompts import centre_click, clicks, corrective_click
from tools.train.rollout import Prompt, _window, run_clip, run_look
from tools.train.state import Progress, read_exported, read_state, restore, save_state


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


def test_batch_prompts_lie_on_their_targets(scenes: Path) -> None:
    library = Library(scenes)
    library.rescan()
    batch = make_batch(BatchPlan(64, 3, 2, 2, 0.5, 1), library, 0)
    assert batch.frames.shape == (3, 2, 64, 64, 3)
    assert batch.targets.shape == (3, 2, 2, 32, 32)
    for c in range(3):
        for k in range(2):
            for x, y in batch.points[c, k, 0]:
                assert batch.targets[c, k, 0, int(y) // 2, int(x) // 2] > 0
    stills = batch.as_images()
    assert stills.frames.shape == (6, 1, 64, 64, 3)
    assert np.array_equal(stills.targets[3, 1, 0], batch.targets[1, 1, 1])
    assert np.array_equal(stills.points[3, 1, 0], batch.points[1, 1, 1])


def test_a_look_goes_from_a_photo_to_its_subject_and_a_part_of_it(scenes: Path) -> None:
    library = Library(scenes)
    library.rescan()
    plan = BatchPlan(64, 2, 3, 2, 1.0, 1, augment=0.0, looks=1.0)
    for index in range(4):
        batch = make_batch(plan, library, index)
        assert batch.windows is not None
        assert batch.frames.shape == (2, 3, 64, 64, 3)
        assert batch.windows.shape == (2, 2, 4)
        for (whole, close, part), windows in zip(batch.targets[:, 0], batch.windows, strict=True):
            assert (close > 127).mean() > 0.5 > (whole > 127).mean()
            for outer, inner, (left, top, right, bottom) in (
                (whole, close, windows[0]),
                (close, part, windows[1]),
            ):
                assert (inner > 127).any()
                spots = (np.arange(32) + 0.5) / 32
                rows = ((top + spots * (bottom - top)) * 32).astype(int).clip(0, 31)
                columns = ((left + spots * (right - left)) * 32).astype(int).clip(0, 31)
                expected = outer[np.ix_(rows, columns)] > 127
                assert ((inner > 127) == expected).mean() > 0.85


def test_what_was_found_is_cut_to_the_window() -> None:
    ramp = torch.arange(32.0).repeat(32, 1)  # [32, 32]: each column its number
    both = torch.stack([ramp, ramp.T])[:, None]  # [2, 1, 32, 32]
    cut = _window(both, np.array([[0, 0, 1, 1], [0.25, 0.5, 0.75, 1.0]], np.float32))
    assert torch.allclose(cut[0], both[0], atol=1e-4)
    assert torch.allclose(cut[1, 0, :, 5], 16 + (torch.arange(32) + 0.5) / 2 - 0.5, atol=0.3)


def test_looks_are_learned_from(scenes: Path) -> None:
    library = Library(scenes)
    library.rescan()
    batch = make_batch(BatchPlan(64, 1, 2, 1, 1.0, 1, augment=0.0, looks=1.0), library, 0)
    torch.manual_seed(0)
    model = build_bundled_model(64).train()
    aside = FigureGround(16, 128)
    outcome = run_look(model, aside, batch, Prompt("mask", 2, correct=False), Weights(balance=0.3))
    outcome.loss.backward()
    assert torch.isfinite(outcome.loss)
    gradient = model.sam_prompt_encoder.mask_downscaling[0].weight.grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0  # what was found takes part


def test_clicks_stay_inside_thin_parts_and_corrections_hit_the_error() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 40), bool)
    mask[5:35, 20] = True
    mask[5:12, 10:31] = True
    for x, y in clicks(rng, mask, 3):
        assert mask[int(y), int(x)]
    x, y = centre_click(mask)
    assert mask[int(y), int(x)]
    guess = mask.copy()
    guess[5:12] = False
    (x, y), label = corrective_click(rng, mask, guess)
    assert label == 1
    assert y < 12
    guess = mask.copy()
    guess[:, 32:] = True
    (x, y), label = corrective_click(rng, mask, guess)
    assert label == 0
    assert x >= 32
    with pytest.raises(ValueError, match="empty mask"):
        centre_click(np.zeros((4, 4), bool))


def test_loss_prefers_the_right_mask_and_ignores_masks_of_absent_objects() -> None:
    target = torch.zeros(2, 32, 32)
    target[:, 8:24, 8:24] = 1
    good = (target * 2 - 1) * 8
    weights = Weights(balance=0.3)
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


@pytest.mark.parametrize("kind", ["clicks", "box", "mask"])
def test_gradient_of_a_tracked_frame_reaches_memory_and_neck(scenes: Path, kind: str) -> None:
    torch.manual_seed(0)
    library = Library(scenes)
    library.rescan()
    batch = make_batch(BatchPlan(64, 1, 2, 2, 1.0, 1), library, 0)
    model = build_bundled_model(64).train()
    torch.nn.init.constant_(model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4.0)
    prompt = Prompt(kind, 2, correct=kind == "clicks")  # type: ignore[arg-type]
    outcome = run_clip(
        model, FigureGround(16, 128), batch, prompt, Weights(0.3), np.random.default_rng(0)
    )
    outcome.loss.backward()
    for name in (
        "memory_attention.layers.0.cross_attn_image.k_proj.weight",
        "memory_encoder.pix_feat_proj.weight",
        "image_encoder.neck.lateral4.weight",
        "sam_mask_decoder.conv_s0.weight",
    ):
        gradient = model.get_parameter(name).grad
        assert gradient is not None, name
        assert float(gradient.abs().sum()) > 0, name


def run_stage(scenes: Path, state: Path, steps: int, *more: str) -> None:
    small = ["--stage", "video", "--size", "64", "--clips", "1", "--length", "2", "--objects", "1"]
    where = ["--state", str(state), "--scenes", str(scenes)]
    assert train.main([*small, *where, "--steps", str(steps), *more]) == 0


def test_stage_trains_logs_saves_and_a_next_stage_starts_from_it(
    scenes: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    run_stage(scenes, state, train.LOG_EVERY)
    first = read_state(state)
    assert first["progress"]["done"]
    assert first["progress"]["total_steps"] == train.LOG_EVERY
    with state.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1
    assert float(rows[0]["loss"]) > 0
    run_stage(scenes, state, 2)
    second = read_state(state)
    assert second["progress"]["total_steps"] == train.LOG_EVERY + 2
    assert not state.with_name("state.pt.part").exists()
    key = "memory_encoder.pix_feat_proj.weight"
    moved = (first["model"][key] - second["model"][key]).abs().max()
    assert 0 < float(moved) < 0.1


def test_interrupted_stage_takes_up_step_optimizer_and_generator(tmp_path: Path) -> None:
    layer, aside = torch.nn.Linear(2, 2), torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    rng = np.random.default_rng(3)
    save_state(tmp_path / "s.pt", layer, aside, optimizer, Progress("a", 5, 9, 1.5), rng)
    expected = rng.random()
    other, fresh = torch.nn.Linear(2, 2), np.random.default_rng(4)
    again = torch.optim.AdamW(other.parameters())
    state = read_state(tmp_path / "s.pt")
    progress = restore(state, other, aside, again, Progress("a"), fresh)
    assert progress == Progress("a", 5, 9, 1.5)
    assert fresh.random() == expected
    assert torch.equal(other.weight, layer.weight)
    assert len(again.state) == 2
    progress = restore(state, other, aside, again, Progress("b"), fresh)
    assert progress == Progress("b", 0, 9)


def test_training_goes_on_from_exported_weights(scenes: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    run_stage(scenes, state, 1, "--start", str(BUNDLED_WEIGHTS))
    key = "memory_encoder.pix_feat_proj.weight"
    moved = (read_exported(BUNDLED_WEIGHTS)[key] - read_state(state)["model"][key]).abs().max()
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
        torch.nn.Linear(1, 1),
        optimizer,
        Progress("a", done=True),
        np.random.default_rng(0),
    )
    size = export([state], tmp_path / "a.safetensors", 64, "nothing")
    export([state, state], tmp_path / "b.safetensors", 64, "nothing")
    content = (tmp_path / "a.safetensors").read_bytes()
    assert content == (tmp_path / "b.safetensors").read_bytes()
    assert size == len(content) < 12_000_000
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
    weight = model.sam_mask_decoder.iou_token.weight
    states = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for state, value in zip(states, (0.25, 0.75), strict=True):
        torch.nn.init.constant_(weight, value)
        optimizer = torch.optim.AdamW(model.parameters())
        aside, rng = torch.nn.Linear(1, 1), np.random.default_rng(0)
        save_state(state, model, aside, optimizer, Progress("a", done=True), rng)
    export(states, tmp_path / "c.safetensors", 64, "nothing")
    mean = load_model("bundled", tmp_path / "c.safetensors", torch.device("cpu"), image_size=64)
    assert (mean.model.sam_mask_decoder.iou_token.weight == 0.5).all()


def test_training_begins_before_any_capture_exists(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    run_stage(tmp_path / "none", state, 1)
    assert state.exists()
