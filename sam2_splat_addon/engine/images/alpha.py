# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn mattes into one alpha at the footage's size.

Interpolation works in stripes, so there is never a float array of the footage's size. Distances are
Euclidean, between pixel centres. The frame's border is no edge. If a subject touches it, the
subject is not shrunk or feathered there, because it continues outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.bake_plan import BakeOptions
from ...core.geometry.bake_preview import SOFT_LOGIT, feather_sigma, soft_band
from ...core.geometry.orientation import AS_STORED, turned
from ...core.geometry.resample import stripes, upsample_binary
from ...core.targets import WHITE_KEPT, Bands
from .colors import to_8_bit
from .upright import upright

Alpha = NDArray[np.unsignedinteger[Any]]  # uint8 or uint16, 0 to full
Logits = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Depth = Literal[8, 16]

_TYPES: Final = {8: np.uint8, 16: np.uint16}
_DISC_RADIUS = 8.0
_STRIPE_ROWS = 512


@dataclass(frozen=True)
class Region:
    """Half-open ranges of rows and columns, px."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the view of ``array`` inside the region."""
        return array[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, eq=False)
class Mattes:
    """The mattes of some objects on one frame.

    Attributes
    ----------
    logits
        (h, w) of any size, for each object that keeps the model's matte.
    drawn
        (height, width) bool, for each object whose mask the user drew. It always has a hard edge.
    refined
        (height, width), 0 to 255, for each object whose matte was refined at the photo's size.
    limits
        For each entry of ``logits``, then of ``refined``: (height, width) bool, outside of which the object
        counts as absent; None for no limit. Empty means none for all.
    """

    logits: Sequence[Logits] = ()
    drawn: Sequence[Mask] = ()
    refined: Sequence[NDArray[np.uint8]] = ()
    limits: Sequence[Mask | None] = ()

    def __bool__(self) -> bool:
        return bool(self.logits or self.drawn or self.refined)


@dataclass(frozen=True, eq=False)
class Layers:
    """What a bake makes of the mattes of a frame, each (height, width).

    Attributes
    ----------
    kept
        uint8 or uint16: how much of each pixel is kept.
    ignored
        Where the photo is not trained; it is not kept there. None: nowhere.
    """

    kept: Alpha
    ignored: Mask | None = None

    def turned(self, orientation: int) -> Layers:
        """Return both, turned as an EXIF orientation says."""
        if orientation == AS_STORED:
            return self
        here = self.ignored
        return Layers(
            upright(self.kept, orientation),
            None if here is None else np.ascontiguousarray(turned(here, orientation)),
        )


def combine(
    logits: Sequence[Logits],
    drawn: Sequence[Mask],
    width: int,
    height: int,
    options: BakeOptions,
    depth: Depth = 8,
    refined: Sequence[NDArray[np.uint8]] = (),
) -> Alpha:
    """Make one alpha for the union of several objects that are kept.

    Parameters
    ----------
    logits, drawn, refined
        See `Mattes`.
    width, height
        Size of the footage, px.
    options
        How the edge is made and moved. `BakeOptions` explains the order of steps.
    depth
        Bits of the result.

    Returns
    -------
    NDArray
        (height, width) uint8 or uint16. Full is 255 or 65535.

    Examples
    --------
    >>> logits = np.full((4, 4), -5.0)
    >>> logits[1:3, 1:3] = 5.0
    >>> alpha = combine([logits], [], 400, 400, BakeOptions(grow_px=10))
    >>> alpha.shape, alpha.dtype, int(alpha[200, 200]), int(alpha[0, 0])
    ((400, 400), dtype('uint8'), 255, 0)
    """
    alpha = _union(Mattes(logits, drawn, refined), width, height, options, depth)
    return _with_edge(alpha, options)


def combine_roles(
    keep: Mattes | None,
    remove: Mattes,
    ignore: Mattes,
    width: int,
    height: int,
    options: BakeOptions,
    depth: Depth = 8,
) -> Layers:
    """Take what is removed or ignored out of what is kept.

    Holes and specks are looked for in each of the three. The edge is that of what is left: *Grow* makes
    the kept part larger, and so what is removed or ignored smaller.

    Parameters
    ----------
    keep
        The mattes of objects that are kept. None keeps the whole photo.
    remove, ignore
        The mattes of objects with these roles.
    width, height, options, depth
        As in `combine`.
    """
    full = 255 if depth == 8 else 65535
    if keep is None:
        kept: Alpha = np.full((height, width), full, _TYPES[depth])
    else:
        kept = _union(keep, width, height, options, depth)
    ignored = None
    for mattes in (remove, ignore):
        if mattes:
            taken = _union(mattes, width, height, options, depth)
            if mattes is ignore:
                ignored = taken
            np.minimum(kept, full - taken, out=kept)
    kept = _with_edge(kept, options)
    if ignored is None:
        return Layers(kept)
    if options.grow_px:
        ignored = grow(ignored, -options.grow_px)
    half = full // 2
    return Layers(kept, (ignored > half) & (kept <= half))


