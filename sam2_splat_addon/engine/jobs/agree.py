# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the masks of all photos agree in 3D.

The masks are compared (`compare`). A photo whose mask disagrees gets prompts that the other photos suggest:
several are tried on it, and the one whose mask fits the hull best is taken if it fits better than before.
Then everything is tracked again, into a store of its own. Only if the masks agree better after that, they
replace those of the user's store. Frames with prompts or drawings of the user are never prompted.

Each step is kept (`agreed_rounds`), and the store of a round that is being tracked too. So a stopped run goes
on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from ...core.cameras.find import PhotoCameras
from ...core.errors import Cancelled, StoreError
from ...core.geometry.resample import upsample_binary
from ...core.mattes.store import MatteStore
from ...core.printable import counted
from ...core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from ...core.protocol import (
    AgreeRequest,
    FrameDone,
    Log,
    Progress,
    PropagateRequest,
)
from ..agreement.outline import deep_places, overlap
from ..agreement.verdicts import Verdict
from . import carry_clicks, propagate
from .agreed_rounds import AgreedRounds, read_rounds, rounds_key, write_rounds
from .compare import Compared, Steps, cameras_for, compare, is_worth_a_prompt, keep
from .find_subject import mask_of

_BETTER: Final = 0.002
"""How much the mean share of faults must fall for a round to count."""

_HARM: Final = 0.15  # of the gain on all photos: photos without new prompts may lose that
_WORTH: Final = 0.03  # how much better a prompt's mask must fit the hull than the present one
_SURE: Final = 0.95  # of the usual fit: a mask that fits less is not right
_SHOWN: Final = 0.5  # of the usual fit: clicks on a subject that is not hidden give that at least
_DRAWN: Final = 0.02  # how much better the present mask must fit without what is wrong in it
_WHOLE: Final = 0.1  # share of the subject that such a mask may lack
_MOST_PHOTOS: Final = 0.25  # share of the photos that get prompts in one round
_FEWEST_PHOTOS: Final = 3


@dataclass(frozen=True)
class AgreeReport(propagate.PropagateReport):
    """How it ended, with the prompts that made the masks.

    Attributes
    ----------
    prompts
        Those of the request, and those that were added.
    """

    prompts: PromptSet = field(kw_only=True)


def run(
    request: AgreeRequest,
    *,
    on_progress: Callable[[Progress], None],
    on_frame_done: Callable[[FrameDone], None],
    on_log: Callable[[Log], None],
    cancelled: Callable[[], bool],
    image_size: int = 0,
) -> AgreeReport:
    """Compare the masks, and improve them if rounds are asked for. Parameters as in `propagate.run`.

    Raises
    ------
    CameraError
        There are no cameras of these photos, or the masks agree too little to say anything.
    SplatError
        As in `propagate.run`.
    Cancelled
        ``cancelled`` returned True. The store has the masks from before, or those of the last round that was
        taken.
    """
    wish, footage = request.propagation, request.propagation.footage
    if request.rounds:
        wish = carry_clicks.prepared(
            wish, on_progress=on_progress, on_log=on_log, cancelled=cancelled, image_size=image_size
        )
    cameras = cameras_for(footage, request.cameras, request.propagation.store)
    on_log(Log("info", cameras.summary()))
    for text in cameras.warnings:
        on_log(Log("warning", text))

    def go_on() -> None:
        if cancelled():
            raise Cancelled

    def tracked(
        prompts: PromptSet, store: Path, known: MatteStore | None, told: Callable[[FrameDone], None]
    ) -> propagate.PropagateReport:
        return propagate.run(
            replace(wish, prompts=prompts, store=str(store)),
            on_progress=on_progress,
            on_frame_done=told,
            on_log=on_log,
            cancelled=cancelled,
            image_size=image_size,
            known=known,
        )

    store = Path(wish.store)
    own = _own_frames(wish)
    prompts = wish.prompts.checked(footage.sizes, len(footage.paths))
    rounds = None
    ran = None
    if request.rounds:
        rounds = _rounds_before(wish, prompts, cameras)
        if rounds is not None and rounds.done:
            on_log(Log("info", f"Going on after round {rounds.done} of an earlier run."))
        # The last round may have been stopped while its masks were taken.
        known = MatteStore(store).trial if rounds is not None else None
        ran = tracked(rounds.prompts if rounds else prompts, store, known, on_frame_done)

    def compared_in(folder: Path) -> dict[int, Compared]:
        mattes = MatteStore.open(folder)
        found: dict[int, Compared] = {}
        names = {entry.id: entry.name for entry in prompts.objects}
        for object_id, name in sorted(names.items()):
            if not mattes.frames(object_id):
                continue
            said = prompts.frames_of(object_id)
            steps = Steps(len(footage.paths), name, on_progress, cancelled)
            found[object_id] = compare(
                mattes, object_id, cameras, footage, steps, wish.edited, said
            )
            others = found[object_id].outlines.hull.others
            if others:
                apart = "stands apart and has" if others == 1 else "stand apart and have"
                told = f"Left out: {counted(others, 'thing')} that {apart} no click."
                on_log(Log("info", f"{name}: {told}"))
        if not found:
            raise StoreError(f"There are no masks in {folder}.", "Press Propagate first.")
        return found

    now = compared_in(store)
    mattes = MatteStore.open(store)
    if request.rounds:
        key = rounds_key(wish, prompts, cameras)
        rounds = rounds or AgreedRounds(key, _score(now), prompts)
        while rounds.done < request.rounds and not rounds.ended:
            if rounds.trying is None:
                proposed = _proposed(request, rounds.prompts, now, own, go_on, image_size)
                if not proposed:
                    rounds = replace(rounds, ended=True)
                    break
                rounds = replace(rounds, trying=_with(rounds.prompts, proposed))
                write_rounds(mattes, rounds)
                mattes.drop_trial()
            assert rounds.trying is not None  # it was just made
            count = _more(rounds.trying, rounds.prompts)
            number = rounds.done + 1
            on_log(Log("info", f"Round {number}: {counted(count, 'photo')} with new prompts."))
            trial = mattes.trial
            tracked(rounds.trying, trial.folder, None, lambda done: None)
            then = compared_in(trial.folder)
            better = _is_better(then, now, rounds)
            words = "Others contradict less now" if better else "Others do not contradict less now"
            on_log(Log("info", f"{words}; masks agree by {_score(then):.1%} ({_score(now):.1%})."))
            taken = rounds.trying if better else rounds.prompts
            rounds = replace(rounds, prompts=taken, done=number, trying=None, ended=not better)
            write_rounds(mattes, rounds)
            if better:
                ran = tracked(taken, store, trial, on_frame_done)
                now = then
        write_rounds(mattes, rounds)
        mattes.drop_trial()
    for object_id, compared in now.items():
        keep(mattes, object_id, compared)
    added = _more(rounds.prompts, prompts) if rounds else 0
    summary = _summary(request, now, rounds.begun if rounds else 0.0, added)
    warnings = (*cameras.warnings, *(ran.warnings if ran else ()))
    frames = sum(len(one.masks) for one in now.values())
    told = rounds.prompts if rounds else prompts
    return AgreeReport(summary, frames, warnings, ran.damaged if ran else (), prompts=told)


