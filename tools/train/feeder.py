# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds training batches in a process of its own. May import: numpy, OpenCV.

Batch number `i` of a seed is drawn from a generator of its own, so a resumed run sees the batches
that an uninterrupted one would have seen (as long as no new captures appear).
"""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Full
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.train.clips import LOOKS, SUBJECT_ID, Clip, sample_clip, sample_look
from tools.train.library import OCCLUDER_ID, Image, Library
from tools.train.prompts import box, clicks

_MIN_AREA_SHARE: Final = 0.003  # of the frame: smaller targets are not prompted
_SUBJECT_SHARE: Final = 0.8  # of clips with one object in which that is the subject
_RESCAN_EVERY: Final = 40  # batches
MAX_CLICKS: Final = 3


@dataclass(frozen=True)
class BatchPlan:
    """What a batch holds.

    Attributes
    ----------
    size : int
        Side S of the frames, px.
    clips, length, objects : int
        Clips C, frames T of each, objects K followed in each.
    rendered : float
        Share of clips that are a capture as rendered.
    seed : int
        Of the whole run.
    chairs : float
        How many times as often a chair is drawn as any other kind.
    augment : float
        0 to 1: how often rendered clips are changed in light, noise and crop.
    looks : float
        Share of batches that are photos and close-ups of them instead of clips: about as many
        frames, one object each.
    """

    size: int
    clips: int
    length: int
    objects: int
    rendered: float
    seed: int
    chairs: float = 2.0
    augment: float = 1.0
    looks: float = 0.0


@dataclass(frozen=True)
class Batch:
    """One step's data.

    Attributes
    ----------
    frames : ndarray of uint8
        [C, T, S, S, 3] RGB.
    targets : ndarray of uint8
        [C, K, T, S/2, S/2] visible coverage, 0..255.
    standing : ndarray of uint8
        [C, T, S/4, S/4] coverage by anything that has an id, 0..255: what stands out from the ground.
    points : ndarray of float32
        [C, K, T, MAX_CLICKS, 2] include clicks, px of S; zeros where the object is not seen.
    boxes : ndarray of float32
        [C, K, T, 2, 2] corners, px of S; zeros where the object is not seen.
    windows : ndarray of float32, optional
        Of looks: [C, T - 1, 4] left, top, right, bottom of each frame but the first as shares of the
        one before.
    """

    frames: Image
    targets: Image
    standing: Image
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    windows: NDArray[np.float32] | None = None

    def as_images(self) -> Batch:
        """Return the same frames as C*T clips of one frame each."""
        clips, length = self.frames.shape[:2]

        def split(x: NDArray[Any]) -> NDArray[Any]:  # [C, K, T, ...] to [C*T, K, 1, ...]
            turned = x.swapaxes(1, 2)
            return turned.reshape(clips * length, x.shape[1], 1, *x.shape[3:])

        frames = self.frames.reshape(clips * length, 1, *self.frames.shape[2:])
        standing = self.standing.reshape(clips * length, 1, *self.standing.shape[2:])
        return Batch(frames, split(self.targets), standing, split(self.points), split(self.boxes))


def make_batch(plan: BatchPlan, library: Library, index: int) -> Batch:
    """Draw batch number `index`."""
    rng = np.random.default_rng([plan.seed, index])
    looks = plan.looks > 0 and bool(library.scenes) and rng.random() < plan.looks
    if looks:
        photos = max(1, plan.clips * plan.length // LOOKS)
        plan = replace(plan, clips=photos, length=LOOKS, objects=1)
    made = [_make_clip(rng, plan, library, looks=looks) for _ in range(plan.clips)]
    windows = [clip.windows for clip, _, _, _ in made]
    return Batch(
        frames=np.stack([clip.frames for clip, _, _, _ in made]),
        targets=np.stack([targets for _, targets, _, _ in made]),
        standing=np.stack([_standing(clip) for clip, _, _, _ in made]),
        points=np.stack([points for _, _, points, _ in made]),
        boxes=np.stack([boxes for _, _, _, boxes in made]),
        windows=np.array(windows, np.float32) if looks else None,
    )


def _standing(clip: Clip) -> Image:
    quarter = clip.ids.shape[-1] // 4
    masks = (clip.ids > 0).astype(np.uint8) * 255
    shrunk = [cv2.resize(m, (quarter, quarter), interpolation=cv2.INTER_AREA) for m in masks]
    return np.asarray(shrunk, np.uint8)


def _make_clip(
    rng: np.random.Generator, plan: BatchPlan, library: Library, *, looks: bool = False
) -> tuple[Clip, Image, NDArray[np.float32], NDArray[np.float32]]:
    while True:
        if looks:
            clip = sample_look(rng, library, plan.size, plan.augment)
        else:
            clip = sample_clip(rng, library, plan.size, plan.length, plan.rendered, plan.augment)
        counts = np.bincount(clip.ids[0].ravel(), minlength=256)
        floor = _MIN_AREA_SHARE * plan.size**2
        usable = [i for i in range(1, OCCLUDER_ID) if counts[i] >= floor]
        if usable:
            break
    rng.shuffle(usable)
    # Mostly the subject first, then the rest at random, over again where there are too few.
    if looks or plan.objects > 1 or rng.random() < _SUBJECT_SHARE:
        usable.sort(key=lambda i: i != SUBJECT_ID)
    chosen = [usable[k % len(usable)] for k in range(plan.objects)]
    half = plan.size // 2
    targets = np.empty((plan.objects, plan.length, half, half), np.uint8)
    points = np.zeros((plan.objects, plan.length, MAX_CLICKS, 2), np.float32)
    boxes = np.zeros((plan.objects, plan.length, 2, 2), np.float32)
    for k, label in enumerate(chosen):
        for t in range(plan.length):
            seen = clip.ids[t] == label
            mask = seen.astype(np.uint8) * 255
            targets[k, t] = cv2.resize(mask, (half, half), interpolation=cv2.INTER_AREA)
            if seen.any():
                points[k, t] = clicks(rng, seen, MAX_CLICKS)
                boxes[k, t] = box(rng, seen)
    return clip, targets, points, boxes


class Feeder:
    """A process that makes batches ahead of use, in order.

    Parameters
    ----------
    plan : BatchPlan
        What to make.
    scenes : Path
        Folder of captures, looked at again now and then.
    grounds : Path or None
        Folder of pictures and videos used as grounds.
    first : int
        Number of the first batch.
    """

    def __init__(self, plan: BatchPlan, scenes: Path, grounds: Path | None, first: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: Queue[Batch] = context.Queue(maxsize=8)
        self._process = context.Process(
            target=_serve, args=(self._queue, plan, scenes, grounds, first), daemon=True
        )
        self._process.start()

    def next(self) -> Batch:
        """Return the next batch, waiting for it.

        Raises
        ------
        RuntimeError
            When the process died; its own traceback stands on standard error.
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
    queue: Queue[Batch], plan: BatchPlan, scenes: Path, grounds: Path | None, first: int
) -> None:
    if hasattr(os, "nice"):
        os.nice(1)
    cv2.setNumThreads(1)
    library = Library(scenes, chairs=plan.chairs)
    if grounds is not None:
        library.add_grounds(grounds)
    index = first
    while True:
        if (index - first) % _RESCAN_EVERY == 0 and library.rescan():
            print(f"captures: {len(library.scenes)}", flush=True)
        batch = make_batch(plan, library, index)
        while True:
            parent = multiprocessing.parent_process()
            if parent is None or not parent.is_alive():
                return  # the trainer is gone: so is the need for batches
            try:
                queue.put(batch, timeout=5.0)
                break
            except Full:
                continue
        index += 1
