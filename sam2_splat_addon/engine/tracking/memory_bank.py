# SPDX-License-Identifier: GPL-3.0-or-later
"""What SAM 2 keeps of past frames, pruned to what attention can reach; imports torch, sam2.

A bank belongs to one object and one direction of propagation. Indices count frames from 0, as in
sam2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import select_closest_cond_frames
from torch import Tensor


@dataclass(frozen=True)
class FrameMemory:
    """One frame in memory.

    Attributes
    ----------
    features
        (1, M, h, w) bfloat16, as upstream keeps them; None once they are out of attention's reach.
    pointer
        (1, C), the object pointer.
    """

    features: Tensor | None
    pointer: Tensor

    def to(self, device: torch.device) -> FrameMemory:
        """The same on a device."""
        features = None if self.features is None else self.features.to(device)
        return FrameMemory(features, self.pointer.to(device))


class LastView(msgspec.Struct, frozen=True):
    """Where a pass has last looked for its object.

    Attributes
    ----------
    index
        The frame tracked last.
    roll
        Brings its matte to the middle of a panorama's view; see `panorama`.
    """

    index: int
    roll: int


class FrameQuality(msgspec.Struct, frozen=True):
    """What the model thought of a frame that the object was seen on, and its area there, 0 to 1."""

    score: float
    iou: float
    area: float


@dataclass(frozen=True)
class BankState:
    """What a `MemoryBank` holds beside the conditioning frames, by index."""

    corrected: Mapping[int, FrameMemory]
    recent: Mapping[int, FrameMemory]
    last_view: LastView | None = None
    qualities: tuple[FrameQuality, ...] = ()


@dataclass(frozen=True)
class MemoryReach:
    """How far back attention looks, in frames, and at how many conditioning frames.

    ``conditioning`` of 0 is no limit; otherwise at least 2.
    """

    features: int
    pointers: int
    conditioning: int

    @classmethod
    def of(cls, model: SAM2Base, max_conditioning: int) -> MemoryReach:
        """The reach that the model's own settings give (see `SAM2Base` for their meaning)."""
        stride = model.memory_temporal_stride_for_eval
        # The oldest of num_maskmem - 1 frames, all but the last of which stand `stride` apart.
        features = (model.num_maskmem - 2) * stride + 1 if model.num_maskmem > 1 else 0
        pointers = model.max_obj_ptrs_in_encoder - 1 if model.use_obj_ptrs_in_encoder else 0
        limit = 0 if max_conditioning <= 0 else max(max_conditioning, 2)
        return cls(features, pointers, limit)


def memory_position(model: SAM2Base) -> Tensor:
    """The position encoding of memory features, (1, M, h, w): the same for all frames."""
    side = model.sam_image_embedding_size
    maps = torch.zeros(1, model.hidden_dim, side, side, device=model.device)
    projected = model.memory_encoder.out_proj(maps)  # of the number format that features have
    position: Tensor = model.memory_encoder.position_encoding(projected).to(projected.dtype)
    return position


class MemoryBank:
    """The memories of one object in one pass.

    Parameters
    ----------
    reach
        What to keep and to show.
    position
        (1, M, h, w); see `memory_position`.
    conditioning
        Memories of the frames whose prompts say where the object is, by rising index. Shared
        between banks, never changed, and not all of them in the process: see
        `conditioning_memory`.

    Attributes
    ----------
    last_view
        Set by whoever tracks; None before the first frame.
    qualities
        Of the last frames that the object was seen on, where the bank keeps track of them.
    """

    def __init__(
        self, reach: MemoryReach, position: Tensor, conditioning: Mapping[int, FrameMemory]
    ) -> None:
        self._reach = reach
        self._position = position
        self._conditioning = conditioning
        self._corrected: dict[int, FrameMemory] = {}
        self._recent: dict[int, FrameMemory] = {}
        self.last_view: LastView | None = None
        self.qualities: tuple[FrameQuality, ...] = ()

    @property
    def conditioning(self) -> Mapping[int, FrameMemory]:
        """The frames that it was made with."""
        return self._conditioning

    @property
    def corrected(self) -> Mapping[int, FrameMemory]:
        """Frames that the user corrected and that are still within reach, as this pass met them."""
        return self._corrected

    @property
    def recent(self) -> Mapping[int, FrameMemory]:
        """Tracked frames still within reach, as this pass met them."""
        return self._recent

    def add(self, index: int, memory: FrameMemory) -> None:
        """Remember a tracked frame, and forget what no later frame of the pass can reach."""
        self._recent[index] = memory
        kept: dict[int, FrameMemory] = {}
        for other, entry in self._recent.items():
            # The next frame is one further away.
            distance = abs(index - other) + 1
            if distance <= self._reach.features:
                kept[other] = entry
            elif distance <= self._reach.pointers:
                kept[other] = FrameMemory(None, entry.pointer)
        self._recent = kept

    def add_corrected(self, index: int, memory: FrameMemory) -> None:
        """Remember a tracked frame that the user corrected: it conditions from here on.

        Where a frame attends to a limited number of conditioning frames, corrected ones are
        forgotten that no later frame of the pass can reach: as many others are nearer to all of
        these, and it is too far away to count as a tracked frame.
        """
        self._corrected[index] = memory
        if self._reach.conditioning:
            furthest = max(self._reach.features, self._reach.pointers)
            for other in list(self._corrected)[: -self._reach.conditioning]:
                if abs(index - other) + 1 > furthest:  # as the next frame sees it
                    del self._corrected[other]

    def state(self) -> BankState:
        """All that `restore` needs; it stays as it is when the bank goes on."""
        return BankState(dict(self._corrected), dict(self._recent), self.last_view, self.qualities)

    def restore(self, state: BankState) -> None:
        """Take up where another bank of the same object and pass stood."""
        self._corrected = dict(state.corrected)
        self._recent = dict(state.recent)
        self.last_view = state.last_view
        self.qualities = state.qualities

    def output_dict(self, index: int) -> dict[str, dict[int, dict[str, Any]]]:
        """The memories for the frame at ``index``, in the form that `SAM2Base` reads.

        Of more conditioning frames than the limit the nearest are chosen, by sam2's own rule; one
        that is left out yet lies within reach counts as a tracked frame, also as in sam2.
        """
        every = dict.fromkeys([*self._conditioning, *self._corrected])
        selected, others = select_closest_cond_frames(index, every, self._reach.conditioning or -1)
        return {
            "cond_frame_outputs": {at: self._shown(self._prompted(at)) for at in selected},
            "non_cond_frame_outputs": {
                at: self._shown(entry) for at, entry in self._tracked(index, others).items()
            },
        }

    def _tracked(self, index: int, left_out: Iterable[int]) -> Mapping[int, FrameMemory]:
        """What counts as tracked for the frame at ``index``, by where it stands for the model."""
        furthest = max(self._reach.features, self._reach.pointers)
        near = {at: self._prompted(at) for at in left_out if abs(at - index) <= furthest}
        return {**near, **self._recent}

    def _prompted(self, index: int) -> FrameMemory:
        return self._corrected[index] if index in self._corrected else self._conditioning[index]

    def _shown(self, entry: FrameMemory) -> dict[str, Any]:
        # Upstream leaves the features in bfloat16 and relies on concatenation with the pointers to
        # widen them; where no pointer joins in, it fails. Widening is exact, so do it always.
        features = None if entry.features is None else entry.features.to(entry.pointer.dtype)
        return {
            "maskmem_features": features,
            "maskmem_pos_enc": [self._position],
            "obj_ptr": entry.pointer,
        }
