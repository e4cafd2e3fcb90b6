# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the bundled model on captures it has not seen; run as a script. May import: torch, sam2.

    python tools/train/evaluate.py --weights build/train/state.pt --clicks 3
    python tools/train/evaluate.py --photos sample/photos --truth sample/truth

Clicks on the first frame, sam2's own `track_step` from there on, IoU at the photos' own size.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn import functional as F

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.engine.bundled_model import (
    BUNDLED_IMAGE_SIZE,
    BUNDLED_WEIGHTS,
    build_bundled_model,
)
from tools.train.library import Image, read_picture, read_scene
from tools.train.prompts import centre_click, clicks
from tools.train.rollout import MANY_FRAMES, to_input
from tools.train.state import read_exported, read_state

Masks = list[NDArray[np.bool_]]


@dataclass(frozen=True)
class Tracked:
    """What tracking one object gives.

    Attributes
    ----------
    masks : Masks
        [H, W] per frame, at the photo's size.
    ious : list of float
        Predicted IoU per frame.
    scores : list of float
        Object-score logits per frame; negative means absent.
    seconds : float
        Per frame, encoder included.
    """

    masks: Masks
    ious: list[float]
    scores: list[float]
    seconds: float


def load_weights(path: Path, image_size: int) -> SAM2Base:
    """Build the model with the weights of a training state or of an exported file."""
    model = build_bundled_model(image_size)
    if path.suffix == ".safetensors":
        weights = read_exported(path)
    else:
        weights = read_state(path)["model"]
    model.load_state_dict(weights, strict=True)
    return model.to(memory_format=torch.channels_last)


@torch.inference_mode()
def track(model: SAM2Base, frames: list[Image], points: NDArray[np.float32]) -> Tracked:
    """Click on the first frame and follow the object to the last.

    Parameters
    ----------
    model : SAM2Base
        In eval mode.
    frames : list of Image
        [H, W, 3] RGB.
    points : ndarray
        [P, 2] include clicks on the first frame, px of that frame.
    """
    side = model.image_size
    height, width = frames[0].shape[:2]
    scale = np.array([side / width, side / height], np.float32)
    coords = torch.from_numpy((points + 0.5) * scale - 0.5)[None]  # [1, P, 2]
    first: dict[str, Tensor] = {
        "point_coords": coords,
        "point_labels": torch.ones(coords.shape[:2], dtype=torch.int32),
    }
    bank: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    masks: Masks = []
    ious: list[float] = []
    scores: list[float] = []
    spent = 0.0
    for t, frame in enumerate(frames):
        small = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
        began = time.perf_counter()
        image = to_input(torch.from_numpy(small)[None])
        _, feats, positions, sizes = model._prepare_backbone_features(model.forward_image(image))
        current, outputs, _, _ = model._track_step(
            t,
            t == 0,
            feats,
            positions,
            sizes,
            first if t == 0 else None,
            None,
            bank,
            MANY_FRAMES,
            False,
            None,
        )
        current["obj_ptr"] = outputs[5]
        model._encode_memory_in_output(
            feats, sizes, first if t == 0 else None, True, outputs[4], outputs[6], current
        )
        bank["cond_frame_outputs" if t == 0 else "non_cond_frame_outputs"][t] = current
        bank["non_cond_frame_outputs"].pop(t - model.max_obj_ptrs_in_encoder, None)
        spent += time.perf_counter() - began
        logits = F.interpolate(outputs[3], (height, width), mode="bilinear", align_corners=False)
        masks.append(logits[0, 0].numpy() > 0)
        ious.append(float(outputs[2]))
        scores.append(float(outputs[6]))
    return Tracked(masks, ious, scores, spent / len(frames))


def mask_iou(guess: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """IoU of two masks; two empty ones agree."""
    either = int((guess | truth).sum())
    return 1.0 if either == 0 else int((guess & truth).sum()) / either


def first_clicks(truth: NDArray[np.bool_], count: int) -> NDArray[np.float32]:
    """Clicks as a user places them: the first deep inside, the others spread; always the same."""
    if count == 1:
        return np.array([centre_click(truth)], np.float32)
    return clicks(np.random.default_rng(0), truth, count)


def read_truth(folder: Path, stem: str) -> NDArray[np.bool_]:
    """Read a truth mask, 8-bit grey coverage, cut at one half.

    Raises
    ------
    OSError
        When it is missing or no picture.
    """
    coverage = cv2.imread(str(folder / f"{stem}.png"), cv2.IMREAD_GRAYSCALE)
    if coverage is None:
        raise OSError(f"{folder / stem}.png is missing or not a picture.")
    return np.asarray(coverage > 127)


def _line(name: str, tracked: Tracked, truth: Masks) -> list[float]:
    ious = [mask_iou(a, b) for a, b in zip(tracked.masks, truth, strict=True)]
    print(
        f"{name:28s} mean {np.mean(ious):.3f}  first {ious[0]:.3f}  last {ious[-1]:.3f}  "
        f"worst {min(ious):.3f}  {tracked.seconds:.3f} s/frame",
        flush=True,
    )
    return ious


def main() -> int:
    """Run the script; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS)
    parser.add_argument("--size", type=int, default=BUNDLED_IMAGE_SIZE)
    parser.add_argument("--scenes", type=Path, default=ROOT / "build" / "capture" / "val")
    parser.add_argument("--limit", type=int, default=1000, help="captures at most")
    parser.add_argument("--photos", type=Path, help="a folder of photos in place of captures")
    parser.add_argument("--truth", type=Path, help="its masks, <stem>.png")
    parser.add_argument("--points", type=float, nargs="+", help="x y x y ... on the first photo")
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_weights(options.weights, options.size)
    means: list[float] = []
    if options.photos:
        paths = sorted(p for p in options.photos.iterdir() if p.suffix.lower() in {".jpg", ".png"})
        frames = [read_picture(path) for path in paths]
        truth = [read_truth(options.truth, path.stem) for path in paths]
        points = first_clicks(truth[0], options.clicks)
        if options.points:
            points = np.array(options.points, np.float32).reshape(-1, 2)
        tracked = track(model, frames, points)
        ious = _line(options.photos.parent.name, tracked, truth)
        for path, iou, predicted, score in zip(
            paths, ious, tracked.ious, tracked.scores, strict=True
        ):
            print(f"  {path.name:20s} IoU {iou:.3f}  predicted {predicted:.3f}  score {score:+.1f}")
        means = ious
    else:
        for folder in sorted(options.scenes.iterdir())[: options.limit]:
            scene = read_scene(folder)
            truth = [labels == 1 for labels in scene.ids]
            if not truth[0].any():
                continue
            tracked = track(model, scene.frames, first_clicks(truth[0], options.clicks))
            means.append(float(np.mean(_line(scene.name, tracked, truth))))
    print(f"mean IoU {np.mean(means):.4f} over {len(means)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
