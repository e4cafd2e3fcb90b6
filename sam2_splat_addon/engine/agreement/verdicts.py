# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a mask and the hull disagree on a photo, and whether the photo shows the subject there.

A part that the mask lacks may be hidden: somebody walks past. Then the photo has other colours there than
the photos beside it have on the same place of the subject. Such a part is not missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from .aim import Mask
from .hull import Stop, never
from .outline import Bools, Outlines, grid_of, overlap

Picture = Callable[[int, int, int], NDArray[np.uint8] | None]
"""Gives the photo of a frame with so many columns and rows, (rows, columns, 3) RGB; None if it can't."""

_EDGE: Final = 0.02  # of the square root of the hull's area: what is no more than an inexact edge
_LOOSER: Final = 0.1  # what is outside of the hull at this lower share too is certainly outside
_MOST: Final = 0.65  # a part that so many photos hold is not certainly outside
_STRICTER: Final = 0.05
_STRIDE: Final = 2
_BESIDE: Final = 6  # photos whose colours are asked
_TRUSTED: Final = 0.6
_DEEP: Final = 5.0  # voxels between two surfaces that count as one
_LIKE: Final = 12.0  # colours that differ by less are alike, in Lab
_FEW: Final = 20  # places that say nothing yet
_MUCH: Final = 0.6  # share of the hull that must be seen to know a photo's own light
_SAMPLED: Final = 12  # photos from which usual differences are known
_LIGHTNESS: Final = 0.5  # how much lightness counts: exposure changes from photo to photo


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the other photos say of a mask. All pictures are on the photo's grid, (rows, columns).

    Attributes
    ----------
    shape
        Where the hull is.
    inside
        The mask.
    extra
        Where the mask is certainly outside of the hull.
    missing
        Where the mask certainly lacks a part of the hull that the photo seems to show.
    hidden
        Where the mask lacks a part of the hull, and the photo shows something else.
    """

    frame: int
    shape: Bools
    inside: Bools
    extra: Bools
    missing: Bools
    hidden: Bools

    @property
    def wanted(self) -> Bools:
        """Where the subject should be seen."""
        return self.shape & ~self.hidden

    @property
    def overlap(self) -> float:
        """IoU of the mask and what should be seen."""
        return overlap(self.inside & ~self.hidden, self.wanted)

    @property
    def held(self) -> float:
        """The part of what should be seen that the mask holds, 0 to 1."""
        return int((self.inside & self.wanted).sum()) / max(int(self.wanted.sum()), 1)

    @property
    def fault(self) -> float:
        """The share of mask and hull that is certainly extra or missing, 0 to 1.

        Unlike the overlap it does not blame a mask for what something hides.
        """
        both = int((self.inside | self.shape).sum())
        return (int(self.extra.sum()) + int(self.missing.sum())) / max(both, 1)

    @property
    def extra_share(self) -> float:
        """The extra's share of the mask, 0 to 1."""
        return int(self.extra.sum()) / max(int(self.inside.sum()), 1)

    @property
    def missing_share(self) -> float:
        """The missing part's share of the hull, 0 to 1."""
        return int(self.missing.sum()) / max(int(self.shape.sum()), 1)


def verdicts(
    outlines: Outlines, masks: Sequence[Mask], picture: Picture, go_on: Stop = never
) -> dict[int, Verdict]:
    """Compare each mask with the hull.

    Parameters
    ----------
    outlines
        The hull on the photos.
    masks
        The same masks.
    picture
        Gives photos; small ones are enough.
    go_on
        Called between photos; may raise to stop.

    Returns
    -------
    dict
        Frame -> verdict.
    """
    colours = _Colours(outlines, masks, picture)
    found = {}
    for mask in masks:
        found[mask.frame] = _verdict(outlines, mask, colours)
        go_on()
    return found


def _verdict(outlines: Outlines, mask: Mask, colours: _Colours) -> Verdict:
    shape, inside = outlines.shape(mask.frame), outlines.inside(mask.frame)
    reach = max(1, round(_EDGE * float(np.sqrt(shape.sum()))))
    outside = min(-_LOOSER, _MOST - outlines.limit)
    wide = wider(outlines.shape(mask.frame, outside), reach)
    core = outlines.shape(mask.frame, _STRICTER)
    lacking = core & ~wider(inside, reach)
    hidden = lacking & ~colours.alike(mask.frame, lacking, core & inside)
    return Verdict(mask.frame, shape, inside, inside & ~wide, lacking & ~hidden, hidden)


