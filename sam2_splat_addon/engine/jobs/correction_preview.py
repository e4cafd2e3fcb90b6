# SPDX-License-Identifier: GPL-3.0-or-later
"""Previews of frames that are tracked and then corrected.

The mask of such a frame depends on the frames before it. A propagation's own session tracks them,
from the nearest memories on disk. The memories that it makes are kept in the process, so the next
click on the same frame costs only one frame. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...core.footage.damaged_photos import read_damaged
from ...core.mattes.store import MatteRecord
from ...core.protocol import PreviewMatte, PropagateRequest
from ...core.settings import GUARDED, OBEYING
from ..accel.allocator import keeping_freed_memory
from ..images.frame_source import FrameSource
from ..models.checkpoints import LoadedModel
from ..models.device import DeviceChoice
from ..refine.zoom_refine import click_look
from ..tracking.bidirectional import better
from ..tracking.conditioning_memory import ConditioningStore
from ..tracking.memory_bank import BankState, MemoryBank
from ..tracking.panorama import Views, frame_width
from ..tracking.plan import Direction, Step
from ..tracking.results import FrameResult
from ..tracking.sam2_adapter import Sam2Adapter
from ..tracking.schedule import ObjectSchedule, schedule_for
from ..tracking.session import Session
from . import kept_banks
from .feature_cache import FeatureCache
from .propagate import objects_of
from .run_store import StoredObject

FEW: Final = 4
"""Number of frames that a preview tracks if no propagation has left memories.

A click needs a quick answer, and with a large model on a CPU a frame takes seconds. Further away, a
preview shows the result of the clicks alone, until the user propagates.
"""


class CorrectionPreviewer:
    """Track and correct single frames with one model.

    Parameters
    ----------
    loaded, choice
        The model, and where it runs.
    features
        Features of photos, shared with other previews.
    """

    def __init__(self, loaded: LoadedModel, choice: DeviceChoice, features: FeatureCache) -> None:
        self._loaded = loaded
        self._choice = choice
        self._features = features

    def mattes(
        self,
        request: PropagateRequest,
        frame: int,
        object_ids: Collection[int],
        threads: int,
        dropped: Callable[[], bool],
    ) -> tuple[PreviewMatte, ...]:
        """Return what a propagation would write for these objects on a frame where they are corrected.

        An object has no matte here if the request does not correct it on this frame. It also has
        none if its prompts say by themselves where it is and the way to track is long.

        Parameters
        ----------
        request
            The propagation with all prompts.
        frame, object_ids
            What to preview.
        threads
            Number of threads that torch uses.
        dropped
            Called between steps. True means that nobody waits for the answer any more.

        Raises
        ------
        SplatError
            The request is wrong, or a photo can't be read.
        Cancelled
            ``dropped`` returned True. The memories made until then are kept.
        """
        objects = {
            at.plan.object_id: at
            for at in objects_of(request, self._loaded, self._choice, threads)
            if at.plan.object_id in object_ids
            and at.plan.correction(frame) is not None
            and frame in at.plan.results
        }
        works = []
        for at in list(objects.values()):
            work = schedule_for(at.plan, {frame}, self._saved(at), conditioned=at.conditioning.has)
            if frame in at.plan.refined and _is_far(work, at):
                del objects[at.plan.object_id]
            else:
                works.append(work)
        if not works:
            return ()
        found: dict[int, MatteRecord] = {}
        ways: dict[tuple[int, Direction], str] = {}  # the newest key of each pass
        footage = request.footage

        def on_result(result: FrameResult) -> None:
            if result.frame != frame or result.object_id not in objects:
                return
            at = objects[result.object_id]
            record = at.record(result, footage.sizes.shape(frame))
            if result.object_id in found:  # from the other side
                record = better(found[result.object_id], record, at.keys.mattes[frame])
            found[result.object_id] = record

        def on_remembered(object_id: int, step: Step, bank: MemoryBank) -> None:
            if step.frame != frame:
                key = objects[object_id].keys.steps[step]
                way = (object_id, step.direction)
                kept_banks.shared.keep(key, bank.state(), in_place_of=ways.get(way))
                ways[way] = key

        shelves = {object_id: at.conditioning for object_id, at in objects.items()}
        session = _KeepingSession(
            request, works, shelves, self._loaded, self._choice, self._features, dropped
        )
        with keeping_freed_memory():
            session.run(on_result, cancelled=dropped, on_remembered=on_remembered)
        return tuple(
            PreviewMatte.of(object_id, record.logits, record.scores)
            for object_id, record in sorted(found.items())
        )

    def _saved(self, at: StoredObject) -> Callable[[Step], BankState | None]:
        return lambda step: kept_banks.shared.get(at.keys.steps[step]) or at.saved(step)


def _is_far(work: ObjectSchedule, at: StoredObject) -> bool:
    """Whether more frames must be tracked than lie between two memories on disk."""
    tracked = sum(len(part.frames) for part in work.parts)
    # If a run with these prompts had finished, the conditioning memories would be on disk.
    return tracked > (FEW if work.conditioning else at.spacing)


class _KeepingSession(Session):
    """A session that takes its photos from the kept features."""

    def __init__(
        self,
        request: PropagateRequest,
        works: Sequence[ObjectSchedule],
        shelves: Mapping[int, ConditioningStore],
        loaded: LoadedModel,
        choice: DeviceChoice,
        features: FeatureCache,
        cancelled: Callable[[], bool],
    ) -> None:
        footage = request.footage
        self._paths = footage.paths
        self._raw = request.settings.raw_photos
        self._features = features
        self._damaged = read_damaged(Path(request.store), footage.fingerprint)
        sizes = footage.sizes.upright
        self._wide = frame_width(sizes, panorama=request.settings.panorama)
        steps = Sam2Adapter(
            loaded.model, len(footage.paths), keeps_prompts=OBEYING[request.settings.obey_clicks]
        )
        super().__init__(
            steps,
            FrameSource(
                [Path(path) for path in footage.paths],
                loaded.model.image_size,
                raw=self._raw,
            ),
            sizes,
            works,
            choice,
            panorama=request.settings.panorama,
            guarded=request.settings.memory == GUARDED,
            look=click_look(
                steps,
                lambda index, part, _mirrored: features.close_up(
                    self._paths[index], part, self._raw, steps
                ),
                sizes,
                choice,
                panorama=request.settings.panorama,
                cancelled=cancelled,
            ),
            shelves=shelves,
            fills_shelves=False,
        )

    def encoded(
        self, order: Sequence[int], cancelled: Callable[[], bool]
    ) -> Generator[tuple[int, Views], None, None]:
        for frame in order:
            if frame in self._damaged and frame != order[-1]:  # the last one is the frame asked for
                continue
            path = self._paths[frame - 1]
            yield frame, self._features.views(path, self._wide, self._raw, self._steps, cancelled)
