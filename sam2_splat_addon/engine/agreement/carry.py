# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry what the user said on one photo to others, through its place in space.

The photos on which the user says where the subject is are the *anchors*. A click lies on a ray of space. How
far along it the subject is, the sparse points on the mask tell; without them some depths are tried, and the
one counts at which masks of photos around agree with the anchors. From these masks comes a hull, and the hull
says where the subject is on every other photo.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...core.cameras.find import PhotoCameras
from ...core.errors import CameraError
from ...core.geometry.resample import upsample_binary
from ...core.prompts import FramePrompts
from .aim import Floats, Mask, masks_meet
from .hull import Stop, carve, never
from .outline import Bools, Outlines, deep_places, grid_of, overlap
from .sparse import shown_points, unhidden
from .subject import (
    Coarse,
    Focus,
    Segment,
    Tried,
    clicks_at,
    focus_of,
    masks_at,
    reach_at,
    spread_views,
)

LEAST_FIT: Final = 0.65
"""IoU of a mask and the hull, under which a photo gets no clicks."""

LEAST_AGREEMENT: Final = 0.5
"""Under this agreement of the anchors and the photos around nothing is carried."""

_SHARE: Final = 0.25  # of the photos get clicks
_FEWEST: Final = 6
_MOST: Final = 24
_AROUND: Final = 6  # photos on which a depth is tried
_DEPTHS: Final = (0.55, 0.7, 0.85, 1.0, 1.2, 1.45)  # of the distance to where the axes meet
_FEW_POINTS: Final = 8
_ACROSS: Final = 128  # voxels


def targets(cameras: PhotoCameras, cuts: Sequence[int], anchors: Sequence[int]) -> list[int]:
    """Return the frames that get clicks, rising: views from all sides, and the begin of each pass."""
    others = [frame for frame in sorted(cameras.by_frame) if frame not in anchors]
    count = min(max(round(_SHARE * len(cameras.by_frame)), _FEWEST), _MOST)
    centre = np.mean([view.position for view in cameras.by_frame.values()], axis=0)
    with contextlib.suppress(CameraError):  # the middle of the cameras spreads the photos too
        centre = focus_of(cameras).point
    chosen = set(spread_views(cameras.by_frame, centre, count, others))
    begins = [next((frame for frame in others if frame >= cut), None) for cut in cuts]
    return sorted(chosen | {frame for frame in begins if frame is not None})


def carry(
    cameras: PhotoCameras,
    anchors: Mapping[int, tuple[FramePrompts, NDArray[np.floating[Any]]]],
    wanted: Sequence[int],
    segment: Segment,
    go_on: Stop = never,
) -> tuple[FramePrompts, ...]:
    """Return clicks for other photos.

    Parameters
    ----------
    cameras
        Of the photos.
    anchors
        Frame -> the user's prompts, and the mask that they give.
    wanted
        The frames that should get clicks, without the anchors.
    segment
        Asks the model.
    go_on
        Called between steps; may raise to stop.

    Returns
    -------
    tuple of FramePrompts
        Frames rising. They correct what is tracked there. Photos on which the subject is hidden or unclear
        are not there. Empty if the anchors have no camera, or no depth fits.
    """
    fixed = [
        Mask(frame, cameras.by_frame[frame], logits, 1.0, fixed=True)
        for frame, (_, logits) in sorted(anchors.items())
        if frame in cameras.by_frame and (logits > 0).any()
    ]
    if not fixed:
        return ()
    best = _placed(cameras, fixed, anchors, segment, go_on)
    if best is None:
        return ()
    masks = list(best.masks.values())
    hull = carve(masks, across=_ACROSS, go_on=go_on)
    if hull is None:
        return ()
    outlines = Outlines(hull, masks, go_on)
    found = []
    for frame in wanted:
        go_on()
        view = cameras.by_frame[frame]
        columns, rows = grid_of(view.width, view.height)
        shape = outlines.shares(view, columns, rows) >= outlines.limit
        prompts = _clicked(cameras, frame, shape, outlines, segment)
        if prompts is not None:
            found.append(prompts)
    return tuple(found)


