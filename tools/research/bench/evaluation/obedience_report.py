# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of an obedience run, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from tools.research.bench.evaluation import stills
from tools.research.bench.evaluation.corrections import Correction
from tools.research.bench.evaluation.report import ModelFacts
from tools.research.bench.evaluation.scoring import FrameScore, ObjectScore
from tools.research.bench.evaluation.stills import StillScore

AFTER: Final = (1, 2, 3, 5, 10, 20)
"""Numbers of clicks after which mean IoU is reported."""

TARGETS: Final = (0.80, 0.85, 0.90)
"""IoUs to which clicks are counted."""

EARLY: Final = 6
"""Number of frames at a sequence's start that are reported one by one."""

_NUMBERS: Final = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 10), (11, 20))
_QUARTERS: Final = 4


class SequenceGroup(msgspec.Struct, frozen=True):
    """Sequences that are reported together, such as ``davis`` or ``blowtorch``."""

    name: str
    scores: tuple[ObjectScore, ...]


class CorrectionGroup(msgspec.Struct, frozen=True):
    """Corrected sequences that are reported together."""

    name: str
    corrections: tuple[Correction, ...]


class Obedience(msgspec.Struct, frozen=True):
    """All that a run measured, and its command line."""

    command: str
    model: ModelFacts
    stills: tuple[StillScore, ...] = ()
    sequences: tuple[SequenceGroup, ...] = ()
    corrections: tuple[CorrectionGroup, ...] = ()


def stills_table(scores: Sequence[StillScore]) -> str:
    """Clicks and boxes on single photos, for each set and for all. There must be at least one photo."""
    groups = {
        name: [one for one in scores if one.group == name]
        for name in dict.fromkeys(one.group for one in scores)
    }
    if len(groups) > 1:
        groups["all"] = list(scores)
    return "\n".join(
        (
            "== stills: each next click in the largest error, at most 20 ==",
            "photos       IoU after " + "".join(f"{number:>6}" for number in AFTER)
            + "   NoC" + "".join(f"{f'@{round(100 * target)}':>6}" for target in TARGETS)
            + "   never" + "".join(f"{f'@{round(100 * target)}':>6}" for target in TARGETS),
            *(_reach_line(name, entries) for name, entries in groups.items()),
            "",
            "obeyed at the click's pixel   all  include  exclude   by its number"
            + "".join(f"{_span(first, last):>7}" for first, last in _NUMBERS),
            *(line for name, entries in groups.items() for line in _obeyed_lines(name, entries)),
            "",
            "photos         box: IoU  mask outside it   added clicks  lower IoU by over"
            f" {stills.FALL}   cpu s: first click  further",
            *(_rest_line(name, entries) for name, entries in groups.items()),
        )
    )  # fmt: skip


def _reach_line(name: str, scores: Sequence[StillScore]) -> str:
    needed = [stills.clicks_needed(scores, target) for target in TARGETS]
    return (
        f"{f'{name} ({len(scores)})':<22} "
        + "".join(f"{stills.mean_iou(scores, number):6.3f}" for number in AFTER)
        + "      " + "".join(f"{clicks:6.1f}" for clicks, _ in needed)
        + "        " + "".join(f"{never:6.0%}" for _, never in needed)
    )  # fmt: skip


def _obeyed_lines(name: str, scores: Sequence[StillScore]) -> Iterator[str]:
    shares = [stills.obeyed(scores, include=include)[0] for include in (None, True, False)]
    yield f"{name:<27}" + "".join(f"{_share(share):>8}" for share in shares)
    for include in (True, False):
        by_number = [
            stills.obeyed(scores, include=include, first=first, last=last)[0]
            for first, last in _NUMBERS
        ]
        yield (
            f"{'':<57}{'include' if include else 'exclude':<10}"
            + "".join(f"{_share(share):>7}" for share in by_number)
        )


def _rest_line(name: str, scores: Sequence[StillScore]) -> str:
    falls, added = stills.share_of_falls(scores)
    first = [score.clicks[0].cpu_seconds for score in scores if score.clicks]
    further = [click.cpu_seconds for score in scores for click in score.clicks[1:]]
    return (
        f"{name:<15}{_mean([score.box_iou for score in scores]):8.3f}"
        f"{_share(_mean([score.box_outside for score in scores])):>17}"
        f"{added:>15}{_share(falls):>24}{_mean(first):>20.2f}{_mean(further):>9.2f}"
    )


