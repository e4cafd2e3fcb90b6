# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one model over one clip, as the worker does."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.checkpoint_catalogue import CHECKPOINTS
from sam2_splat_addon.core.errors import CheckpointError
from sam2_splat_addon.core.footage.headers import read_header
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.store import MatteScores, MatteStore
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.protocol import (
    FootageFiles,
    FrameDone,
    ModelChoice,
    PropagateRequest,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import propagate
from sam2_splat_addon.engine.models.architectures import BUNDLED, MODEL_NAMES


@dataclass(frozen=True)
class Matte:
    """What the matte store holds for one object on one frame.

    Attributes
    ----------
    logits
        (h, w) float16. Inside is > 0.
    scores
        The model's own scores.
    """

    logits: NDArray[np.float16]
    scores: MatteScores

    @property
    def is_absent(self) -> bool:
        """Whether the model says that the object is not on this frame."""
        return self.scores.object_score <= 0 or self.scores.area == 0

    def mask(self, width: int, height: int) -> NDArray[np.bool_]:
        """The matte at the footage's size, (height, width), as the bake makes it."""
        return upsample_binary(self.logits, width, height)


@dataclass(frozen=True)
class Tracked:
    """A clip's mattes and when they came.

    Attributes
    ----------
    mattes
        By (object id, frame from 1).
    times
        Wall and CPU seconds when each matte was in the store, in the order of the run.
    """

    mattes: dict[tuple[int, int], Matte]
    times: tuple[tuple[float, float], ...]

    def pace(self, last: int = 0) -> tuple[float, float]:
        """Return wall and CPU seconds for one matte, over the last few, or over all but the first.

        This includes reading the photo, but not loading the model.
        """
        steps = min(last or len(self.times), len(self.times) - 1)
        if steps == 0:
            return 0.0, 0.0
        begin, end = self.times[-1 - steps], self.times[-1]
        return (end[0] - begin[0]) / steps, (end[1] - begin[1]) / steps


def find_model(name: str, weights: Path | None) -> tuple[str, Path | None]:
    """Return the architecture and checkpoint that the command line means. None is the bundled one.

    Parameters
    ----------
    name
        A model's name, its last word (``tiny``), or a checkpoint's path. A path with an official
        checkpoint's file name means that model. Any other path means the bundled model.
    weights
        A checkpoint, or a state that training saved. None takes what the name says.

    Raises
    ------
    CheckpointError
        There is no such model, or no such file.
    """
    for known in MODEL_NAMES:
        if name in (known, known.removeprefix("sam2.1_hiera_")):
            return known, weights
    path = Path(name)
    if not path.is_file():
        raise CheckpointError(
            f"There is no model or checkpoint called {name!r}.",
            f"Choose a file or one of {', '.join(MODEL_NAMES)}.",
        )
    return (path.stem if path.stem in CHECKPOINTS else BUNDLED), path


def track(
    model: ModelChoice,
    image_size: int,
    photos: Sequence[Path],
    prompts: PromptSet,
    on_matte: Callable[[int], None] = lambda done: None,
    settings: RunSettings = RunSettings(direction="forward"),  # noqa: B008 - frozen
    store: Path | None = None,
) -> Tracked:
    """Carry prompts forwards through photos, in this process.

    Parameters
    ----------
    model
        With its checkpoint, device and threads.
    image_size
        Side of the model's input, px. 0 is its own size.
    photos
        In frame order, all of one size.
    prompts
        At the photos' size or with the same shape.
    on_matte
        Gets the number of mattes done.
    settings
        Of the run.
    store
        The folder of the mattes, from which a later run continues. None uses a temporary folder.

    Raises
    ------
    SplatError
        Model, prompts or photos are wrong.
    """
    header = read_header(photos[0])
    paths = tuple(str(photo.resolve()) for photo in photos)
    times: list[tuple[float, float]] = []

    def done(event: FrameDone) -> None:
        times.append((time.perf_counter(), time.process_time()))
        on_matte(len(times))

    with contextlib.ExitStack() as held:
        folder = store or Path(held.enter_context(tempfile.TemporaryDirectory()))
        request = PropagateRequest(
            FootageFiles(str(photos[0].parent), paths, header.width, header.height, ""),
            prompts,
            str(folder),
            model,
            settings,
        )
        propagate.run(
            request,
            on_progress=lambda event: None,
            on_frame_done=done,
            on_log=lambda event: None,
            cancelled=lambda: False,
            image_size=image_size,
        )
        kept = MatteStore.open(folder)
        records = {
            (object_id, frame): kept.read(object_id, frame)
            for object_id in kept.objects()
            for frame in kept.frames(object_id)
        }
    mattes = {key: Matte(record.logits, record.scores) for key, record in records.items()}
    return Tracked(mattes, tuple(times))
