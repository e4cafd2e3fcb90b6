# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of an evaluation, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from sam2_splat_addon.core.settings import Look
from tools.research.bench.evaluation.scoring import ObjectScore, summary

_COLUMNS = (
    "clip                            subject        prompt       J      F    J&F   worst J"
    "  at frame   thin   lost  s/frame  cpu s"
)


class ModelFacts(msgspec.Struct, frozen=True):
    """What was measured, and on what.

    Attributes
    ----------
    name, sha256
        Name of the architecture, and SHA-256 of the weights' file.
    image_size
        Side of the model's input, px.
    device, threads
        Where it ran.
    refined
        Whether mattes were refined to the photo's edges before they were measured.
    second_look
        How each matte got a second look, close up (`RunSettings.second_look`).
    """

    name: str
    sha256: str
    image_size: int
    device: str
    threads: int
    refined: bool = False
    second_look: Look = "automatic"


class Group(msgspec.Struct, frozen=True):
    """One kind of footage, such as ``sample``, with its results."""

    name: str
    scores: tuple[ObjectScore, ...]


class Evaluation(msgspec.Struct, frozen=True):
    """All that a run measured."""

    model: ModelFacts
    groups: tuple[Group, ...]


def table(group: Group) -> str:
    """One kind of footage as text: a line for each object, and a mean for each kind of prompt."""
    lines = [f"== {group.name} ==", _COLUMNS]
    lines += [_line(entry) for entry in group.scores]
    for prompt in dict.fromkeys(entry.prompt for entry in group.scores):
        lines += _mean_lines(prompt, [e for e in group.scores if e.prompt == prompt])
    return "\n".join(lines)


def facts_line(model: ModelFacts) -> str:
    """The model as one line."""
    return (
        f"{model.name} at {model.image_size} px, weights {model.sha256[:12]}, {model.device},"
        f" {model.threads} {'thread' if model.threads == 1 else 'threads'}"
        f"{'' if model.second_look == 'automatic' else f', second look: {model.second_look}'}"
        f"{', edges refined' if model.refined else ''}"
    )


def _line(entry: ObjectScore) -> str:
    at = f"{entry.worst_frame} {entry.worst_photo}"[:16]
    text = (
        f"{entry.clip:<31.31} {entry.subject:<14.14} {entry.prompt:<8}"
        f" {entry.j:6.3f} {entry.f:6.3f} {entry.jf:6.3f}  {entry.worst_j:6.3f}"
        f"  {at:<16} {_share(entry.thin_recall)} {entry.lost:5d}"
        f" {entry.seconds:8.3f} {entry.cpu_seconds:6.3f}"
    )
    if entry.occlusion is not None:
        seen = entry.occlusion
        text += (
            f"  hidden {seen.hidden}, absent on {seen.reported_absent};"
            f" J {seen.j_before:.2f} before, {seen.j_after:.2f} after"
        )
    return text


def _mean_lines(prompt: str, scores: Sequence[ObjectScore]) -> Iterable[str]:
    mean = summary(scores)
    yield (
        f"mean of {mean.objects} from {prompt}: J {mean.j:.4f}  F {mean.f:.4f}  J&F {mean.jf:.4f}"
        f"  thin parts' recall {_share(mean.thin_recall).strip()}"
        f"  {mean.seconds:.3f} s ({mean.cpu_seconds:.3f} cpu) a frame and object"
    )
    if mean.found_again is not None and mean.reported_absent is not None:
        yield (
            f"        occlusion: found again {mean.found_again:.0%},"
            f" reported absent while hidden {mean.reported_absent:.0%}"
        )


def _share(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.3f}"
