# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a training state into the weights that ship. A script.

    python tools/research/train/export.py --state build/train/state.pt

Several states can be given, such as the results of two stages of one run. They are averaged
(Wortsman et al., "Model soups", 2022). The same states give the same bytes: nothing about the day
or the machine is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save
from torch import Tensor

METADATA_KEY: Final = "sam2_splat"
ROOT: Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.core.system.atomic_file import write_atomic
from sam2_splat_addon.engine.models.bundled_model import (
    ARCHITECTURE,
    BUNDLED_IMAGE_SIZE,
    BUNDLED_WEIGHTS,
    build_bundled_model,
)
from tools.research.train.state import read_state


def export(state_files: Sequence[Path], out: Path, image_size: int, data: str) -> int:
    """Write the mean of the states' running means as fp16 safetensors with metadata.

    Parameters
    ----------
    state_files : sequence of Path
        What `train.py` saved, at least one.
    out : Path
        Written whole or not at all.
    image_size : int
        Side of the square input that the weights are for, px.
    data : str
        One line about the training data.

    Returns
    -------
    int
        The bytes written.

    Raises
    ------
    FileNotFoundError
        There is no state file.
    RuntimeError
        The state has another architecture.
    """
    states = [read_state(file) for file in state_files]
    model = build_bundled_model(image_size)
    for state in states:
        model.load_state_dict(state["model"], strict=True)
    # Values that are no weights, such as a count of batches, come from the last state.
    half: dict[str, Tensor] = {
        name: torch.stack([state["model"][name] for state in states]).mean(dim=0).half()
        if tensor.is_floating_point()
        else tensor.contiguous()
        for name, tensor in sorted(states[-1]["model"].items())
    }
    if not all(torch.isfinite(t).all() for t in half.values() if t.is_floating_point()):
        raise RuntimeError("The weights hold values that do not fit fp16.")
    about = {
        "architecture": ARCHITECTURE,
        "image_size": image_size,
        "steps": states[-1]["progress"]["total_steps"],
        "data": data,
    }
    # One key only: safetensors writes several keys in an order that changes from call to call.
    content = save(half, {METADATA_KEY: json.dumps(about, sort_keys=True)})
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, content)
    return len(content)


def main() -> int:
    """Run the script; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--state", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=BUNDLED_WEIGHTS)
    parser.add_argument("--size", type=int, default=BUNDLED_IMAGE_SIZE)
    parser.add_argument(
        "--data", default="real photos and rendered captures, see docs/bundled-model.md"
    )
    options = parser.parse_args()
    written = export(options.state, options.out, options.size, options.data)
    print(f"{options.out}: {written / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