def mask_values(layers: Layers, bands: Bands, *, hard: bool) -> NDArray[np.uint8]:
    """Return a mask file's values, (height, width).

    Parameters
    ----------
    bands
        What the values mean.
    hard
        Whether there are only these values; else a soft edge keeps its greys. Three bands are always
        hard.
    """
    kept = to_8_bit(layers.kept)
    ignored = layers.ignored if bands.ignore != bands.remove else None
    if not hard and ignored is None:
        if bands == WHITE_KEPT:
            return kept
        step = (bands.keep - bands.remove) / 255.0
        table = np.rint(bands.remove + step * np.arange(256)).astype(np.uint8)
        return np.asarray(cv2.LUT(kept, table), dtype=np.uint8)
    values = np.empty_like(kept)
    if {bands.keep, bands.remove} == {0, 255}:
        kind = cv2.THRESH_BINARY if bands.keep else cv2.THRESH_BINARY_INV
        cv2.threshold(kept, 127, 255, kind, dst=values)
    else:
        table = np.where(np.arange(256) > 127, bands.keep, bands.remove).astype(np.uint8)
        cv2.LUT(kept, table, dst=values)
    if ignored is not None:
        values[ignored] = bands.ignore
    return values


def _union(mattes: Mattes, width: int, height: int, options: BakeOptions, depth: Depth) -> Alpha:
    """Return the union of some objects, with small holes filled and specks dropped."""
    full = 255 if depth == 8 else 65535
    logits = list(mattes.logits)
    limits = list(mattes.limits) or [None] * (len(logits) + len(mattes.refined))
    if logits and depth == 8 and options.alpha == "binary" and limits[0] is None:
        # In place, because a large photo's memory costs as much time as its arithmetic.
        alpha: Alpha = upsample_binary(logits.pop(0), width, height).view(np.uint8)
        limits.pop(0)
        alpha *= np.uint8(255)
    else:
        alpha = np.zeros((height, width), _TYPES[depth])
    for matte in logits:
        limit = limits.pop(0)
        if options.alpha == "soft":
            _add_soft(alpha, matte, full, limit)
        else:
            inside = upsample_binary(matte, width, height)
            if limit is not None:
                inside &= limit
            alpha[inside] = full
    for fine, limit in zip(mattes.refined, limits, strict=True):
        if limit is not None:
            fine = np.where(limit, fine, np.uint8(0))
        np.maximum(alpha, fine if depth == 8 else fine.astype(np.uint16) * 257, out=alpha)
    for mask in mattes.drawn:
        alpha[mask] = full
    if options.fill_holes_px:
        fill_holes(alpha, options.fill_holes_px)
    if options.drop_specks_px:
        drop_specks(alpha, options.drop_specks_px)
    return alpha


def _with_edge(alpha: Alpha, options: BakeOptions) -> Alpha:
    """Return an alpha with its edge moved and softened, and inverted, as the options say."""
    if options.grow_px:
        alpha = grow(alpha, options.grow_px)
    if options.feather_px:
        alpha = feather(alpha, options.feather_px)
    if options.invert:
        np.subtract(np.iinfo(alpha.dtype).max, alpha, out=alpha)
    return alpha


def _add_soft(alpha: Alpha, logits: Logits, full: int, kept: Mask | None = None) -> None:
    """Raise ``alpha`` to the matte's soft alpha: its sigmoid, stretched to reach 0 and full."""
    height, width = alpha.shape
    band = soft_band(logits)
    for top, stripe in stripes(band, width, height):
        levels = soft_levels(stripe, full).astype(alpha.dtype)
        if kept is not None:
            levels[~kept[top : top + len(stripe)]] = 0
        rows = alpha[top : top + len(stripe)]
        np.maximum(rows, levels, out=rows)


def soft_levels(logits: NDArray[np.float32], full: int) -> NDArray[np.floating[Any]]:
    """Return the logits' sigmoid in whole steps, stretched to reach 0 and full at `SOFT_LOGIT`."""
    low = 1.0 / (1.0 + np.exp(SOFT_LOGIT))
    share = (1.0 / (1.0 + np.exp(-logits)) - low) / (1.0 - 2.0 * low)
    return np.asarray(np.rint(np.clip(share, 0.0, 1.0) * full))


