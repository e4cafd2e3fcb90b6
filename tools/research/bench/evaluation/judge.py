# SPDX-License-Identifier: GPL-3.0-or-later
"""Run what `bench/obedience.py` asks for: set by set, tables, JSON, sheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sam2_splat_addon.core.prompts import FramePrompts, PointPrompt
from sam2_splat_addon.core.settings import Look, ObeyClicks, RunSettings
from tools.research.bench import command
from tools.research.bench.evaluation import (
    chosen,
    corrections,
    obedience_report,
    progress,
    real,
    report,
    sheets,
    still_sheets,
    tracking,
)
from tools.research.bench.evaluation.clicking import deepest_clicks
from tools.research.bench.evaluation.prompting import PROMPT_KINDS, PromptKind, prompts_for
from tools.research.bench.evaluation.scoring import score
from tools.research.bench.evaluation.sources import Clip
from tools.research.bench.evaluation.stills import Clicker, StillScore

Mask = NDArray[np.bool_]
_Named = TypeVar("_Named", real.Still, Clip)

_SHOWN = (1, 2, 3, 5, 10)  # a sheet shows the mask after these numbers of clicks, and the last mask


@dataclass(frozen=True)
class Settings:
    """What to measure, from the command line.

    Attributes
    ----------
    root
        The folder of photos with true masks (see `real`).
    command
        The command line, for the results.
    model, weights, image_size, device, threads, refined, second_look
        See `chosen.find`. The last two change sequences and corrections, but not stills.
    obey_clicks
        See `RunSettings`.
    kinds
        Kinds of prompt for sequences. () is all.
    rounds
        Corrective clicks on each sequence.
    every
        See `real.sequences`.
    only
        Photos and sequences whose name contains one of these. () is all.
    most
        Most photos or sequences of each set. 0 is all.
    json
        File for the results, or None.
    sheets
        Folder for contact sheets, or None.
    """

    root: Path
    command: str
    model: str
    weights: Path | None
    image_size: int
    device: str
    threads: int
    refined: bool
    second_look: Look
    obey_clicks: ObeyClicks
    kinds: tuple[PromptKind, ...]
    rounds: int
    every: int
    only: tuple[str, ...]
    most: int
    json: Path | None
    sheets: Path | None


class Judge:
    """One model and its results so far; raises SplatError if there is no such model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model, facts = chosen.find(
            settings.model,
            settings.weights,
            settings.image_size,
            settings.device,
            settings.threads,
            refined=settings.refined,
            second_look=settings.second_look,
        )
        self._run = RunSettings(
            direction="forward",
            second_look=settings.second_look,
            obey_clicks=settings.obey_clicks,
        )
        self._found = obedience_report.Obedience(settings.command, facts)
        print(report.facts_line(facts), flush=True)

    def stills(self) -> None:
        """Click on single photos and print their table; raises SplatError."""
        scores: list[StillScore] = []
        wanted = list(self._wanted(real.stills(self._settings.root)))
        for number, still in enumerate(wanted, start=1):
            steps: list[tuple[FramePrompts, Mask, float]] = []
            keep = (
                (lambda *step, steps=steps: steps.append(step))
                if self._settings.sheets
                else (lambda prompts, mask, iou: None)
            )
            clicker = Clicker(
                self._model,
                self._settings.image_size,
                still,
                keep,
                obey_clicks=self._settings.obey_clicks,
            )
            scores.append(clicker.score())
            progress.show(f"stills {number}/{len(wanted)} {still.name}")
            if self._settings.sheets is not None:
                target = self._settings.sheets / "stills" / f"{still.group}_{still.name}.jpg"
                still_sheets.write_clicks_sheet(still.photo, list(_shown(steps)), target)
        progress.end()
        if scores:
            self._keep(stills=tuple(scores))
            print(obedience_report.stills_table(scores), end="\n\n", flush=True)

    def sequences(self) -> None:
        """Track sequences from each kind of prompt and print their tables; raises SplatError."""
        for name, clips in self._sequences():
            scores = []
            for number, clip in enumerate(clips, start=1):
                for kind in self._settings.kinds or PROMPT_KINDS:
                    progress.show(f"{name} {number}/{len(clips)} {clip.name} {kind}")
                    tracked = tracking.track(
                        self._model,
                        self._settings.image_size,
                        clip.photos,
                        prompts_for(clip, kind, deepest_clicks),
                        settings=self._run,
                    )
                    subject = clip.subjects[0]
                    one = score(clip, subject, kind, tracked, refined=self._settings.refined)
                    scores += [one] if one is not None else []
                    self._write_sheet(f"{clip.name}_{kind}", clip, tracked)
            progress.end()
            if scores:
                group = obedience_report.SequenceGroup(name, tuple(scores))
                self._keep(sequences=(*self._found.sequences, group))
                print(obedience_report.sequences_table(group), end="\n\n", flush=True)

    def corrections(self) -> None:
        """Correct sequences round by round and print their tables; raises SplatError."""
        kind: PromptKind = self._settings.kinds[0] if self._settings.kinds else "1click"
        for name, clips in self._sequences():
            found = corrections.correct_each(
                self._model,
                self._settings.image_size,
                self._run,
                name,
                clips,
                kind,
                self._settings.rounds,
                lambda clip, done, tracked: self._write_sheet(
                    f"{clip.name}_round_{done}", clip, tracked
                ),
            )
            group = obedience_report.CorrectionGroup(name, found)
            self._keep(corrections=(*self._found.corrections, group))
            print(obedience_report.corrections_table(group), end="\n\n", flush=True)

    def _sequences(self) -> Iterator[tuple[str, list[Clip]]]:
        """Return the wanted sequences in sets: DAVIS is one set, each orbit is its own."""
        found = real.sequences(self._settings.root, self._settings.every)
        orbits = [clip for clip in found if real.is_orbit(self._settings.root, clip.name)]
        plain = [clip for clip in found if clip not in orbits]
        for name, clips in [("davis", plain), *((clip.name, [clip]) for clip in orbits)]:
            wanted = list(self._wanted(clips))
            if wanted:
                yield name, wanted

    def _wanted(self, entries: Sequence[_Named]) -> Iterator[_Named]:
        """Return what the names ask for, limited for each set."""
        taken: dict[str, int] = {}
        for entry in entries:
            if self._settings.only and not any(part in entry.name for part in self._settings.only):
                continue
            group = entry.group if isinstance(entry, real.Still) else ""
            taken[group] = taken.get(group, 0) + 1
            if not self._settings.most or taken[group] <= self._settings.most:
                yield entry

    def _write_sheet(self, name: str, clip: Clip, tracked: tracking.Tracked) -> None:
        if self._settings.sheets is not None:
            target = self._settings.sheets / "sequences" / f"{name}.jpg"
            sheets.write_sheet(clip.photos, clip.subjects[0].id, tracked, target)

    def _keep(self, **found: object) -> None:
        self._found = msgspec.structs.replace(self._found, **found)
        command.write_json(self._settings.json, self._found)


def _shown(
    steps: Sequence[tuple[FramePrompts, Mask, float]],
) -> Iterator[tuple[str, Mask, tuple[PointPrompt, ...]]]:
    """Return the masks of a photo that a sheet shows."""
    last = max((len(prompts.points) for prompts, _, _ in steps), default=0)
    for prompts, mask, iou in steps:
        count = len(prompts.points)
        if prompts.box is not None:
            yield f"box, IoU {iou:.2f}", mask, ()
        elif count in _SHOWN or count == last:
            yield f"{count}, IoU {iou:.2f}", mask, prompts.points