def sequences_table(group: SequenceGroup) -> str:
    """One kind of sequence: J, F, J&F by prompt; by frame at the start; by quarters."""
    kinds = list(dict.fromkeys(score.prompt for score in group.scores))
    clips = list(dict.fromkeys(score.clip for score in group.scores))
    found = {(score.clip, score.prompt): score for score in group.scores}
    lines = [
        f"== {group.name}: prompted on the first frame ==",
        "J&F                     " + "".join(f"{kind:>9}" for kind in kinds),
    ]
    for clip in clips:
        cells = [found.get((clip, kind)) for kind in kinds]
        lines.append(
            f"{clip:<24.24}"
            + "".join(f"{'-':>9}" if cell is None else f"{cell.jf:9.3f}" for cell in cells)
        )
    lines += [
        "",
        f"mean of {len(clips):<4}      J      F    J&F   J of frame"
        + "".join(f"{number:>6}" for number in range(1, EARLY + 1))
        + "   J&F by quarters",
    ]
    for kind in kinds:
        scores = [score for score in group.scores if score.prompt == kind]
        lines.append(
            f"{kind:<12}"
            f"{_mean([s.j for s in scores]):7.3f}{_mean([s.f for s in scores]):7.3f}"
            f"{_mean([s.jf for s in scores]):7.3f}             "
            + "".join(f"{value:6.2f}" for value in early(scores))
            + "    "
            + "".join(f"{value:6.3f}" for value in quarters(scores))
            + f"   {_mean([s.cpu_seconds for s in scores]):.2f} cpu s a frame"
        )
    return "\n".join(lines)


def early(scores: Sequence[ObjectScore]) -> list[float]:
    """Mean J of each of the first `EARLY` frames. A sequence counts if it has that frame."""
    means = []
    for number in range(1, EARLY + 1):
        found = [frame.j for score in scores for frame in score.frames if frame.frame == number]
        if found:
            means.append(_mean(found))
    return means


def quarters(scores: Sequence[ObjectScore]) -> list[float]:
    """Mean J&F of each quarter of the sequences. Frames that are left over go to the later quarters."""
    return [
        _mean([_mean([(frame.j + frame.f) / 2 for frame in part]) for part in parts])
        for number in range(_QUARTERS)
        if (parts := [part for score in scores if (part := _quarter(score.frames, number))])
    ]


def _quarter(frames: Sequence[FrameScore], number: int) -> Sequence[FrameScore]:
    count = len(frames)
    return frames[count * number // _QUARTERS : count * (number + 1) // _QUARTERS]


def corrections_table(group: CorrectionGroup) -> str:
    """Corrected sequences: J&F by round, and how many clicks are obeyed."""
    rounds = max((len(entry.rounds) for entry in group.corrections), default=0)
    lines = [
        f"== corrections, {group.name}: each round one click in the worst frame ==",
        "J&F after round         "
        + "".join(f"{number:>7}" for number in range(rounds + 1))
        + "   obeyed   kept   worst step",
    ]
    lines += [_correction_line(entry.clip, [entry], rounds) for entry in group.corrections]
    if len(group.corrections) > 1:
        lines.append(
            _correction_line(f"mean of {len(group.corrections)}", group.corrections, rounds)
        )
    clicks = [one for entry in group.corrections for one in entry.rounds]
    for include in (True, False):
        own = [one.obeyed for one in clicks if one.include == include]
        if own:
            lines.append(
                f"{'include' if include else 'exclude'} clicks: {sum(own)} of {len(own)} obeyed"
            )
    return "\n".join(lines)


def _correction_line(name: str, entries: Sequence[Correction], rounds: int) -> str:
    clicks = [one for entry in entries for one in entry.rounds]
    kept = [entry.rounds[-1].kept for entry in entries if entry.rounds]
    return (
        f"{name:<24.24}"
        + "".join(f"{_mean([e.jf_after(n) for e in entries]):7.3f}" for n in range(rounds + 1))
        + f"{_share(_mean([one.obeyed for one in clicks]) if clicks else None):>9}"
        f"{_share(_mean(kept) if kept else None):>7}"
        f"{min(entry.worst_step() for entry in entries):>+13.3f}"
    )


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