def _clicked(
    cameras: PhotoCameras, frame: int, shape: Bools, outlines: Outlines, segment: Segment
) -> FramePrompts | None:
    """Return the clicks on a photo whose mask fits the hull best; None if none fits."""
    view = cameras.by_frame[frame]
    rows, columns = shape.shape
    depth = outlines.depth(view)
    seen = []
    for row, column in deep_places(shape, 3):
        pixel = np.array(
            [[(column + 0.5) * view.width / columns, (row + 0.5) * view.height / rows]]
        )
        place = view.position + view.rays(pixel) * float(depth[row, column])
        if depth[row, column] > 0 and unhidden(cameras, frame, place)[0]:
            seen.append((row, column))
    best: tuple[float, FramePrompts] | None = None
    for count in dict.fromkeys((1, len(seen))):
        if not seen:
            break
        clicks = clicks_at(seen[:count], shape.shape, view)
        prompts = FramePrompts(frame, clicks)
        logits = segment(prompts)
        if logits is None:
            return None
        fit = overlap(upsample_binary(logits, columns, rows), shape)
        if best is None or fit > best[0]:
            best = fit, prompts
    return best[1] if best is not None and best[0] >= LEAST_FIT else None


def _placed(
    cameras: PhotoCameras,
    fixed: Sequence[Mask],
    anchors: Mapping[int, tuple[FramePrompts, NDArray[np.floating[Any]]]],
    segment: Segment,
    go_on: Stop,
) -> Tried | None:
    """Find out where in space the subject is; None if no place fits the anchors."""
    best: Tried | None = None
    for place in _places(cameras, fixed, anchors):
        reach = reach_at(cameras, place)
        known = [mask.frame for mask in fixed]
        others = [frame for frame in sorted(cameras.by_frame) if frame not in known]
        towards = fixed[0].camera.position - place
        nearest = sorted(others, key=lambda frame: (_turned(cameras, frame, place, towards), frame))
        around = nearest[: max(2, _AROUND // 2)]
        around += spread_views(
            cameras.by_frame, place, _AROUND - len(around), nearest[len(around) :]
        )
        views = {frame: cameras.by_frame[frame] for frame in (*known, *around)}
        coarse = Coarse(views, Focus(place, reach, np.array([0.0, 0.0, 1.0])))
        masks = [*fixed, *masks_at(cameras, around, place, segment, go_on)]
        tried = coarse.judged(place, masks, len(views))
        if best is None or tried.score > best.score:
            best = tried
    return best if best is not None and best.agreement >= LEAST_AGREEMENT else None


def _turned(cameras: PhotoCameras, frame: int, place: Floats, towards: Floats) -> float:
    """Return how far a camera is turned around a place from a direction: 0 to 2."""
    own = cameras.by_frame[frame].position - place
    length = float(np.linalg.norm(own) * np.linalg.norm(towards))
    return 1.0 - float(own @ towards) / max(length, 1e-12)


def _places(
    cameras: PhotoCameras,
    fixed: Sequence[Mask],
    anchors: Mapping[int, tuple[FramePrompts, NDArray[np.floating[Any]]]],
) -> list[Floats]:
    """Return the places where the subject may be, the likeliest first."""
    found = []
    meeting = masks_meet(fixed)
    if meeting is not None and len(fixed) > 1:
        found.append(meeting)
    first = fixed[0]
    view = first.camera
    columns, rows = grid_of(view.width, view.height)
    inside = upsample_binary(first.logits, columns, rows)
    points = [point for point in anchors[first.frame][0].points if point.include]
    if points:
        pixel = np.array([[points[0].x, points[0].y]])
    else:
        spots = deep_places(inside, 1) or [tuple(np.argwhere(inside)[0])]
        row, column = spots[0]
        pixel = np.array(
            [[(column + 0.5) * view.width / columns, (row + 0.5) * view.height / rows]]
        )
    ray = view.rays(pixel)[0]
    if not np.isfinite(ray).all():
        return found
    pixels, far, _ = shown_points(cameras, first.frame)
    x, y = (
        (pixels[:, axis] * side / size).astype(int)
        for axis, side, size in ((0, columns, view.width), (1, rows, view.height))
    )
    on_it = far[inside[y.clip(0, rows - 1), x.clip(0, columns - 1)]]
    if len(on_it) >= _FEW_POINTS:
        found += [view.position + ray * float(np.quantile(on_it, at)) for at in (0.25, 0.5)]
    try:
        usual = float(np.linalg.norm(focus_of(cameras).point - view.position))
    except CameraError:
        return found
    if len(on_it) < _FEW_POINTS:
        found += [view.position + ray * usual * depth for depth in _DEPTHS]
    return found