def _rounds_before(
    wish: PropagateRequest, prompts: PromptSet, cameras: PhotoCameras
) -> AgreedRounds | None:
    """Return how far an earlier run with the same request has come."""
    return read_rounds(MatteStore(Path(wish.store)), rounds_key(wish, prompts, cameras))


def _more(prompts: PromptSet, before: PromptSet) -> int:
    """Return on how many photos prompts differ from those before, of all subjects together."""
    known = {(entry.id, at.frame): at for entry in before.objects for at in entry.frames}
    return sum(
        known.get((entry.id, at.frame)) != at for entry in prompts.objects for at in entry.frames
    )


def _summary(request: AgreeRequest, now: Mapping[int, Compared], begun: float, added: int) -> str:
    doubtful = sum(
        is_worth_a_prompt(compared, frame)
        for compared in now.values()
        for frame in compared.verdicts
    )
    told = f"Masks agree by {_score(now):.0%} in space; {counted(doubtful, 'photo')} disagree."
    if not request.rounds:
        return told
    if not added:
        return f"No prompt would make the masks agree better. {told}"
    return f"Prompts on {counted(added, 'photo')} were added. Agreement was {begun:.0%}. {told}"


def _score(compared: Mapping[int, Compared]) -> float:
    return float(np.mean([one.score for one in compared.values()]))


def _is_better(
    then: Mapping[int, Compared], now: Mapping[int, Compared], rounds: AgreedRounds
) -> bool:
    """Whether others contradict the masks of a round less: of all photos, and hardly more those of some.

    On photos with new prompts they nearly always do, so the others must not pay for it.
    """
    assert rounds.trying is not None  # its masks are compared
    known = {(entry.id, at.frame): at for entry in rounds.prompts.objects for at in entry.frames}
    told = {
        (entry.id, at.frame)
        for entry in rounds.trying.objects
        for at in entry.frames
        if known.get((entry.id, at.frame)) != at
    }
    changes = {
        (object_id, frame): then[object_id].verdicts[frame].fault - verdict.fault
        for object_id, compared in now.items()
        for frame, verdict in compared.verdicts.items()
        if frame in then[object_id].verdicts
    }
    others = [change for at, change in changes.items() if at not in told]
    every = float(np.mean(list(changes.values())))
    harm = float(np.mean(others)) if others else 0.0
    return every <= -_BETTER and harm < max(_BETTER, -_HARM * every)


def _own_frames(request: PropagateRequest) -> dict[int, set[int]]:
    """Return the frames of each object on which the user has said something."""
    found = {
        entry.id: {at.frame for at in entry.frames if not at.is_empty}
        for entry in request.prompts.objects
    }
    for matte in request.edited:
        found.setdefault(matte.object_id, set()).add(matte.frame)
    return found


