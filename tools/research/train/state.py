# SPDX-License-Identifier: GPL-3.0-or-later
"""Save and restore a training run, whole or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from sam2_splat_addon.core.system.atomic_file import atomic_file


@dataclass
class Progress:
    """How far a run has come.

    Attributes
    ----------
    stage : str
        Name of the current or finished stage.
    step : int
        Steps of this stage.
    total_steps : int
        Steps of all stages so far.
    elapsed : float
        Seconds spent in this stage, over all its starts.
    done : bool
        Whether the stage is finished.
    """

    stage: str
    step: int = 0
    total_steps: int = 0
    elapsed: float = 0.0
    done: bool = False


def save_state(
    path: Path,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    rng: np.random.Generator,
) -> None:
    """Write everything that a run needs to continue. The old file stays until the new one is complete."""
    state = {
        "model": average.state_dict(),  # what benches load, as of any checkpoint
        "learning": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": rng.bit_generator.state,
    }
    with atomic_file(path) as stream:
        torch.save(state, stream)


def read_state(path: Path) -> dict[str, Any]:
    """Read a state file.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    # We wrote this file ourselves. It holds only tensors, numbers and strings.
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def read_exported(path: Path) -> dict[str, torch.Tensor]:
    """Read weights as `export.py` writes them, in fp32."""
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}


def restore(
    state: dict[str, Any],
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    rng: np.random.Generator,
) -> Progress:
    """Restore a state: all of it if its stage continues; for a new stage only weights and moments."""
    model.load_state_dict(state["learning"])
    average.load_state_dict(state["model"])
    before = Progress(**state["progress"])
    if before.stage != progress.stage or before.done:
        progress.total_steps = before.total_steps
        moments = state["optimizer"].get("state")
        if moments:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return progress
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["torch_rng"])
    rng.bit_generator.state = state["numpy_rng"]
    return before
