# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an evaluation: footage by footage, table, JSON and sheets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.settings import Look, Precision, RunSettings
from sam2_splat_addon.engine.models.device import choose_device, use_threads
from tools.research.bench import command
from tools.research.bench.evaluation import (
    chosen,
    corrections,
    footage,
    obedience_report,
    orbits,
    pace,
    progress,
    report,
    sheets,
    sources,
    tracking,
)
from tools.research.bench.evaluation.prompting import PromptKind, prompts_for
from tools.research.bench.evaluation.scoring import ObjectScore, score


@dataclass(frozen=True)
class Settings:
    """What to measure, from the command line.

    Attributes
    ----------
    model, weights, image_size
        See `tracking.find_model`. Size 0 is the model's own.
    device, threads
        Threads 0 is torch's own choice.
    kinds
        Kinds of prompt. () takes each footage's own (see `FOOTAGE_KINDS`).
    frames
        Most frames of each clip. 0 is all.
    only
        Clips whose name contains one of these. () is all.
    out
        Folder for ``quality.json`` and the sheets.
    refined
        Whether mattes are refined to the photo's edges first.
    second_look
        How each matte gets a second look, close up (`RunSettings.second_look`).
    precision
        Of the model's products (`RunSettings.precision`).
    with_sheets
        Whether clips with a truth get a contact sheet too.
    """

    model: str
    weights: Path | None
    image_size: int
    device: str
    threads: int
    kinds: tuple[PromptKind, ...]
    frames: int
    only: tuple[str, ...]
    out: Path
    refined: bool
    second_look: Look
    precision: Precision
    with_sheets: bool


FOOTAGE_KINDS: dict[str, tuple[PromptKind, ...]] = {
    "sample": ("1click", "3clicks", "box", "mask"),
    "orbits": ("3clicks",),
    "occlusion": ("3clicks",),
    "captures": ("1click", "3clicks"),
    "davis": ("mask",),
}
"""The prompts from which each kind of footage is tracked by default."""


