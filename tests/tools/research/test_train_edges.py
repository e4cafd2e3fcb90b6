# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the edge model's training, on tiny captures drawn here. May import: anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sam2_splat_addon.engine.refine.edge_model import EdgeModel, load_edge_model
from tools.research.train import edge_pairs, edges

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Two captures of a bright disk, `scenes/`, with coarse mattes of it, `coarse/`."""
    for number in (1, 2):
        folder = tmp_path / "scenes" / f"disk_{number}"
        folder.mkdir(parents=True)
        ids = np.zeros((360, 240), np.uint8)
        cv2.circle(ids, (110 + 10 * number, 180), 70, (1,), -1)
        picture = np.where(ids[..., None] > 0, (60, 120, 220), (90, 80, 70)).astype(np.uint8)
        cv2.imwrite(str(folder / "0000.jpg"), picture)
        cv2.imwrite(str(folder / "0000.png"), ids)
        share = cv2.resize(ids.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
        (tmp_path / "coarse").mkdir(exist_ok=True)
        good, bad = (share - 0.5) * 8, (0.5 - share) * 8
        np.savez(tmp_path / "coarse" / f"disk_{number}.npz", one=good[None], other=bad[None])
    return tmp_path


def test_only_mattes_of_the_subject_are_taken(captures: Path) -> None:
    shots = edge_pairs.read_shots([captures / "scenes"], captures / "coarse")
    assert len(shots) == 2
    assert all(len(shot.coarse) == 1 for shot in shots)


def test_pairs_show_one_place_at_two_scales(captures: Path) -> None:
    one, two = edge_pairs.read_shots([captures / "scenes"], captures / "coarse")
    rng = np.random.default_rng(0)
    for _ in range(20):
        pair = edge_pairs.draw_pair(one, two, rng)
        side = edge_pairs.SIDE
        assert pair.low_photo.shape == (3, side, side)
        assert pair.high_photo.shape == (3, 2 * side, 2 * side)
        for low, high in ((pair.low_truth, pair.high_truth), (pair.low_photo, pair.high_photo)):
            small = cv2.resize(high[0], (side, side), interpolation=cv2.INTER_AREA)
            assert np.abs(small - low[0]).max() < 1e-5
        assert np.isfinite(pair.low_logits).all()


def test_an_ideal_matte_says_where_half_of_a_cell_is_covered() -> None:
    coverage = np.linspace(0, 1, 101, dtype=np.float32)[None]
    for seed in range(5):
        logits = edge_pairs.ideal(coverage, np.random.default_rng(seed))
        assert (np.diff(logits[0]) > 0).all()
        assert abs(logits[0, 50]) < 1e-4
        assert 3.4 < logits[0, -1] < 6
        assert logits[0, 0] == pytest.approx(-logits[0, -1], rel=1e-3)


def test_loss_is_about_the_coarse_edge_alone() -> None:
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., 30:] = 1
    coarse = (truth - 0.5) * 16
    right = coarse.clone()
    far, near = right.clone(), right.clone()
    far[..., :4] = 8  # wrong, but 26 px away
    near[..., 26:30] = 8
    losses = [float(edges.loss_of(x, truth, coarse, 11)) for x in (right, far, near)]
    assert losses[0] < losses[1] < 0.5 * losses[2]


def test_training_goes_on_where_it_was_and_exports_what_the_engine_loads(captures: Path) -> None:
    state, out = captures / "edges.pt", captures / "edges.safetensors"
    command = [
        sys.executable,
        str(ROOT / "tools" / "research" / "train" / "edges.py"),
        "--state",
        str(state),
    ]
    data = ["--scenes", str(captures / "scenes"), "--coarse", str(captures / "coarse")]
    for steps in ("2", "3"):
        subprocess.run([*command, *data, "--steps", steps, "--batch", "2"], check=True)
    assert torch.load(state, weights_only=True)["step"] == 3
    subprocess.run([*command, "--export", "--out", str(out)], check=True)
    loaded = load_edge_model(out)
    fresh = EdgeModel().eval()
    photo, coarse = torch.rand(1, 3, 64, 64), torch.randn(1, 1, 64, 64) * 4
    with torch.inference_mode():
        assert not torch.equal(loaded(photo, coarse), fresh(photo, coarse))


def test_a_new_state_begins_with_another_ones_weights_and_keeps_its_norms(captures: Path) -> None:
    first, second = captures / "first.pt", captures / "second.pt"
    command = [
        sys.executable,
        str(ROOT / "tools" / "research" / "train" / "edges.py"),
        "--batch",
        "2",
    ]
    command += ["--scenes", str(captures / "scenes"), "--coarse", str(captures / "coarse")]
    subprocess.run([*command, "--state", str(first), "--steps", "2"], check=True)
    begin = ["--start", str(first), "--state", str(second), "--steps", "1", "--lr", "0"]
    subprocess.run([*command, *begin], check=True)
    one, two = (torch.load(path, weights_only=True) for path in (first, second))
    assert two["step"] == 1
    for name, tensor in one["average"].items():
        assert torch.allclose(two["average"][name].float(), tensor.float(), atol=1e-6), name
