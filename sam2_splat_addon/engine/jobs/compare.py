# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the masks of a store in 3D: cameras, hull, and what the other photos say of each mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.cameras.find import PhotoCameras, cameras_of
from ...core.cameras.found import model_beside
from ...core.edited_prompts import mask_prompt
from ...core.errors import CameraError, Cancelled, FootageError
from ...core.geometry.resample import upsample_binary
from ...core.geometry.simplify import within
from ...core.geometry.trace import trace_pixels
from ...core.mattes.run_record import last_run
from ...core.mattes.store import HULL_NAME, MatteStore
from ...core.prompts import FramePrompts
from ...core.protocol import BakeRequest, EditedMatte, FootageFiles, Progress
from ...core.review.agreement import Agreement, FrameAgreement, write_agreement
from ..agreement.aim import Mask
from ..agreement.apart import without_others
from ..agreement.hull import ACROSS, Hull, carve, finer
from ..agreement.kept_hull import hull_key, load_hull, save_hull
from ..agreement.outline import Outlines, grid_of
from ..agreement.verdicts import Verdict, verdicts
from ..images.raw import looked_at
from .report_pictures import small_photo

LEAST_AGREEMENT: Final = 0.55
"""Under this usual agreement of masks and hull, the hull says nothing about single masks."""

_STEPS_A_PHOTO: Final = 4
_HIDDEN: Final = 0.3  # share of the hull that a mask may lack before something seems to hide it
_SHOWN: Final = 0.8  # share of what is lacking that a photo without a mask must seem to show
_ELSEWHERE: Final = 0.6  # share of a mask outside of the hull that means another thing
_TRUSTED: Final = 0.6
_FEW: Final = 12  # photos that are enough to know with which share the hull begins
_FINER: Final = 4  # times as many voxels across, at most, where the surface is
_CLIP_SIDE: Final = 1024  # px of the grid on which a mask is clipped
_LOOSER: Final = 0.25  # leaves of a plant that few masks hold are not cut off
_OUTLINE_PX: Final = 1.0  # of the grid: how exact the hull's outline is kept


@dataclass(frozen=True, eq=False)
class Compared:
    """What the comparison of one object's masks has found.

    Attributes
    ----------
    keys
        Frame -> key of its matte.
    """

    cameras: PhotoCameras
    masks: tuple[Mask, ...]
    outlines: Outlines
    verdicts: dict[int, Verdict]
    keys: dict[int, str]
    hull_key: str

    @property
    def usual(self) -> float:
        """The usual agreement of a photo that counted, 0 to 1."""
        trust = self.outlines.hull.trust
        return float(np.median([one.overlap for at, one in self.verdicts.items() if at in trust]))

    @property
    def held(self) -> float:
        """How far the photos that counted agree with the hull, 0 to 1.

        If other things were left out of it, only the part of the hull counts that a mask holds.
        """
        hull = self.outlines.hull
        if not hull.others:
            return self.usual
        return float(np.median([one.held for at, one in self.verdicts.items() if at in hull.trust]))

    @property
    def score(self) -> float:
        """The mean agreement of all photos that should show the subject, 0 to 1."""
        found = [one.overlap for one in self.verdicts.values() if one.wanted.any()]
        return float(np.mean(found)) if found else 0.0