class Evaluator:
    """One model and its results so far; raises SplatError if there is no such model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model, self._facts = chosen.find(
            settings.model,
            settings.weights,
            settings.image_size,
            settings.device,
            settings.threads,
            refined=settings.refined,
            second_look=settings.second_look,
        )
        self._groups: list[report.Group] = []
        print(report.facts_line(self._facts), flush=True)

    def run(self, name: str, clips: Sequence[sources.Clip]) -> report.Group | None:
        """Track clips with truth, print their table, and write all results so far.

        Returns None if no clip is wanted, or no frame counts.

        Raises
        ------
        SplatError
            Photos or truths are wrong.
        """
        kinds = self._settings.kinds or FOOTAGE_KINDS[name]
        scores: list[ObjectScore] = []
        wanted = [clip for clip in clips if self._is_wanted(clip.name)]
        for number, clip in enumerate(wanted, start=1):
            short = clip.shortened(self._settings.frames)
            for kind in kinds:
                title = f"{name} {number}/{len(wanted)} {short.name} {kind}"
                scores += self._run_clip(name, short, kind, title)
        if not scores:
            return None
        group = report.Group(name, tuple(scores))
        print(report.table(group), flush=True)
        self._groups.append(group)
        command.write_json(
            self._settings.out / "quality.json",
            report.Evaluation(self._facts, tuple(self._groups)),
        )
        return group

    def correct(self, name: str, clips: Sequence[sources.Clip], rounds: int) -> None:
        """Correct clips with truth round by round and print their table; see `corrections`.

        Raises
        ------
        SplatError
            Photos or truths are wrong.
        """
        kind = (self._settings.kinds or FOOTAGE_KINDS[name])[0]
        wanted = [
            clip.shortened(self._settings.frames) for clip in clips if self._is_wanted(clip.name)
        ]
        found = corrections.correct_each(
            self._model,
            self._settings.image_size,
            self._run_settings(),
            name,
            wanted,
            kind,
            rounds,
        )
        if found:
            group = obedience_report.CorrectionGroup(name, found)
            print(obedience_report.corrections_table(group), flush=True)

    def look(self, root: Path, wishes: dict[str, footage.ClipWish], cache: Path) -> None:
        """Track clips without truth and write a contact sheet for each object.

        Raises
        ------
        SplatError
            A clip is missing, or its prompts don't fit.
        """
        for number, (name, wish) in enumerate(wishes.items(), start=1):
            if not self._is_wanted(name):
                continue
            clip = footage.prompted_clip(root, name, wish, cache)
            photos = clip.photos[: self._settings.frames or None]
            title = f"clips {number}/{len(wishes)} {name}"
            tracked = self._track(photos, clip.prompts, title)
            for entry in clip.prompts.objects:
                self._write_sheet("clips", name, entry.name, photos, entry.id, tracked)
            seconds, cpu_seconds = tracked.pace()
            print(f"{name}: {seconds:.3f} s ({cpu_seconds:.3f} cpu) a frame and object", flush=True)

    def _track(self, photos: Sequence[Path], prompts: PromptSet, title: str) -> tracking.Tracked:
        size, settings = self._settings.image_size, self._run_settings()
        tracked = tracking.track(self._model, size, photos, prompts, _counter(title), settings)
        progress.end()
        return tracked

    def _run_settings(self) -> RunSettings:
        return RunSettings(
            direction="forward",
            second_look=self._settings.second_look,
            precision=self._settings.precision,
        )

    def _run_clip(
        self, group: str, clip: sources.Clip, kind: PromptKind, title: str
    ) -> list[ObjectScore]:
        prompts = prompts_for(clip, kind)
        tracked = self._track(clip.photos, prompts, title)
        refined = self._settings.refined
        found = [score(clip, entry, kind, tracked, refined=refined) for entry in clip.subjects]
        if self._settings.with_sheets:
            for subject in clip.subjects:
                name = f"{subject.name}_{kind}"
                self._write_sheet(group, clip.name, name, clip.photos, subject.id, tracked)
        return [entry for entry in found if entry is not None]

    def _write_sheet(
        self,
        group: str,
        clip: str,
        name: str,
        photos: Sequence[Path],
        object_id: int,
        tracked: tracking.Tracked,
    ) -> None:
        target = self._settings.out / group / f"{clip}_{name}.jpg"
        sheets.write_sheet(photos, object_id, tracked, target)
        print(target, flush=True)

    def _is_wanted(self, clip: str) -> bool:
        return not self._settings.only or any(part in clip for part in self._settings.only)


def rendered(
    count: int, frames: int, size: tuple[int, int], root: Path, *, hidden: bool
) -> list[sources.Clip]:
    """Return the orbits. Those that are missing are rendered now."""
    make = orbits.hidden_orbit if hidden else orbits.rendered_orbit
    folders = [make(plan, root, progress.show) for plan in orbits.orbit_plans(count, frames, size)]
    progress.end()
    return [sources.capture(folder) for folder in folders]


def compare_speed(
    photos: Sequence[Path], device: str, threads: int, objects: int, frames: int, out: Path
) -> None:
    """Time the bundled model and SAM 2.1's smallest in one run; print both, write ``speed.json``.

    ``out`` is the folder for it. The others are as in `pace.measure`.

    Raises
    ------
    SplatError
        The device is not there, or a photo can't be read.
    """
    paces = [
        pace.measure(name, device, threads, photos, objects, frames, progress.show)
        for name in pace.MODELS
    ]
    progress.end()
    reason = choose_device(device).reason.rstrip(".")
    print(pace.table(paces, reason, use_threads(threads), objects), flush=True)
    command.write_json(out / "speed.json", paces)


def _counter(title: str) -> Callable[[int], None]:
    began = time.monotonic()

    def show(done: int) -> None:
        progress.show(f"{title}: {done} mattes, {(time.monotonic() - began) / done:.2f} s each")

    return show
