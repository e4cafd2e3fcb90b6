# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds of looking, clicking on the worst error, and propagating again.

A round takes the frame with the least J and sets one click in the deepest point of its largest
error (`clicking.next_click`). Then it propagates all prompts so far into the same store, as a user
does.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import ModelChoice
from sam2_splat_addon.core.settings import RunSettings
from tools.research.bench.evaluation import progress
from tools.research.bench.evaluation.clicking import deepest_clicks, next_click, obeys
from tools.research.bench.evaluation.measures import boundary_f, region_iou
from tools.research.bench.evaluation.prompting import PromptKind, prompts_for
from tools.research.bench.evaluation.sources import Clip
from tools.research.bench.evaluation.tracking import Tracked, track

Mask = NDArray[np.bool_]


class CorrectedRound(msgspec.Struct, frozen=True):
    """One click, and the sequence propagated from it and all earlier clicks.

    Attributes
    ----------
    frame
        The clicked frame, from 1.
    x, y, include
        As in `PointPrompt`.
    obeyed
        Whether the frame's new mask has the click's own pixel as the click says.
    frame_j_before, frame_j_after
        J of that frame.
    j, f, jf
        Means over the sequence afterwards. J&F is the mean of the two.
    kept
        The part of all corrective clicks so far that are obeyed now.
    """

    frame: int
    x: float
    y: float
    include: bool
    obeyed: bool
    frame_j_before: float
    frame_j_after: float
    j: float
    f: float
    jf: float
    kept: float


class Correction(msgspec.Struct, frozen=True):
    """One sequence, corrected round by round.

    Attributes
    ----------
    clip, prompt
        What was segmented, and the kind of the first prompt.
    j, f, jf
        Before the first corrective click.
    rounds
        In order. Fewer than asked for if nothing is wrong any more.
    """

    clip: str
    prompt: str
    j: float
    f: float
    jf: float
    rounds: tuple[CorrectedRound, ...]

    def jf_after(self, rounds: int) -> float:
        """J&F after a number of rounds. A sequence that ended earlier keeps its last value."""
        return ([self.jf] + [entry.jf for entry in self.rounds])[: rounds + 1][-1]

    def worst_step(self) -> float:
        """The least change of J&F from one round to the next; 0 without rounds."""
        each = [self.jf] + [entry.jf for entry in self.rounds]
        return min((b - a for a, b in itertools.pairwise(each)), default=0.0)


class Corrector:
    """One sequence and its clicks so far.

    Parameters
    ----------
    model, image_size, settings
        As in `tracking.track`.
    clip
        Its first subject is segmented.
    kind
        The first prompt's kind, on the first frame.
    store
        Folder of its mattes.

    Raises
    ------
    SplatError
        Photos or truths are wrong.
    """

    def __init__(
        self,
        model: ModelChoice,
        image_size: int,
        settings: RunSettings,
        clip: Clip,
        kind: PromptKind,
        store: Path,
    ) -> None:
        self._model = model
        self._image_size = image_size
        self._settings = settings
        self._clip = clip
        self._store = store
        self._prompts = prompts_for(clip, kind, deepest_clicks)
        self._truths = {
            index + 1: truth
            for index in clip.scored
            if (truth := clip.truth(index, clip.subjects[0])) is not None
        }
        self.clicks: list[tuple[int, PointPrompt]] = []

    def propagate(self) -> Tracked:
        """Bring the mattes up to date; raises SplatError."""
        return track(
            self._model,
            self._image_size,
            self._clip.photos,
            self._prompts,
            settings=self._settings,
            store=self._store,
        )

    def masks(self, tracked: Tracked) -> dict[int, Mask]:
        """Return the mask, (H, W), of each frame that has a truth."""
        number = self._clip.subjects[0].id
        masks = {}
        for frame, truth in self._truths.items():
            matte = tracked.mattes.get((number, frame))
            height, width = truth.shape
            masks[frame] = np.zeros_like(truth) if matte is None else matte.mask(width, height)
        return masks

    def measure(self, masks: dict[int, Mask]) -> tuple[dict[int, float], float, float]:
        """Return J by frame, its mean, and the mean F."""
        js = {frame: region_iou(mask, self._truths[frame]) for frame, mask in masks.items()}
        fs = [boundary_f(mask, self._truths[frame]) for frame, mask in masks.items()]
        return js, float(np.mean(list(js.values()))), float(np.mean(fs))

    def click(self, masks: dict[int, Mask], js: dict[int, float]) -> tuple[int, PointPrompt] | None:
        """Set a click on the worst frame and return it. None if nothing is wrong."""
        frame = min(js, key=lambda number: js[number])
        click = next_click(masks[frame], self._truths[frame])
        if click is None:
            return None
        self.clicks.append((frame, click))
        self._prompts = with_click(self._prompts, frame, click)
        return frame, click