def _with(prompts: PromptSet, more: Mapping[int, Mapping[int, FramePrompts]]) -> PromptSet:
    """Return the prompts with those of some frames added or replaced."""
    objects = []
    for entry in prompts.objects:
        new = more.get(entry.id, {})
        kept = [at for at in entry.frames if at.frame not in new]
        frames = sorted([*kept, *new.values()], key=lambda at: at.frame)
        objects.append(replace(entry, frames=tuple(frames)))
    return replace(prompts, objects=tuple(objects))


def _proposed(
    request: AgreeRequest,
    prompts: PromptSet,
    now: Mapping[int, Compared],
    own: Mapping[int, set[int]],
    go_on: Callable[[], None],
    image_size: int,
) -> dict[int, dict[int, FramePrompts]]:
    """Return object id -> frame -> the prompts that fit the hull best, for photos that disagree."""
    found: dict[int, dict[int, FramePrompts]] = {}
    for entry in prompts.objects:
        compared = now.get(entry.id)
        if compared is None:
            continue
        told = own.get(entry.id, set())
        worst = sorted(
            (one.overlap, frame)
            for frame, one in compared.verdicts.items()
            if frame not in told and is_worth_a_prompt(compared, frame)
        )
        most = max(_FEWEST_PHOTOS, round(_MOST_PHOTOS * len(compared.verdicts)))
        for _, frame in worst[:most]:
            verdict = compared.verdicts[frame]
            best = _best_prompts(request, entry, verdict, compared.usual, go_on, image_size)
            if best is not None:
                found.setdefault(entry.id, {})[frame] = best
    return found


def _best_prompts(
    request: AgreeRequest,
    entry: ObjectPrompts,
    verdict: Verdict,
    usual: float,
    go_on: Callable[[], None],
    image_size: int,
) -> FramePrompts | None:
    """Return the prompts whose mask fits the hull best, if it fits about as well as most masks do.

    It must also fit clearly better than the present one. Prompts with less effect do more harm than good,
    because masks of other photos are tracked from them.

    Parameters
    ----------
    usual
        IoU of hull and mask on most photos.
    """
    wish = request.propagation
    footage = wish.footage
    rows, columns = verdict.shape.shape
    width, height = footage.sizes.of(verdict.frame)
    best: FramePrompts | None = None
    fit = max(verdict.overlap + _WORTH, _SURE * usual)
    shown = 0.0
    for prompts in candidates(verdict, width, height):
        go_on()
        logits = mask_of(footage, prompts, wish.model, wish.settings, lambda: False, image_size)
        inside = upsample_binary(logits, columns, rows)
        found = overlap(inside & ~verdict.hidden, verdict.wanted)
        best, fit = (prompts, found) if found > fit else (best, fit)
        if prompts.box is None and all(point.include for point in prompts.points):
            shown = max(shown, found)
    # Nothing but clicks on the subject must give about the subject, or something stands before it.
    if shown < _SHOWN * usual:
        return None
    # What seems to be missing is not added: if something hides it after all, that would be learnt.
    mended = verdict.inside & ~verdict.extra
    if (
        verdict.missing_share < _WHOLE
        and overlap(mended & ~verdict.hidden, verdict.wanted) > fit + _DRAWN
    ):
        return FramePrompts(verdict.frame, mask=MaskPrompt.from_array(mended))
    return best


def candidates(verdict: Verdict, width: int, height: int) -> Iterator[FramePrompts]:
    """Yield prompts that the hull suggests for a photo of this size in px, each by itself enough."""
    rows, columns = verdict.shape.shape
    scale = (width / columns, height / rows)

    def point(place: tuple[int, int], *, include: bool) -> PointPrompt:
        row, column = place
        return PointPrompt((column + 0.5) * scale[0], (row + 0.5) * scale[1], include)

    sure = verdict.wanted & verdict.inside
    inside = sure if sure.sum() > 0.3 * verdict.wanted.sum() else verdict.wanted
    clicks = tuple(point(place, include=True) for place in deep_places(inside, 3))
    if not clicks:
        return
    lacking = tuple(point(place, include=True) for place in deep_places(verdict.missing, 2))
    outside = tuple(point(place, include=False) for place in deep_places(verdict.extra, 2))
    found_rows, found_columns = np.nonzero(verdict.wanted)
    box = BoxPrompt(
        float(found_columns.min()) * scale[0],
        float(found_rows.min()) * scale[1],
        float(found_columns.max() + 1) * scale[0],
        float(found_rows.max() + 1) * scale[1],
    )
    frame = verdict.frame
    yield FramePrompts(frame, clicks[:1], box, anew=True)
    yield FramePrompts(frame, clicks[:1], anew=True)
    yield FramePrompts(frame, clicks, anew=True)
    if lacking or outside:
        yield FramePrompts(frame, clicks[:1] + lacking + outside, anew=True)
        yield FramePrompts(frame, clicks[:1] + lacking + outside, box, anew=True)