def fill_holes(alpha: Alpha, smaller_than: int) -> None:
    """Close, in place, holes with fewer px. An area at the frame's border is no hole.

    Background cells are connected only by their sides. So a diagonal line of subject closes a hole.
    """
    region = covered(alpha)
    if region is None:
        return
    part = region.of(alpha)
    full = np.iinfo(alpha.dtype).max
    for hole in _small_parts(part < full, part <= full // 2, 4, smaller_than):
        # Outside the covered region everything is background, so a hole at its border is open.
        if not hole.touches_border:
            hole.view_of(part)[hole.pixels] = full


def drop_specks(alpha: Alpha, smaller_than: int) -> None:
    """Remove, in place, separate parts with fewer px. Parts that touch at a corner are one."""
    region = covered(alpha)
    if region is None:
        return
    part = region.of(alpha)
    half = np.iinfo(alpha.dtype).max // 2
    for speck in _small_parts(part > 0, part > half, 8, smaller_than):
        speck.view_of(part)[speck.pixels] = 0


def grow(alpha: Alpha, distance: float) -> Alpha:
    """Move the edge outwards by ``distance`` px, or inwards if it is negative.

    A binary alpha is moved exactly: a pixel belongs to the grown matte if a pixel of the matte lies
    within the distance. A soft edge is moved with its values, to within 1 px.
    """
    reach = int(np.ceil(abs(distance)))
    region = covered(alpha, reach)
    if region is None:
        return alpha
    full = np.iinfo(alpha.dtype).max
    out = alpha.copy()
    if _is_binary(alpha):
        for top in range(region.top, region.bottom, _STRIPE_ROWS):
            bottom = min(top + _STRIPE_ROWS, region.bottom)
            above = max(top - reach, 0)
            around = alpha[above : bottom + reach, region.left : region.right]
            # OpenCV measures the distance to the nearest 0.
            away = around == 0 if distance > 0 else around > 0
            measured = cv2.distanceTransform(
                away.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
            )[top - above : bottom - above]
            within = measured <= abs(distance) + 1e-3
            inside = within if distance > 0 else ~within
            out[top:bottom, region.left : region.right] = np.where(inside, full, 0)
        return out
    # Several small discs give about the same as a large one, and cost much less.
    move = cv2.dilate if distance > 0 else cv2.erode
    whole, rest = divmod(abs(distance), _DISC_RADIUS)
    moved = move(region.of(alpha), _disc(_DISC_RADIUS), iterations=int(whole))
    region.of(out)[:] = move(moved, _disc(rest))
    return out


def feather(alpha: Alpha, width: float) -> Alpha:
    """Turn a hard edge into a ramp of about ``width`` px, centred on the edge (see `feather_sigma`)."""
    sigma = feather_sigma(width)
    reach = int(np.ceil(3.0 * sigma))
    region = covered(alpha, reach)
    if region is None:
        return alpha
    out = alpha.copy()
    size = (2 * reach + 1, 2 * reach + 1)
    region.of(out)[:] = cv2.GaussianBlur(
        region.of(alpha), size, sigma, borderType=cv2.BORDER_REPLICATE
    )
    return out


def covered(alpha: Alpha, margin: int = 0) -> Region | None:
    """Return the smallest region with all pixels above 0, plus a margin inside the frame.

    None if there are none.
    """
    rows = np.flatnonzero(alpha.any(axis=1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(alpha[top:bottom].any(axis=0))
    height, width = alpha.shape
    return Region(
        max(top - margin, 0),
        min(bottom + margin, height),
        max(int(columns[0]) - margin, 0),
        min(int(columns[-1]) + 1 + margin, width),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """A connected part: its box, and which of the box's pixels belong to it."""

    box: Region
    pixels: Mask
    touches_border: bool

    def view_of(self, array: NDArray[Any]) -> NDArray[Any]:
        return self.box.of(array)


def _small_parts(
    support: Mask, core: Mask, connectivity: Literal[4, 8], smaller_than: int
) -> Iterator[_Part]:
    """Yield connected parts of ``support`` that hold fewer than ``smaller_than`` px of ``core``."""
    height, width = support.shape
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        support.view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S
    )
    areas = np.zeros(count, dtype=np.int64)
    for top in range(0, height, _STRIPE_ROWS):
        rows = slice(top, top + _STRIPE_ROWS)
        areas += np.bincount(labels[rows][core[rows]], minlength=count)
    for label in np.flatnonzero(areas < smaller_than):
        if label == 0:  # outside the support
            continue
        left, top, columns, rows_high = (int(v) for v in boxes[label][:4])
        box = Region(top, top + rows_high, left, left + columns)
        at_border = left == 0 or top == 0 or box.right == width or box.bottom == height
        yield _Part(box, box.of(labels) == label, at_border)


def _is_binary(alpha: Alpha) -> bool:
    full = np.iinfo(alpha.dtype).max
    for top in range(0, alpha.shape[0], _STRIPE_ROWS):
        rows = alpha[top : top + _STRIPE_ROWS]
        if ((rows != 0) & (rows != full)).any():
            return False
    return True


def _disc(radius: float) -> NDArray[np.uint8]:
    reach = int(np.floor(radius + 1e-3))
    offset = np.arange(-reach, reach + 1)
    squared = offset[:, None] ** 2 + offset[None, :] ** 2
    return (squared <= (radius + 1e-3) ** 2).astype(np.uint8)
