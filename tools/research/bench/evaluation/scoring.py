# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a clip's mattes with its truth, frame by frame and in sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.refine.edge_refine import refine
from tools.research.bench.evaluation.measures import boundary_f, region_iou, thin_parts
from tools.research.bench.evaluation.sources import Clip, Subject
from tools.research.bench.evaluation.tracking import Tracked

FOUND_IOU: Final = 0.5
"""From this J on an object counts as found."""

FOUND_WITHIN: Final = 3
"""Number of clear frames after an occlusion over which J is averaged for that."""

_CLEAR: Final = 0.5  # a frame is clear if it shows this part of the largest later area


class FrameScore(msgspec.Struct, frozen=True):
    """One object on one frame.

    Attributes
    ----------
    frame, photo
        Number from 1, and file name.
    j, f
        Region and boundary measure.
    thin_found, thin_total
        See `measures.ThinParts`.
    area, truth_area
        Of matte and truth, as parts of the frame.
    absent
        Whether the model says that the object is not there.
    object_score, predicted_iou
        The model's own scores.
    """

    frame: int
    photo: str
    j: float
    f: float
    thin_found: int
    thin_total: int
    area: float
    truth_area: float
    absent: bool
    object_score: float
    predicted_iou: float


class Occlusion(msgspec.Struct, frozen=True):
    """How the model did with an object that was wholly hidden for a while.

    Attributes
    ----------
    hidden, reported_absent
        Number of frames that show nothing of it, and on how many of them the model says so.
    j_before, j_after
        Mean J on the frames before; on the first `FOUND_WITHIN` clear frames after.
    """

    hidden: int
    reported_absent: int
    j_before: float
    j_after: float

    @property
    def is_found_again(self) -> bool:
        return self.j_after >= FOUND_IOU


class ObjectScore(msgspec.Struct, frozen=True):
    """One object through one clip.

    Attributes
    ----------
    clip, subject, prompt
        What was segmented, and from which kind of prompt.
    j, f, jf
        Means over the frames. J&F is the mean of the two.
    worst_j, worst_frame, worst_photo
        The least J and where.
    thin_recall
        Over the thin parts of all frames together. None if there are none.
    lost
        Number of frames that show the object although the model says that it is not there.
    occlusion
        None if it is never hidden, or not seen afterwards.
    seconds, cpu_seconds
        For one frame and object.
    frames
        Frame by frame.
    """

    clip: str
    subject: str
    prompt: str
    j: float
    f: float
    jf: float
    worst_j: float
    worst_frame: int
    worst_photo: str
    thin_recall: float | None
    lost: int
    occlusion: Occlusion | None
    seconds: float
    cpu_seconds: float
    frames: tuple[FrameScore, ...]


@dataclass(frozen=True)
class Summary:
    """Means over several `ObjectScore`.

    Attributes
    ----------
    objects
        Number of objects.
    j, f, jf
        Means over the objects.
    thin_recall
        Over all thin parts together. None if there are none.
    found_again
        Part of the occlusions after which the object is found. None without any.
    reported_absent
        Part of the hidden frames on which the model says so. None without any.
    seconds, cpu_seconds
        For one frame and object.
    """

    objects: int
    j: float
    f: float
    jf: float
    thin_recall: float | None
    found_again: float | None
    reported_absent: float | None
    seconds: float
    cpu_seconds: float


def score(
    clip: Clip, subject: Subject, prompt: str, tracked: Tracked, *, refined: bool = False
) -> ObjectScore | None:
    """Compare one object's mattes with its truth at the truth's size. None if no frame counts.

    With ``refined`` the mattes are first refined to the photo's own edges, as the bake can do.

    Raises
    ------
    FootageError
        A truth can't be read.
    """
    frames = []
    for index in clip.scored:
        matte = tracked.mattes.get((subject.id, index + 1))
        truth = clip.truth(index, subject)
        if matte is None or truth is None:
            continue
        height, width = truth.shape
        guess = matte.mask(width, height)
        if refined:
            guess = refine(decode(clip.photos[index]).array, matte.logits).alpha > 0
        thin = thin_parts(guess, truth)
        frames.append(
            FrameScore(
                index + 1,
                clip.photos[index].name,
                region_iou(guess, truth),
                boundary_f(guess, truth),
                thin.found,
                thin.total,
                float(guess.mean()),
                float(truth.mean()),
                matte.is_absent,
                matte.scores.object_score,
                matte.scores.predicted_iou,
            )
        )
    if not frames:
        return None
    return summed(clip.name, subject.name, prompt, frames, tracked)


def summed(
    clip: str, subject: str, prompt: str, frames: Sequence[FrameScore], tracked: Tracked
) -> ObjectScore:
    """Sum up an object's frames. There must be at least one."""
    j = _mean([frame.j for frame in frames])
    f = _mean([frame.f for frame in frames])
    seconds, cpu_seconds = tracked.pace()
    worst = min(frames, key=lambda frame: frame.j)
    return ObjectScore(
        clip,
        subject,
        prompt,
        j,
        f,
        (j + f) / 2,
        worst.j,
        worst.frame,
        worst.photo,
        _thin_recall(frames),
        sum(frame.absent for frame in frames if frame.truth_area > 0),
        occlusion_of(frames),
        seconds,
        cpu_seconds,
        tuple(frames),
    )


def occlusion_of(frames: Sequence[FrameScore]) -> Occlusion | None:
    """Return the first run of frames without the object, between two frames that show it.

    A later frame is clear if it shows at least half as much of the object as the best of them. A
    frame on which the object is only coming out says little. None if it is never hidden.
    """
    shown = [frame.truth_area > 0 for frame in frames]
    if True not in shown or False not in shown[shown.index(True) :]:
        return None
    start = shown.index(False, shown.index(True))
    if True not in shown[start:]:
        return None
    stop = shown.index(True, start)
    before = [frame for frame in frames[:start] if frame.truth_area > 0]
    clear = _CLEAR * max(frame.truth_area for frame in frames[stop:])
    after = [frame for frame in frames[stop:] if frame.truth_area >= clear][:FOUND_WITHIN]
    hidden = frames[start:stop]
    return Occlusion(
        len(hidden),
        sum(frame.absent for frame in hidden),
        _mean([frame.j for frame in before]),
        _mean([frame.j for frame in after]),
    )


def summary(scores: Sequence[ObjectScore]) -> Summary:
    """Sum up several objects. There must be at least one."""
    occlusions = [entry.occlusion for entry in scores if entry.occlusion is not None]
    hidden = sum(entry.hidden for entry in occlusions)
    return Summary(
        len(scores),
        _mean([entry.j for entry in scores]),
        _mean([entry.f for entry in scores]),
        _mean([entry.jf for entry in scores]),
        _thin_recall([frame for entry in scores for frame in entry.frames]),
        _mean([float(entry.is_found_again) for entry in occlusions]) if occlusions else None,
        sum(entry.reported_absent for entry in occlusions) / hidden if hidden else None,
        _mean([entry.seconds for entry in scores]),
        _mean([entry.cpu_seconds for entry in scores]),
    )


def _thin_recall(frames: Sequence[FrameScore]) -> float | None:
    total = sum(frame.thin_total for frame in frames)
    return sum(frame.thin_found for frame in frames) / total if total else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