class Steps:
    """Say after each step of a comparison how far it is, and stop it if the user has cancelled.

    Parameters
    ----------
    photos
        Number of photos. A comparison takes about `_STEPS_A_PHOTO` steps for each.
    name
        Of the subject.

    Raises (when called)
    --------------------
    Cancelled
        ``cancelled`` returned True.
    """

    def __init__(
        self,
        photos: int,
        name: str,
        on_progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._total, self._name = max(1, _STEPS_A_PHOTO * photos), name
        self._on_progress, self._cancelled = on_progress, cancelled
        self._done = 0

    def __call__(self) -> None:
        if self._cancelled():
            raise Cancelled
        self._done = min(self._done + 1, self._total - 1)
        self._on_progress(Progress("comparing", self._done, self._total, object_name=self._name))


def cameras_for(footage: FootageFiles, place: str, store: str = "") -> PhotoCameras:
    """Return the cameras of the photos; raises CameraError.

    Parameters
    ----------
    place
        File or folder of the cameras. Empty looks around the photos, and beside the masks.
    store
        The folder of the masks, if there is one.
    """
    paths = [Path(path) for path in footage.paths]
    size = (footage.width, footage.height)
    given = Path(place) if place else None
    found = model_beside(Path(store)) if store else None
    return cameras_of(paths, *size, given, footage.odd_sizes, looked_at, found)


def masks_of(
    store: MatteStore,
    object_id: int,
    cameras: PhotoCameras,
    footage: FootageFiles,
    edited: Iterable[EditedMatte] = (),
    said: Sequence[FramePrompts] = (),
) -> tuple[tuple[Mask, ...], dict[int, str]]:
    """Return the masks of an object on the photos with a camera, and the key of each.

    Parameters
    ----------
    edited
        What the user drew: it replaces the matte.
    said
        Prompts of the user for this object: the masks of these photos stay trusted.

    Raises
    ------
    StoreError
        A matte is damaged.
    """
    drawn = {one.frame: one for one in edited if one.object_id == object_id}
    prompts = {one.frame: one for one in said if not one.is_empty}
    masks, keys = [], {}
    for frame in sorted({*store.frames(object_id), *drawn}):
        camera = cameras.by_frame.get(frame)
        if camera is None:
            continue
        if frame in drawn:
            inside = mask_prompt(drawn[frame], *footage.sizes.of(frame)).to_array()
            size = grid_of(*inside.shape[::-1])
            small = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            logits: NDArray[np.floating[Any]] = (np.asarray(small, np.float32) - 0.5) * 16
            masks.append(Mask(frame, camera, logits, 1.0 if inside.any() else 0.0, fixed=True))
            continue
        record = store.read(object_id, frame)
        seen = record.scores.object_score > 0 and record.scores.area > 0
        points = prompts[frame].points if frame in prompts else ()
        clicks = tuple((point.x, point.y) for point in points if point.include)
        trust = 1.0 if seen else 0.0
        masks.append(Mask(frame, camera, record.logits, trust, frame in prompts, clicks))
        keys[frame] = record.key
    return tuple(masks), keys


def hull_of(
    store: MatteStore, object_id: int, masks: Sequence[Mask], go_on: Callable[[], None]
) -> tuple[Hull, str]:
    """Return the hull of an object, from the store or made now; raises CameraError if there is none."""
    key = hull_key(masks, ACROSS)
    path = store.state_folder(object_id) / HULL_NAME
    hull = load_hull(path, key)
    if hull is None:
        hull = carve(masks, across=ACROSS, go_on=go_on)
        if hull is None:
            raise CameraError(
                "The masks of these photos do not meet anywhere in space.",
                "Check that the cameras are of these photos, and that most masks are right.",
            )
        trusted = [mask for mask in masks if hull.trust.get(mask.frame, 0.0) >= _TRUSTED] or masks
        limit = Outlines(hull, trusted[:: max(1, len(trusted) // _FEW)], go_on).limit
        hull = without_others(hull, masks, limit)
        hull = finer(hull, masks, limit, across=_FINER * ACROSS, go_on=go_on)
        save_hull(path, hull, key)
    return hull, key


def compare(
    store: MatteStore,
    object_id: int,
    cameras: PhotoCameras,
    footage: FootageFiles,
    go_on: Callable[[], None],
    edited: Iterable[EditedMatte] = (),
    said: Sequence[FramePrompts] = (),
) -> Compared:
    """Compare the masks of one object. Arguments as in `masks_of`.

    Raises
    ------
    CameraError
        There is no hull, or the masks don't agree enough to say anything.
    StoreError
        A matte is damaged, or the hull can't be written.
    """
    masks, keys = masks_of(store, object_id, cameras, footage, edited, said)
    hull, key = hull_of(store, object_id, masks, go_on)
    outlines = Outlines(hull, masks, go_on)

    def picture(frame: int, columns: int, rows: int) -> NDArray[np.uint8] | None:
        try:
            return small_photo(Path(footage.paths[frame - 1]), (columns, rows))
        except (FootageError, OSError):
            return None

    found = verdicts(outlines, masks, picture, go_on)
    compared = Compared(cameras, masks, outlines, found, keys, key)
    if compared.held < LEAST_AGREEMENT:
        raise CameraError(
            f"The masks of these photos agree too little in space ({compared.held:.0%}).",
            "Check that the cameras are of these photos, and that most masks are right.",
        )
    return compared


def keep(store: MatteStore, object_id: int, compared: Compared) -> None:
    """Write into the store what was found, for the review; raises StoreError."""
    frames = []
    for frame, verdict in sorted(compared.verdicts.items()):
        if frame in compared.keys:
            frames.append(
                FrameAgreement(
                    frame,
                    compared.keys[frame],
                    verdict.overlap,
                    verdict.extra_share,
                    verdict.missing_share,
                    _outlines(verdict, compared),
                )
            )
    said = compared.cameras.summary()
    outlines = compared.outlines
    agreement = Agreement(
        said, compared.hull_key, tuple(frames), outlines.limit, outlines.hull.others
    )
    write_agreement(store, object_id, agreement)


def _outlines(verdict: Verdict, compared: Compared) -> tuple[tuple[float, ...], ...]:
    """Return the hull's outlines on a photo, in its px."""
    camera = compared.cameras.by_frame[verdict.frame]
    rows, columns = verdict.shape.shape
    scale = np.array([camera.width / columns, camera.height / rows])
    contours = [contour.points for contour in trace_pixels(verdict.shape, min_area=9.0)]
    return tuple(
        tuple(round(float(value), 1) for value in (points * scale).ravel())
        for points in within(contours, _OUTLINE_PX)
    )


class ClipHull:
    """The hull that clips the masks of one object."""

    def __init__(self, outlines: Outlines, cameras: PhotoCameras, margin: float) -> None:
        self._outlines = outlines
        self._cameras = cameras
        self._margin = margin

    def kept(self, frame: int) -> NDArray[np.bool_] | None:
        """Return where a mask may be, (height, width) of the photo; None on photos without a camera."""
        camera = self._cameras.by_frame.get(frame)
        if camera is None:
            return None
        columns, rows = grid_of(camera.width, camera.height, _CLIP_SIDE)
        shares = self._outlines.shares(camera, columns, rows)
        inside = shares >= max(self._outlines.limit - _LOOSER, float(self._outlines.hull.shares[0]))
        if not inside.any():
            return None  # the hull is not on this photo at all, so nothing speaks about the mask
        apart = cv2.distanceTransform(
            (~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )
        within_hull = cv2.distanceTransform(
            inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )
        away = np.asarray(apart, np.float32) - np.asarray(within_hull, np.float32)
        # The hull is not finer than its voxels, nor than this grid.
        far = float(np.linalg.norm(camera.position - self._outlines.hull.centre))
        voxel = self._outlines.hull.voxel * camera.focal / max(far, 1e-9)
        cell = max(camera.width / columns, camera.height / rows)
        return upsample_binary((self._margin + voxel) / cell - away, camera.width, camera.height)


def clip_hulls(
    request: BakeRequest,
    store: MatteStore,
    objects: Sequence[int],
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> dict[int, ClipHull]:
    """Return what clips each object.

    Raises
    ------
    CameraError
        There are no cameras, no hull, or the masks agree too little.
    Cancelled
        ``cancelled`` returned True.
    """
    cameras = cameras_for(request.footage, request.cameras, request.store)
    run = last_run(store)
    found = {}
    for object_id in objects:
        steps = Steps(len(request.footage.paths), "", on_progress, cancelled)
        said = run.prompts.frames_of(object_id) if run is not None else ()
        compared = compare(store, object_id, cameras, request.footage, steps, request.edited, said)
        found[object_id] = ClipHull(compared.outlines, cameras, request.options.hull_margin_px)
    return found


def is_worth_a_prompt(compared: Compared, frame: int) -> bool:
    """Whether a mask disagrees so much with the hull that it should get a prompt."""
    verdict = compared.verdicts[frame]
    area = math.sqrt(float(verdict.wanted.sum()))
    usual = [math.sqrt(float(one.wanted.sum())) for one in compared.verdicts.values()]
    if area < 0.3 * float(np.median(usual)):
        return False  # nearly all of it is hidden or outside of the photo
    trusted = [
        compared.verdicts[at] for at, one in compared.outlines.hull.trust.items() if one >= _TRUSTED
    ]
    if not trusted:
        return False
    if may_be_hidden(verdict):
        return False
    usual_extra = float(np.median([one.extra_share for one in trusted]))
    if compared.outlines.hull.others:
        usual_extra = 0.0  # most masks have other things
    extra = verdict.extra_share - usual_extra
    missing = verdict.missing_share - float(np.median([one.missing_share for one in trusted]))
    overlap = verdict.overlap / max(float(np.median([one.overlap for one in trusted])), 1e-6)
    return extra > 0.06 or missing > 0.1 or overlap < 0.85


def may_be_hidden(verdict: Verdict) -> bool:
    """Whether so much of the subject is lacking that something probably stands before it.

    A prompt there would make the mask take what stands before it. A mask on another thing is wrong all
    the same, and so is an empty one where the photo has the subject's colours.
    """
    lacking = int((verdict.missing | verdict.hidden).sum())
    if lacking < _HIDDEN * max(int(verdict.shape.sum()), 1):
        return False
    if not verdict.inside.any():
        return int(verdict.missing.sum()) < _SHOWN * lacking
    return verdict.extra_share < _ELSEWHERE
