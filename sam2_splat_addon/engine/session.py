# SPDX-License-Identifier: GPL-3.0-or-later
"""One propagation: conditioning frames, then forwards, then backwards; imports core, torch, sam2.

Objects don't influence each other, yet each image is encoded once for all objects that need it in a
pass. Every matte leaves at once; what stays is bounded by what attention can reach, whatever the
footage's length, plus one memory for each conditioning frame (0.5 MiB at 1024 px).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from ..core.errors import Cancelled
from ..core.matte_store import MatteScores
from ..core.prompts import FramePrompts
from .device import DeviceChoice
from .memory_bank import FrameMemory, MemoryBank, MemoryReach
from .plan import ObjectPlan
from .prompt_tensors import PromptTensors, prompt_tensors
from .sam2_steps import ImageFeatures, Prediction, Sam2Steps
from .session_state import (
    DIRECTIONS,
    BankState,
    Direction,
    SessionState,
    is_done,
    tracked_frames,
)

MAX_CONDITIONING = 16
"""Conditioning frames that a frame attends to, nearest first.

Upstream attends to all, so the cost of a frame grows with every frame the user prompts. Sixteen
is more than most objects ever get; with more, the ones left out are the furthest away in time.
"""

_HALF_MAX: Final = float(np.finfo(np.float16).max)


class Frames(Protocol):
    """Footage as model input, as `frames.FrameSource` gives it."""

    def __len__(self) -> int: ...

    def stream(self, order: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """(index, (3, S, S) float32) in the given order; indices count from 0."""
        ...


@dataclass(frozen=True)
class FrameResult:
    """One object on one frame (which counts from 1).

    Attributes
    ----------
    logits
        (h, w) float32, a quarter of the model's input; inside is > 0.
    scores
        What the model thinks of it.
    prompted
        Whether the user prompted this object on this frame.
    """

    object_id: int
    frame: int
    logits: NDArray[np.float32]
    scores: MatteScores
    prompted: bool

    def half_logits(self) -> NDArray[np.float16]:
        """The logits as the store keeps them, clipped to what float16 holds, (h, w)."""
        return np.clip(self.logits, -_HALF_MAX, _HALF_MAX).astype(np.float16)


@dataclass
class _Pass:
    direction: Direction
    banks: dict[int, MemoryBank]
    last_frame: int = 0


class Session:
    """Propagates the prompts of several objects through footage.

    Parameters
    ----------
    model
        In eval mode, on the device of ``choice``.
    frames
        The footage, squashed to the model's input.
    size
        The footage's (width, height), px: what the prompts are measured in.
    plans
        What to compute, one per object.
    choice
        Device and number format.
    max_conditioning
        Conditioning frames that a frame attends to; 0 is all.
    """

    def __init__(
        self,
        model: SAM2Base,
        frames: Frames,
        size: tuple[int, int],
        plans: Iterable[ObjectPlan],
        choice: DeviceChoice,
        *,
        max_conditioning: int = MAX_CONDITIONING,
    ) -> None:
        self._frames = frames
        self._size = size
        self._plans = {plan.object_id: plan for plan in plans if len(plan.results)}
        self._choice = choice
        self._steps = Sam2Steps(model, len(frames))
        self._reach = MemoryReach.of(model, max_conditioning)
        self._position = torch.empty(0)  # made with the first memory
        self._conditioning: dict[int, dict[int, FrameMemory]] = {}
        self._pass: _Pass | None = None

    def run(
        self,
        on_result: Callable[[FrameResult], None],
        *,
        cancelled: Callable[[], bool] = lambda: False,
        on_step: Callable[[], None] = lambda: None,
        resume: SessionState | None = None,
    ) -> None:
        """Compute everything planned, or with ``resume`` what is left of it.

        Parameters
        ----------
        on_result
            Gets every matte as soon as it is there.
        cancelled
            Asked between the stages of a frame.
        on_step
            Called when a frame of a pass is done for all objects; `state` is then worth saving.
        resume
            A `state` of a session with the same footage, model, settings and (at least these)
            plans.

        Raises
        ------
        Cancelled
            As soon as ``cancelled`` says so; the memories stand as after the last whole frame.
        FootageError
            A frame can't be read.
        """
        if not self._plans:
            return
        with self._choice.computing():
            if resume is None:
                self._condition(on_result, cancelled)
                directions = DIRECTIONS
            else:
                self._restore(resume)
                directions = DIRECTIONS[DIRECTIONS.index(resume.direction) :]
            for direction in directions:
                if self._pass is None or self._pass.direction != direction:
                    self._pass = self._new_pass(direction)
                self._propagate(self._pass, on_result, cancelled, on_step)

    def state(self) -> SessionState | None:
        """Where the session stands; None before the conditioning frames are done."""
        if self._pass is None:
            return None
        banks = {
            object_id: BankState(
                self._conditioning[object_id], dict(bank.corrected), dict(bank.recent)
            )
            for object_id, bank in self._pass.banks.items()
        }
        return SessionState(self._pass.direction, self._pass.last_frame, self._position, banks)

    def _restore(self, state: SessionState) -> None:
        self._position = state.position.to(self._choice.device)
        self._conditioning = {
            object_id: self._here(state.banks[object_id].conditioning) for object_id in self._plans
        }
        self._pass = self._new_pass(state.direction)
        self._pass.last_frame = state.last_frame
        for object_id, bank in self._pass.banks.items():
            kept = state.banks[object_id]
            bank.restore(self._here(kept.corrected), self._here(kept.recent))

    def _here(self, memories: Mapping[int, FrameMemory]) -> dict[int, FrameMemory]:
        """The memories on this session's device."""
        device = self._choice.device
        return {
            at: FrameMemory(
                None if entry.features is None else entry.features.to(device),
                entry.pointer.to(device),
            )
            for at, entry in memories.items()
        }

    def _condition(
        self, on_result: Callable[[FrameResult], None], cancelled: Callable[[], bool]
    ) -> None:
        wanted = sorted(
            {entry.frame for plan in self._plans.values() for entry in plan.conditioning}
        )
        self._conditioning = {object_id: {} for object_id in self._plans}
        with contextlib.closing(self._encoded(wanted, cancelled)) as images:
            for frame, image in images:
                for object_id, plan in self._plans.items():
                    prompts = next((e for e in plan.conditioning if e.frame == frame), None)
                    if prompts is None:
                        continue
                    _stop_if(cancelled)
                    prediction = self._steps.condition(frame - 1, image, self._tensors(prompts))
                    memory, self._position = self._steps.remember(image, prediction, from_user=True)
                    self._conditioning[object_id][frame - 1] = memory
                    if frame in plan.results:
                        on_result(frame_result(object_id, frame, prediction, prompted=True))

    def _new_pass(self, direction: Direction) -> _Pass:
        return _Pass(
            direction,
            {
                object_id: MemoryBank(self._reach, self._position, memories)
                for object_id, memories in self._conditioning.items()
            },
        )

    def _propagate(
        self,
        current: _Pass,
        on_result: Callable[[FrameResult], None],
        cancelled: Callable[[], bool],
        on_step: Callable[[], None],
    ) -> None:
        direction = current.direction
        tracked = {
            object_id: {
                frame
                for frame in tracked_frames(plan, direction)
                if not is_done(frame, direction, current.last_frame)
            }
            for object_id, plan in self._plans.items()
        }
        order = sorted(set().union(*tracked.values()), reverse=direction == "backward")
        with contextlib.closing(self._encoded(order, cancelled)) as images:
            for frame, image in images:
                # Memories join when all objects are done: a frame counts whole or not at all.
                joining: list[Callable[[], None]] = []
                for object_id, plan in self._plans.items():
                    if frame in tracked[object_id]:
                        _stop_if(cancelled)
                        bank = current.banks[object_id]
                        result, join = self._track(
                            plan, frame, image, bank, reverse=direction == "backward"
                        )
                        joining.append(join)
                        on_result(result)
                for join in joining:
                    join()
                current.last_frame = frame
                on_step()

    def _track(
        self,
        plan: ObjectPlan,
        frame: int,
        image: ImageFeatures,
        bank: MemoryBank,
        *,
        reverse: bool,
    ) -> tuple[FrameResult, Callable[[], None]]:
        """Segment one object on one frame from memory; the second result puts it into the bank."""
        index = frame - 1
        prediction = self._steps.track(index, image, bank, reverse=reverse)
        correction = plan.correction(frame)
        if correction is not None:
            prompts = self._tensors(correction)
            prediction = self._steps.correct(
                index, image, bank, prompts, prediction, reverse=reverse
            )
        corrected = correction is not None
        memory, _ = self._steps.remember(image, prediction, from_user=corrected)
        result = frame_result(plan.object_id, frame, prediction, prompted=corrected)

        def remember() -> None:
            if corrected:
                bank.add_corrected(index, memory)
            else:
                bank.add(index, memory)

        return result, remember

    def _encoded(
        self, order: Sequence[int], cancelled: Callable[[], bool]
    ) -> Generator[tuple[int, ImageFeatures], None, None]:
        """(frame, its features), decoded ahead of use."""
        stream = self._frames.stream([frame - 1 for frame in order])
        try:
            for index, tensor in stream:
                _stop_if(cancelled)
                yield index + 1, self._steps.encode(tensor)
        finally:
            if isinstance(stream, Generator):
                stream.close()  # stops the decoder's thread now, not when the garbage is collected

    def _tensors(self, prompts: FramePrompts) -> PromptTensors:
        width, height = self._size
        side = self._steps.model.image_size
        return prompt_tensors(prompts, width, height, side, self._choice.device)


def _stop_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled


def frame_result(
    object_id: int, frame: int, prediction: Prediction, *, prompted: bool
) -> FrameResult:
    """What leaves the session of a prediction."""
    logits = prediction.logits[0, 0].to(torch.float32).cpu().numpy()  # (h, w)
    scores = MatteScores(
        object_score=float(prediction.object_score),
        predicted_iou=prediction.predicted_iou,
        area=float((logits > 0).mean()),
    )
    return FrameResult(object_id, frame, logits, scores, prompted)
