# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one propagation: conditioning frames, then forwards, then backwards.

Objects don't influence each other. Yet in a pass each image is encoded only once for all objects.

Every matte is handed over at once. Memory use is limited by attention's reach, not by the number of
frames. Memories of conditioning frames lie on disk where there is a store. Otherwise they stay in
the process (0.5 MiB each at 1024 px).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ...core.errors import Cancelled
from ...core.footage.sizes import PhotoSizes
from ...core.prompts import FramePrompts
from ..models.device import DeviceChoice
from .conditioning_memory import Conditioned, ConditioningMemories, ConditioningStore
from .distractor_memory import GuardedBank
from .memory_bank import FrameMemory, LastView, MemoryBank, MemoryReach, memory_position
from .panorama import View, Views, roll_to_matte, seen, tensors_seen, view_of
from .plan import DIRECTIONS, Direction, ObjectPlan, Step
from .prompt_tensors import PromptTensors
from .results import FrameResult, frame_result
from .sam2_adapter import Prediction, Sam2Adapter
from .schedule import ObjectSchedule, SegmentPart

MAX_CONDITIONING = 16
"""Number of conditioning frames that a frame attends to, nearest first.

Upstream attends to all of them, so every prompted frame makes all frames slower. Most objects never
get more than sixteen. If there are more, the frames furthest away in time are left out.
"""


ClickLook = Callable[[Prediction, FramePrompts], Prediction]
"""The answer to the clicks of a photo, and these clicks -> the answer after a closer look."""