def wider(area: Bools, reach: int) -> Bools:
    """Return an area that is wider on all sides by so many places."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    found: Bools = np.asarray(cv2.dilate(area.astype(np.uint8), disc)) > 0
    return found


class _Colours:
    """The colours of the hull's surface, as each photo shows them."""

    def __init__(self, outlines: Outlines, masks: Sequence[Mask], picture: Picture) -> None:
        self._outlines = outlines
        self._masks = {mask.frame: mask for mask in masks}
        self._picture = picture
        self._lab: dict[int, NDArray[np.float32] | None] = {}
        self._depths: dict[int, NDArray[np.float32]] = {}
        self._alike_limit: float | None = None

    def alike(self, frame: int, area: Bools, known: Bools) -> Bools:
        """Return where in the area the photo has the colours that photos beside it have there.

        Parameters
        ----------
        frame
            The photo.
        area
            (rows, columns): what is asked.
        known
            (rows, columns): where the photo shows the subject. Its differences there are the usual ones.
        """
        everywhere = np.ones_like(area)
        own = self._lab_of(frame)
        if not area.any() or own is None:
            return everywhere
        rows, columns = np.nonzero(area | known)
        keep = (rows % _STRIDE == 0) & (columns % _STRIDE == 0)
        rows, columns = rows[keep], columns[keep]
        differs = self._differences(frame, rows, columns, own)
        asked = area[rows, columns]
        limit = self._limit()
        usual = differs[~asked & np.isfinite(differs)]
        if len(usual) > _MUCH * len(differs):  # else it says too little of the photo's own light
            limit = max(limit, float(np.quantile(usual, 0.5)))
        if not np.isfinite(differs[asked]).any():
            return everywhere
        # A share of alike places around each place; a single place says little.
        alike, known_places = np.zeros((2, *area.shape), np.float32)
        said = np.isfinite(differs) & asked
        alike[rows[said], columns[said]] = differs[said] <= limit
        known_places[rows[said], columns[said]] = 1
        size = (max(5, area.shape[0] // 16 * 2 + 1),) * 2
        share = cv2.boxFilter(alike, -1, size, normalize=False)
        total = cv2.boxFilter(known_places, -1, size, normalize=False)
        found: Bools = np.asarray(share >= 0.5 * total)
        return found

    def _limit(self) -> float:
        """Return how far colours may differ that count as alike: as most do where nothing is hidden."""
        if self._alike_limit is None:
            trusted = [frame for frame, one in self._outlines.hull.trust.items() if one >= _TRUSTED]
            found = []
            for frame in trusted[:: max(1, len(trusted) // _SAMPLED)]:
                own = self._lab_of(frame)
                if own is None:
                    continue
                rows, columns = np.nonzero(
                    self._outlines.shape(frame) & self._outlines.inside(frame)
                )
                keep = (rows % (2 * _STRIDE) == 0) & (columns % (2 * _STRIDE) == 0)
                differs = self._differences(frame, rows[keep], columns[keep], own)
                differs = differs[np.isfinite(differs)]
                if len(differs) > _FEW:
                    found.append(float(np.quantile(differs, 0.8)))
            self._alike_limit = max(_LIKE, float(np.median(found)) if found else 0.0)
        return self._alike_limit

    def _differences(
        self,
        frame: int,
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        own: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return how far the colours of places are from those in the photos beside; NaN if unknown."""
        camera = self._masks[frame].camera
        height, width = own.shape[:2]
        pixels = np.stack(
            [(columns + 0.5) * camera.width / width, (rows + 0.5) * camera.height / height], axis=-1
        )
        depth = self._depth_of(frame)[rows, columns]
        points = camera.position + camera.rays(pixels) * depth[:, None]
        seen = []
        for other in self._beside(frame):
            lab = self._lab_of(other)
            if lab is None:
                continue
            mask = self._masks[other]
            there, distance = mask.camera.project(points)
            x = there[:, 0] * lab.shape[1] / mask.camera.width
            y = there[:, 1] * lab.shape[0] / mask.camera.height
            with np.errstate(invalid="ignore"):
                inside = (x >= 0) & (y >= 0) & (x < lab.shape[1]) & (y < lab.shape[0]) & (depth > 0)
            column = np.where(inside, x, 0).astype(np.intp)
            row = np.where(inside, y, 0).astype(np.intp)
            surface = self._depth_of(other)[row, column]
            inside &= np.abs(distance - surface) <= _DEEP * self._outlines.hull.voxel
            inside &= self._outlines.inside(other)[row, column]
            colour = lab[row, column].copy()
            colour[~inside] = np.nan
            seen.append(colour)
        if len(seen) < 2:
            return np.full(len(rows), np.nan, np.float32)
        stack = np.array(seen)
        count = np.isfinite(stack[..., 0]).sum(axis=0)
        usual = np.full(stack.shape[1:], np.nan, np.float32)
        enough = count >= 2
        usual[enough] = np.nanmedian(stack[:, enough], axis=0)
        found: NDArray[np.float32] = np.linalg.norm(own[rows, columns] - usual, axis=1)
        return found

    def _beside(self, frame: int) -> list[int]:
        """Return the trusted frames that look from nearly the same direction, the nearest first."""
        centre = self._outlines.hull.centre

        def towards(number: int) -> NDArray[np.float64]:
            away = self._masks[number].camera.position - centre
            found: NDArray[np.float64] = away / max(float(np.linalg.norm(away)), 1e-12)
            return found

        own = towards(frame)
        trusted = [
            (-float(towards(other) @ own), other)
            for other, trust in self._outlines.hull.trust.items()
            if other != frame and trust >= _TRUSTED and other in self._masks
        ]
        return [other for _, other in sorted(trusted)[:_BESIDE]]

    def _lab_of(self, frame: int) -> NDArray[np.float32] | None:
        if frame not in self._lab:
            camera = self._masks[frame].camera
            pixels = self._picture(frame, *grid_of(camera.width, camera.height))
            lab = None
            if pixels is not None:
                light = np.ascontiguousarray(pixels, dtype=np.float32) / 255
                lab = np.asarray(cv2.cvtColor(light, cv2.COLOR_RGB2LAB), dtype=np.float32)
                lab = np.asarray(cv2.blur(lab, (3, 3)), dtype=np.float32)
                lab *= np.array([_LIGHTNESS, 1, 1], np.float32)
            self._lab[frame] = lab
        return self._lab[frame]

    def _depth_of(self, frame: int) -> NDArray[np.float32]:
        """Return the distance of the hull's surface on the photo's grid; 0 where there is none."""
        if frame not in self._depths:
            self._depths[frame] = self._outlines.depth(self._masks[frame].camera)
        return self._depths[frame]
