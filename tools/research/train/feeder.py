# SPDX-License-Identifier: GPL-3.0-or-later
"""Build training batches in a separate process.

Batch number `i` of a seed has its own random generator. So a resumed run sees the same batches as
an uninterrupted one, as long as no new captures appear.
"""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Full
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.research.train.clips import SUBJECT_ID, sample_clip
from tools.research.train.library import OCCLUDER_ID, Image, Library
from tools.research.train.photos import PhotoLibrary
from tools.research.train.still_clips import Sample, sample_moving, sample_still

_MIN_AREA_SHARE: Final = 0.003  # of the frame: smaller targets get no prompt
_SUBJECT_SHARE: Final = 0.85  # of rendered clips: the subject is the target
_RESCAN_EVERY: Final = 40  # batches
_CAPTURE_SHARE: Final = 0.8  # of rendered clips: as rendered; the others are pasted on photos
_GROUNDS: Final = 300  # photos that objects are pasted on
_GROUND_SIDE: Final = 640  # px


@dataclass(frozen=True)
class BatchPlan:
    """What batches contain.

    Attributes
    ----------
    size : int
        Side S of the frames, px.
    stills, clips, length : int
        Number of photos in a batch of stills; number of clips in a batch of clips; frames of each
        clip.
    moving : float
        Fraction of batches that are clips.
    rendered : float
        Fraction of photos and clips that are rendered. The others are real.
    seed : int
        Seed of the whole run.
    chairs : float
        How many times as often a chair is drawn as any other kind.
    """

    size: int
    stills: int
    clips: int
    length: int
    moving: float
    rendered: float
    seed: int
    chairs: float = 2.0


@dataclass(frozen=True)
class Batch:
    """One step's data: one subject for each clip, seen on its first frame.

    Attributes
    ----------
    frames : ndarray of uint8
        (C, T, S, S, 3) RGB. T is 1 for stills.
    targets : ndarray of uint8
        (C, T, S/2, S/2) visible coverage, 0..255.
    """

    frames: Image
    targets: Image


def make_batch(plan: BatchPlan, scenes: Library, photos: PhotoLibrary | None, index: int) -> Batch:
    """Draw batch number `index`."""
    rng = np.random.default_rng([plan.seed, index])
    moving = rng.random() < plan.moving
    count, length = (plan.clips, plan.length) if moving else (plan.stills, 1)
    samples = []
    for _ in range(count):
        if photos is None or (scenes.scenes and rng.random() < plan.rendered * scenes.trust):
            samples.append(_rendered(rng, scenes, plan.size, length))
        elif moving:
            samples.append(sample_moving(rng, photos, plan.size, length))
        else:
            samples.append(sample_still(rng, photos, plan.size))
    half = plan.size // 2
    targets = np.empty((count, length, half, half), np.uint8)
    for at, sample in enumerate(samples):
        for t, mask in enumerate(sample.masks):
            whole = mask.astype(np.uint8) * 255
            targets[at, t] = cv2.resize(whole, (half, half), interpolation=cv2.INTER_AREA)
    return Batch(np.stack([sample.frames for sample in samples]), targets)


def _rendered(rng: np.random.Generator, scenes: Library, size: int, length: int) -> Sample:
    while True:
        clip = sample_clip(rng, scenes, size, length, _CAPTURE_SHARE, 0.6)
        counts = np.bincount(clip.ids[0].ravel(), minlength=256)
        usable = [i for i in range(1, OCCLUDER_ID) if counts[i] >= _MIN_AREA_SHARE * size**2]
        if usable:
            break
    wants_subject = SUBJECT_ID in usable and rng.random() < _SUBJECT_SHARE
    chosen = SUBJECT_ID if wants_subject else usable[int(rng.integers(len(usable)))]
    masks: NDArray[np.bool_] = clip.ids == chosen
    return Sample(clip.frames, masks)


class Feeder:
    """A process that makes batches ahead of use, in order.

    Parameters
    ----------
    plan : BatchPlan
        What to make.
    scenes : Path
        Folder of captures. It is read again from time to time.
    photos : Path or None
        Folder of real photos with masks, see `photos`.
    tests : Path or None
        Folder of pictures that must not be used for training.
    first : int
        Number of the first batch.
    """

    def __init__(
        self, plan: BatchPlan, scenes: Path, photos: Path | None, tests: Path | None, first: int
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: Queue[Batch] = context.Queue(maxsize=8)
        self._process = context.Process(
            target=_serve, args=(self._queue, plan, scenes, photos, tests, first), daemon=True
        )
        self._process.start()

    def next(self) -> Batch:
        """Wait for the next batch and return it.

        Raises
        ------
        RuntimeError
            The process died. Its traceback is on standard error.
        """
        while self._queue.empty():
            self._process.join(0.01)
            if self._process.exitcode is not None and self._queue.empty():
                raise RuntimeError("The batch process died; its traceback stands above.")
        return self._queue.get()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _serve(
    queue: Queue[Batch],
    plan: BatchPlan,
    scenes: Path,
    photos: Path | None,
    tests: Path | None,
    first: int,
) -> None:
    if hasattr(os, "nice"):
        os.nice(1)
    cv2.setNumThreads(1)
    library = Library(scenes, chairs=plan.chairs)
    real = None
    if photos is not None:
        pictures = (
            [] if tests is None else sorted(tests.rglob("*.jpg")) + sorted(tests.rglob("*.png"))
        )
        real = PhotoLibrary.read(photos, pictures)
        counts = {kind: len(found) for kind, found in real.photos.items()}
        print(f"photos: {counts}, held out {len(real.held_out)}, ", end="", flush=True)
        print(f"left out as like a test's {real.left_out}", flush=True)
        library.grounds = real.grounds(_GROUNDS, _GROUND_SIDE)
    index = first
    while True:
        if (index - first) % _RESCAN_EVERY == 0 and library.rescan():
            print(f"captures: {len(library.scenes)}", flush=True)
        batch = make_batch(plan, library, real, index)
        while True:
            parent = multiprocessing.parent_process()
            if parent is None or not parent.is_alive():
                return  # the trainer is gone, so nobody needs batches
            try:
                queue.put(batch, timeout=5.0)
                break
            except Full:
                continue
        index += 1