class Frames(Protocol):
    """Footage as model input, as `images.frame_source.FrameSource` gives it. It may leave frames out."""

    def __len__(self) -> int: ...

    def stream(self, order: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (index, (3, S, S) float32) in the given order. Indices count from 0."""
        ...


class Session:
    """Propagate the prompts of several objects through footage.

    Parameters
    ----------
    steps
        The steps of a model in eval mode, on the device of ``choice``, over these frames.
    frames
        The footage, resized to the model's input.
    sizes
        Of the photos. Prompts are measured in pixels of their own photo.
    works
        What to compute, one schedule for each object.
    choice
        Device and number format.
    max_conditioning
        Conditioning frames that a frame attends to. 0 means all.
    panorama
        Whether the photos go all the way round. Each object is then brought to the middle.
    guarded
        Whether doubtful frames stay out of memory; see `distractor_memory`.
    look
        Looks closer at the answer to the clicks of a photo, for a model that is worth it; see
        `refine.zoom_refine.SecondLook.of_clicks`.
    shelves
        Object id -> conditioning memories on disk. It must hold those that the works need but don't
        compute.
    fills_shelves
        Whether newly computed memories are written there too.

    Examples
    --------
    Track one object through all photos from a click on frame 1. ``photos`` holds the paths,
    ``prompts`` is an `ObjectPrompts`.

    >>> choice = choose_device("cpu")
    >>> loaded = load_model(BUNDLED, None, choice.device)
    >>> source = FrameSource(photos, loaded.model.image_size)
    >>> plan = plan_object(prompts, range(1, len(photos) + 1), "both")
    >>> works = [schedule_for(plan, plan.results)]
    >>> steps = Sam2Adapter(loaded.model, len(photos))
    >>> session = Session(steps, source, PhotoSizes(1920, 1080), works, choice)
    >>> areas = {}
    >>> session.run(lambda result: areas.update({result.frame: result.scores.area}))
    """

    def __init__(
        self,
        steps: Sam2Adapter,
        frames: Frames,
        sizes: PhotoSizes,
        works: Iterable[ObjectSchedule],
        choice: DeviceChoice,
        *,
        max_conditioning: int = MAX_CONDITIONING,
        panorama: bool = False,
        guarded: bool = False,
        look: ClickLook | None = None,
        shelves: Mapping[int, ConditioningStore] | None = None,
        fills_shelves: bool = True,
    ) -> None:
        self._frames = frames
        self._sizes = sizes
        self._works = {work.plan.object_id: work for work in works}
        self._choice = choice
        self._steps = steps
        self._look = look
        self._reach = MemoryReach.of(steps.model, max_conditioning)
        self._position = torch.empty(0)  # set when a run begins, in its number format
        self._conditioning = {
            object_id: ConditioningMemories(
                (shelves or {}).get(object_id), choice.device, writes=fills_shelves
            )
            for object_id in self._works
        }
        self._panorama = panorama
        self._guarded = guarded

    def run(
        self,
        on_result: Callable[[FrameResult], None],
        *,
        cancelled: Callable[[], bool] = lambda: False,
        on_remembered: Callable[[int, Step, MemoryBank], None] = lambda *_: None,
    ) -> None:
        """Compute everything in the schedules.

        Parameters
        ----------
        on_result
            Gets every matte as soon as it exists. A frame tracked from both sides gives two.
        cancelled
            Called between the stages of a frame.
        on_remembered
            Called with an object's id, the step just tracked, and the bank that now remembers it.
            It is called after ``on_result`` has taken that frame. When ``on_result`` takes the next
            frame, the bank already holds that one too.

        Raises
        ------
        Cancelled
            As soon as ``cancelled`` returns True.
        FootageError
            A frame can't be read.
        """
        with self._choice.computing():
            self._position = memory_position(self._steps.model)
            self._condition(on_result, cancelled)
            for direction in DIRECTIONS:
                self._propagate(direction, on_result, cancelled, on_remembered)

    def _condition(
        self, on_result: Callable[[FrameResult], None], cancelled: Callable[[], bool]
    ) -> None:
        wanted = sorted(set().union(*(work.conditioning for work in self._works.values())))
        with contextlib.closing(self.encoded(wanted, cancelled)) as photos:
            for frame, photo in photos:
                for object_id, work in self._works.items():
                    if frame not in work.conditioning:
                        continue
                    stop_if(cancelled)
                    prompts = next(e for e in work.plan.conditioning if e.frame == frame)
                    view = self._view_of(work.plan, prompts)
                    image = photo.at(view)
                    tensors = self._tensors(prompts, view)
                    prediction = self._steps.condition(frame - 1, image, tensors)
                    if self._look is not None and tensors.mask is None:
                        prediction = self._look(prediction, prompts)
                    memory, _ = self._steps.remember(image, prediction, from_user=True)
                    result = frame_result(object_id, frame, prediction, prompted=True, view=view)
                    towards = roll_to_matte(result.logits, view.roll) if self._panorama else 0
                    self._conditioning[object_id].add(frame - 1, Conditioned(memory, towards))
                    if frame in work.plan.results:
                        on_result(result)

    def _propagate(
        self,
        direction: Direction,
        on_result: Callable[[FrameResult], None],
        cancelled: Callable[[], bool],
        on_remembered: Callable[[int, Step, MemoryBank], None],
    ) -> None:
        parts = {
            object_id: {
                frame: part
                for part in work.parts
                if part.segment.direction == direction
                for frame in part.frames
            }
            for object_id, work in self._works.items()
        }
        banks: dict[int, MemoryBank] = {}
        begun: dict[int, SegmentPart] = {}
        order = sorted(set().union(*parts.values()), reverse=direction == "backward")
        with contextlib.closing(self.encoded(order, cancelled)) as photos:
            for frame, photo in photos:
                for object_id, work in self._works.items():
                    part = parts[object_id].get(frame)
                    if part is None:
                        continue
                    stop_if(cancelled)
                    if begun.get(object_id) is not part:  # its first frame may be missing
                        begun[object_id] = part
                        banks[object_id] = self._bank(object_id, part)
                    bank = banks[object_id]
                    on_result(self._track(work.plan, frame, photo, bank, direction))
                    on_remembered(object_id, Step(direction, frame), bank)

    def _bank(self, object_id: int, part: SegmentPart) -> MemoryBank:
        """Return the bank as it is when the part begins."""
        shown = self._conditioning[object_id].of([at - 1 for at in part.segment.conditioning])
        if self._guarded:
            reverse = part.segment.direction == "backward"
            bank: MemoryBank = GuardedBank(self._reach, self._position, shown, reverse=reverse)
        else:
            bank = MemoryBank(self._reach, self._position, shown)
        if part.state is not None:
            state = part.state
            bank.restore(
                dataclasses.replace(
                    state,
                    corrected=self._here(state.corrected),
                    recent=self._here(state.recent),
                )
            )
        return bank

    def _here(self, memories: Mapping[int, FrameMemory]) -> dict[int, FrameMemory]:
        """Return the memories on this session's device."""
        return {at: entry.to(self._choice.device) for at, entry in memories.items()}

    def _track(
        self,
        plan: ObjectPlan,
        frame: int,
        photo: Views,
        bank: MemoryBank,
        direction: Direction,
    ) -> FrameResult:
        """Segment one object on one frame from memory, and remember the result."""
        index, reverse = frame - 1, direction == "backward"
        correction, fit = plan.correction(frame), True
        refines = frame in plan.refined
        if correction is not None and refines:
            view = self._view_of(plan, correction)
        else:
            view = self._view_near(plan, index, bank)
        image = photo.at(view)
        prediction = self._steps.track(index, image, bank, reverse=reverse)
        if isinstance(bank, GuardedBank) and correction is None:
            prediction, fit = bank.judge(prediction)
        prompts = None if correction is None else self._tensors(correction, view)
        # If all clicks lie outside the view, no point is left and there is nothing to correct.
        corrected = prompts is not None and prompts.points is not None
        if prompts is not None and corrected:
            prediction = self._steps.correct(
                index, image, bank, prompts, prediction, reverse=reverse
            )
            if self._look is not None and correction is not None:
                prediction = self._look(prediction, correction)
        result = dataclasses.replace(
            frame_result(
                plan.object_id,
                frame,
                prediction,
                prompted=corrected,
                view=view,
                leaves_crumbs=self._steps.takes_turns and not corrected,
            ),
            direction=direction,
        )
        towards = roll_to_matte(result.logits, view.roll) if self._panorama else 0
        if prediction.rejects:
            bank.forget_tracked()
        if fit:
            memory, _ = self._steps.remember(image, prediction, from_user=corrected)
            if corrected:
                bank.add_corrected(index, memory)
            else:
                bank.add(index, memory)
            if refines:
                self._conditioning[plan.object_id].add(index, Conditioned(memory, towards))
        if self._panorama:
            bank.last_view = LastView(index, towards)
        return result

    def _view_of(self, plan: ObjectPlan, prompts: FramePrompts) -> View:
        """Return the view with the prompts in the middle."""
        if not self._panorama:
            return View()
        side = self._steps.model.image_size
        return view_of(prompts, self._sizes.of(prompts.frame)[0], side, near=plan.near)

    def _view_near(self, plan: ObjectPlan, index: int, bank: MemoryBank) -> View:
        """Return the view of the matte nearest in time: the last tracked one or a conditioning frame's."""
        if not self._panorama:
            return View()
        places = [*([] if bank.last_view is None else [bank.last_view.index]), *bank.conditioning]
        nearest = min(places, key=lambda at: abs(at - index))
        if bank.last_view is not None and nearest == bank.last_view.index:
            return View(bank.last_view.roll, plan.near)
        return View(self._conditioning[plan.object_id].roll(nearest), plan.near)

    def encoded(
        self, order: Sequence[int], cancelled: Callable[[], bool]
    ) -> Generator[tuple[int, Views], None, None]:
        """Yield (frame, its features in any view) in this order, decoded ahead of use."""
        stream = self._frames.stream([frame - 1 for frame in order])
        try:
            for index, tensor in stream:
                stop_if(cancelled)
                yield index + 1, self._views(tensor)
        finally:
            if isinstance(stream, Generator):
                stream.close()  # stops the decoder's thread now, not at garbage collection

    def _views(self, frame: Tensor) -> Views:
        return Views(lambda view: self._steps.encode(seen(frame, view)))

    def _tensors(self, prompts: FramePrompts, view: View) -> PromptTensors:
        side = self._steps.model.image_size
        size = self._sizes.of(prompts.frame)
        return tensors_seen(prompts, size, view, side, self._choice.device)


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Raise Cancelled when ``cancelled`` returns True."""
    if cancelled():
        raise Cancelled
