# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a session stands: which pass, how far, with which memories; imports torch.

A session's passes are the directions, in the order of `DIRECTIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .memory_bank import FrameMemory
from .plan import ObjectPlan

Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


@dataclass(frozen=True)
class BankState:
    """What `MemoryBank` holds of one object."""

    conditioning: Mapping[int, FrameMemory]
    corrected: Mapping[int, FrameMemory]
    recent: Mapping[int, FrameMemory]


@dataclass(frozen=True)
class SessionState:
    """Where a session stands, enough to go on from there with the same results.

    Attributes
    ----------
    direction
        The pass that runs; conditioning and the passes before it are done.
    last_frame
        The last frame of the pass that is done; 0 when none is.
    position
        (1, M, h, w), the position encoding of memories.
    banks
        By object id.
    """

    direction: Direction
    last_frame: int
    position: Tensor
    banks: Mapping[int, BankState]


def tracked_frames(plan: ObjectPlan, direction: Direction) -> tuple[int, ...]:
    """The frames of the plan that are tracked in that pass, in its order."""
    return plan.forward if direction == "forward" else plan.backward


def is_done(frame: int, direction: Direction, last_frame: int) -> bool:
    """Whether a pass that stands at ``last_frame`` (0: at none) has this frame behind it."""
    if last_frame == 0:
        return False
    return frame <= last_frame if direction == "forward" else frame >= last_frame


def frames_done(plan: ObjectPlan, state: SessionState) -> set[int]:
    """The frames of the plan that have their result when a session stands at ``state``."""
    done = {entry.frame for entry in plan.conditioning if entry.frame in plan.results}
    for direction in DIRECTIONS[: DIRECTIONS.index(state.direction) + 1]:
        running = direction == state.direction
        done.update(
            frame
            for frame in tracked_frames(plan, direction)
            if not running or is_done(frame, direction, state.last_frame)
        )
    return done