def with_click(prompts: PromptSet, frame: int, click: PointPrompt) -> PromptSet:
    """Return the same prompts with one more click for the first object."""
    thing = prompts.objects[0]
    at = {entry.frame: entry for entry in thing.frames}
    here = at.get(frame, FramePrompts(frame))
    at[frame] = msgspec.structs.replace(here, points=(*here.points, click))
    frames = tuple(at[number] for number in sorted(at))
    objects = (ObjectPrompts(thing.id, thing.name, frames), *prompts.objects[1:])
    return msgspec.structs.replace(prompts, objects=objects)


def correct(
    model: ModelChoice,
    image_size: int,
    settings: RunSettings,
    clip: Clip,
    kind: PromptKind,
    rounds: int,
    on_round: Callable[[int, Tracked], None] = lambda done, tracked: None,
) -> Correction:
    """Propagate a sequence and correct it for a number of rounds.

    Parameters
    ----------
    model, image_size, settings, clip, kind
        As in `Corrector`.
    rounds
        Largest number of rounds.
    on_round
        Gets the number of rounds done, from 0, and the mattes then.

    Raises
    ------
    SplatError
        Model, photos or truths are wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        at = Corrector(model, image_size, settings, clip, kind, Path(folder))
        tracked = at.propagate()
        on_round(0, tracked)
        masks = at.masks(tracked)
        js, j, f = at.measure(masks)
        begun = (j, f, (j + f) / 2)
        done: list[CorrectedRound] = []
        while len(done) < rounds:
            clicked = at.click(masks, js)
            if clicked is None:
                break
            frame, click = clicked
            before = js[frame]
            tracked = at.propagate()
            masks = at.masks(tracked)
            js, j, f = at.measure(masks)
            kept = [obeys(masks[number], point) for number, point in at.clicks]
            done.append(
                CorrectedRound(
                    frame,
                    click.x,
                    click.y,
                    click.include,
                    kept[-1],
                    before,
                    js[frame],
                    j,
                    f,
                    (j + f) / 2,
                    float(np.mean(kept)),
                )
            )
            on_round(len(done), tracked)
    return Correction(clip.name, kind, *begun, tuple(done))


def correct_each(
    model: ModelChoice,
    image_size: int,
    settings: RunSettings,
    name: str,
    clips: Sequence[Clip],
    kind: PromptKind,
    rounds: int,
    on_round: Callable[[Clip, int, Tracked], None] = lambda clip, done, tracked: None,
) -> tuple[Correction, ...]:
    """Correct several sequences of one ``name``, one after the other, and show progress.

    ``on_round`` also gets the sequence. The others are as in `correct`.
    """

    def shown(number: int, clip: Clip, done: int, tracked: Tracked) -> None:
        progress.show(f"corrections, {name} {number}/{len(clips)} {clip.name}: round {done}")
        on_round(clip, done, tracked)

    found = tuple(
        correct(model, image_size, settings, clip, kind, rounds, partial(shown, number, clip))
        for number, clip in enumerate(clips, start=1)
    )
    progress.end()
    return found
