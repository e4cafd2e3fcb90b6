# SPDX-License-Identifier: GPL-3.0-or-later
"""Track captures with the bundled model, as a start for the edge model. A script.

    python tools/research/train/coarse.py --scenes build/capture_fine/train --out build/coarse

Writes `<capture>.npz` with the subject's logits on every photo, (n, h, w) float16. One stack is
from one click and one from three. Two more stacks add a second look to the latter, at the whole and
at parts. Files that exist are kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

ROOT: Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.core.errors import SplatError
from sam2_splat_addon.core.protocol import ModelChoice
from sam2_splat_addon.core.settings import Look, RunSettings
from sam2_splat_addon.engine.models.checkpoints import checkpoint_path
from tools.research.bench.evaluation import sources, tracking
from tools.research.bench.evaluation.prompting import PromptKind, prompts_for

LOOKS: Final[dict[str, tuple[PromptKind, Look]]] = {
    "1click": ("1click", "off"),
    "3clicks": ("3clicks", "off"),
    "3clicks_whole": ("3clicks", "whole"),
    "3clicks_parts": ("3clicks", "parts"),
}


def coarse_mattes(clip: sources.Clip, model: ModelChoice) -> dict[str, NDArray[np.float16]]:
    """Return the subject's logits on every photo, (n, h, w), by the clicks and looks that gave them."""
    (subject,) = clip.subjects
    found: dict[str, NDArray[np.float16]] = {}
    for name, (kind, looks) in LOOKS.items():
        settings = RunSettings(direction="forward", second_look=looks)
        prompts = prompts_for(clip, kind)
        mattes = tracking.track(model, 0, clip.photos, prompts, settings=settings).mattes
        stack = [mattes[(subject.id, frame)].logits for frame in range(1, len(clip.photos) + 1)]
        found[name] = np.stack(stack)
    return found


def main() -> int:
    """Track every capture under the folders and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "coarse")
    parser.add_argument("--weights", type=Path, help="weights or a training state of the model")
    options = parser.parse_args()
    name, weights = tracking.find_model("bundled", options.weights)
    model = ModelChoice(name, str(checkpoint_path(name, weights)), "cpu", 1)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        clips = [clip for root in options.scenes for clip in sources.captures(root)]
    except SplatError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for number, clip in enumerate(clips, start=1):
        target = options.out / f"{clip.name}.npz"
        if target.exists():
            continue
        part = target.with_suffix(".part.npz")
        np.savez_compressed(part, **coarse_mattes(clip, model))
        os.replace(part, target)
        print(f"{number}/{len(clips)} {target}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
