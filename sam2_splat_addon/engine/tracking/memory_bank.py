# SPDX-License-Identifier: GPL-3.0-or-later
"""What SAM 2 remembers of past frames, limited to what attention can reach.

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
        (1, M, h, w) bfloat16, as upstream keeps them. None once attention can't reach them any
        more.
    pointer
        (1, C), the object pointer.
    """

    features: Tensor | None
    pointer: Tensor

    def to(self, device: torch.device) -> FrameMemory:
        """Return the same memory on a device."""
        features = None if self.features is None else self.features.to(device)
        return FrameMemory(features, self.pointer.to(device))


class LastView(msgspec.Struct, frozen=True):
    """Where a pass last saw its object.

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
    """The model's scores on a frame where the object was seen, and its area there, 0 to 1."""

    score: float
    iou: float
    area: float


@dataclass(frozen=True)
class BankState:
    """What a `MemoryBank` holds besides the conditioning frames, by index."""

    corrected: Mapping[int, FrameMemory]
    recent: Mapping[int, FrameMemory]
    last_view: LastView | None = None
    qualities: tuple[FrameQuality, ...] = ()


@dataclass(frozen=True)
class MemoryReach:
    """How far attention looks.

    Attributes
    ----------
    features, pointers
        Distance in frames.
    conditioning
        Number of conditioning frames, at least 2. 0 means no limit.
    """

    features: int
    pointers: int
    conditioning: int

    @classmethod
    def of(cls, model: SAM2Base, max_conditioning: int) -> MemoryReach:
        """Return the reach that the model's own settings give. `SAM2Base` explains them."""
        stride = model.memory_temporal_stride_for_eval
        # sam2 uses num_maskmem - 1 frames: the last one, and before it one every `stride` frames.
        features = (model.num_maskmem - 2) * stride + 1 if model.num_maskmem > 1 else 0
        pointers = model.max_obj_ptrs_in_encoder - 1 if model.use_obj_ptrs_in_encoder else 0
        limit = 0 if max_conditioning <= 0 else max(max_conditioning, 2)
        return cls(features, pointers, limit)


def memory_position(model: SAM2Base) -> Tensor:
    """Return the position encoding of memory features, (1, M, h, w). It is the same for all frames."""
    side = model.sam_image_embedding_size
    maps = torch.zeros(1, model.hidden_dim, side, side, device=model.device)
    projected = model.memory_encoder.out_proj(maps)  # in the number format of the features
    position: Tensor = model.memory_encoder.position_encoding(projected).to(projected.dtype)
    return position


class MemoryBank:
    """The memories of one object in one pass.

    Parameters
    ----------
    reach
        How much to keep and to show.
    position
        (1, M, h, w); see `memory_position`.
    conditioning
        Memories of the frames whose prompts say where the object is, by rising index. Banks share
        them and never change them. Some may lie on disk: see `conditioning_memory`.

    Attributes
    ----------
    last_view
        The session sets it. None before the first frame.
    qualities
        Of the last frames where the object was seen. Only `GuardedBank` fills it.
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
        """The conditioning frames that the bank was made with."""
        return self._conditioning

    @property
    def corrected(self) -> Mapping[int, FrameMemory]:
        """Frames that the user corrected and that are within reach, in the order of this pass."""
        return self._corrected

    @property
    def recent(self) -> Mapping[int, FrameMemory]:
        """Tracked frames that are within reach, in the order of this pass."""
        return self._recent

    def add(self, index: int, memory: FrameMemory) -> None:
        """Remember a tracked frame, and forget what no later frame of the pass can reach."""
        self._recent[index] = memory
        kept: dict[int, FrameMemory] = {}
        for other, entry in self._recent.items():
            # The next frame is one frame further away.
            distance = abs(index - other) + 1
            if distance <= self._reach.features:
                kept[other] = entry
            elif distance <= self._reach.pointers:
                kept[other] = FrameMemory(None, entry.pointer)
        self._recent = kept

    def add_corrected(self, index: int, memory: FrameMemory) -> None:
        """Remember a tracked frame that the user corrected. Later frames attend to it as to a
        conditioning frame.

        If the number of conditioning frames is limited, a corrected frame is forgotten once no
        later frame of the pass can reach it. That is so when enough others are nearer, and it is
        too far away to count as a tracked frame.
        """
        self._corrected[index] = memory
        if self._reach.conditioning:
            furthest = max(self._reach.features, self._reach.pointers)
            for other in list(self._corrected)[: -self._reach.conditioning]:
                if abs(index - other) + 1 > furthest:  # as the next frame sees it
                    del self._corrected[other]

    def forget_tracked(self) -> None:
        """Forget the tracked frames and their qualities: they took another thing for the subject."""
        self._recent = {}
        self.qualities = ()

    def state(self) -> BankState:
        """Return all that `restore` needs. Later changes of the bank don't change it."""
        return BankState(dict(self._corrected), dict(self._recent), self.last_view, self.qualities)

    def restore(self, state: BankState) -> None:
        """Continue from the state of another bank of the same object and pass."""
        self._corrected = dict(state.corrected)
        self._recent = dict(state.recent)
        self.last_view = state.last_view
        self.qualities = state.qualities

    def output_dict(self, index: int) -> dict[str, dict[int, dict[str, Any]]]:
        """Return the memories for the frame at ``index``, in the form that `SAM2Base` reads.

        If there are more conditioning frames than the limit, sam2's own rule chooses the nearest.
        One that is left out but lies within reach counts as a tracked frame, as in sam2.
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
        """Return what counts as tracked for the frame at ``index``, by the index that the model sees."""
        furthest = max(self._reach.features, self._reach.pointers)
        near = {at: self._prompted(at) for at in left_out if abs(at - index) <= furthest}
        return {**near, **self._recent}

    def _prompted(self, index: int) -> FrameMemory:
        return self._corrected[index] if index in self._corrected else self._conditioning[index]

    def _shown(self, entry: FrameMemory) -> dict[str, Any]:
        # Upstream keeps features in bfloat16. They become wider when pointers are concatenated, and
        # without pointers it fails. Widening is exact, so we always do it.
        features = None if entry.features is None else entry.features.to(entry.pointer.dtype)
        return {
            "maskmem_features": features,
            "maskmem_pos_enc": [self._position],
            "obj_ptr": entry.pointer,
        }
