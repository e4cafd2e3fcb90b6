# SPDX-License-Identifier: GPL-3.0-or-later
"""Make training samples of real photos: stills, and clips in which their subjects move.

A still becomes a clip as in STM (Oh et al. 2019). The photo, or its subject in front of another
photo, is warped a little further on each frame. A look-alike is the same subject pasted again
beside itself. A piece of another photo can hide the subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.research.train.clips import change_light
from tools.research.train.library import Image
from tools.research.train.photos import Mask, PhotoLibrary, Rng, draw_subject, draw_view

_TWIN_SHARE: Final = 0.2  # of samples with a look-alike beside the subject
_HIDING_SHARE: Final = 0.2  # of samples with something in front of the subject
_ELSEWHERE_SHARE: Final = 0.4  # of clips: the subject moves in front of another photo
_ORBIT_SHARE: Final = 0.1  # of clips that come from a real orbit


@dataclass(frozen=True)
class Sample:
    """One subject on one or more frames.

    Attributes
    ----------
    frames : Image
        (T, S, S, 3) RGB.
    masks : ndarray of bool
        (T, S, S).
    """

    frames: Image
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class _Cutout:
    image: Image  # (h, w, 3)
    mask: Mask  # (h, w)


def sample_still(rng: Rng, library: PhotoLibrary, size: int) -> Sample:
    """Draw one photo with a subject, (1, size, size)."""
    while True:
        image, mask = draw_subject(rng, library)
        view = draw_view(rng, image, mask, size)
        if view is None:
            continue
        frame, inside = view
        chance = rng.random()
        if chance < _TWIN_SHARE:
            frame, inside = _with_twin(rng, frame, inside)
        elif chance < _TWIN_SHARE + _HIDING_SHARE:
            frame, inside = _hidden_by(rng, library, frame, inside)
        if inside.sum() < 0.002 * inside.size:
            continue
        frames = change_light(rng, frame[None]) if rng.random() < 0.6 else frame[None]
        return Sample(np.asarray(frames, np.uint8), inside[None])


def sample_moving(rng: Rng, library: PhotoLibrary, size: int, length: int) -> Sample:
    """Draw a clip of ``length`` frames."""
    if library.orbits and rng.random() < _ORBIT_SHARE:
        return _from_orbit(rng, library, size, length)
    while True:
        still = sample_still(rng, library, size)
        frame, mask = still.frames[0], still.masks[0]
        if mask.mean() > 0.6:
            continue
        if rng.random() < _ELSEWHERE_SHARE:
            clip = _before_another(rng, library, frame, mask, length)
        else:
            clip = _warped(rng, frame, mask, length)
        if clip.masks[0].sum() >= 0.002 * mask.size:
            return Sample(_flicker(rng, clip.frames), clip.masks)


def _from_orbit(rng: Rng, library: PhotoLibrary, size: int, length: int) -> Sample:
    orbit = library.orbits[int(rng.integers(len(library.orbits)))]
    step = int(rng.integers(1, 7))
    first = int(rng.integers(len(orbit.images)))
    way = 1 if rng.random() < 0.5 else -1
    numbers = [(first + way * step * t) % len(orbit.images) for t in range(length)]
    height, width = orbit.masks[0].shape
    share = rng.uniform(0.6, 1.0)
    high, wide = int(height * share), int(width * share)
    frames, masks = [], []
    for number in numbers:
        rows, columns = np.nonzero(orbit.masks[number])
        middle = (rows.mean(), columns.mean()) if len(rows) else (height / 2, width / 2)
        jitter = rng.uniform(-0.1, 0.1, 2) * (high, wide)
        top = int(np.clip(middle[0] - high / 2 + jitter[0], 0, height - high))
        left = int(np.clip(middle[1] - wide / 2 + jitter[1], 0, width - wide))
        window = (slice(top, top + high), slice(left, left + wide))
        square = (size, size)
        frames.append(
            cv2.resize(orbit.images[number][window], square, interpolation=cv2.INTER_AREA)
        )
        seen = orbit.masks[number][window].astype(np.uint8)
        masks.append(cv2.resize(seen, square, interpolation=cv2.INTER_NEAREST) > 0)
    stacked = change_light(rng, np.stack(frames))
    return Sample(stacked, np.stack(masks))


def _motion(rng: Rng, side: int, length: int, strength: float) -> list[NDArray[np.float64]]:
    """Return affine maps (2, 3) of a picture, each some way further than the last."""
    far = rng.uniform(0.3, 1.0) * strength
    turn, shear = rng.normal(0, 0.12 * far), rng.normal(0, 0.06 * far)
    grow = rng.normal(0, 0.12 * far)
    shift = rng.normal(0, 0.08 * far, 2) * side
    maps = []
    for t in range(length):
        jitter = rng.normal(0, 0.25, 4)
        angle = turn * (t + jitter[0])
        scale = float(np.exp(grow * (t + jitter[1])))
        cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
        linear = np.array([[cosine, -sine + shear * t], [sine, cosine]])
        middle = np.array([side / 2, side / 2])
        offset = middle - linear @ middle + shift * (t + jitter[2:])
        maps.append(np.column_stack([linear, offset]))
    return maps


def _warp(image: Image, mask: Mask, affine: NDArray[np.float64], border: int) -> tuple[Image, Mask]:
    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderMode=border)
    soft = cv2.warpAffine(mask.astype(np.float32), affine, size, flags=cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8), np.asarray(soft > 0.5)


def _bend(rng: Rng, image: Image, mask: Mask, strength: float) -> tuple[Image, Mask]:
    """Warp the picture smoothly, like a thing that turns or moves its limbs."""
    side = image.shape[0]
    field = rng.normal(0, strength * side, (5, 5, 2)).astype(np.float32)
    smooth = cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=2).astype(np.float32)
    across, down = cv2.split(grid + np.asarray(smooth))
    moved = cv2.remap(image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    soft = cv2.remap(mask.astype(np.float32), across, down, cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8), np.asarray(soft > 0.5)


def _warped(rng: Rng, frame: Image, mask: Mask, length: int) -> Sample:
    """Move the whole photo, as in front of a moving camera."""
    frames, masks = [], []
    for affine in _motion(rng, mask.shape[0], length, 1.0):
        moved, inside = _warp(frame, mask, affine, cv2.BORDER_REFLECT)
        # The mirrored border would repeat parts of the subject that no mask contains, so make it black.
        there, _ = _warp(frame, np.ones_like(mask), affine, cv2.BORDER_CONSTANT)
        moved = there if rng.random() < 0.5 else moved
        moved, inside = _bend(rng, moved, inside, 0.012)
        frames.append(moved)
        masks.append(inside)
    return Sample(np.stack(frames), np.stack(masks))


def _before_another(
    rng: Rng, library: PhotoLibrary, frame: Image, mask: Mask, length: int
) -> Sample:
    """Move the subject alone in front of another photo, perhaps with a look-alike beside it."""
    side = mask.shape[0]
    other, _ = draw_subject(rng, library)
    ground = np.asarray(cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    nothing = np.zeros_like(mask)
    own = _motion(rng, side, length, 1.3)
    camera = _motion(rng, side, length, 0.7)
    twin = _motion(rng, side, length, 1.3) if rng.random() < 0.35 else None
    aside = rng.uniform(-0.5, 0.5, 2) * side
    mirrored = np.ascontiguousarray(frame[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    in_front = rng.random() < 0.5
    frames, masks = [], []
    for t in range(length):
        scene, _ = _warp(ground, nothing, camera[t], cv2.BORDER_REFLECT)
        moved, inside = _warp(*_bend(rng, frame, mask, 0.015), own[t], cv2.BORDER_CONSTANT)
        layers = [(moved, inside)]
        if twin is not None:
            twin[t][:, 2] += aside
            layers.insert(int(in_front), _warp(*mirrored, twin[t], cv2.BORDER_CONSTANT))
        seen = np.zeros_like(mask)
        for pixels, there in layers:
            scene = _lay_over(scene, pixels, there)
            seen = (seen & ~there) | (there if pixels is moved else np.zeros_like(there))
        frames.append(scene)
        masks.append(seen)
    return Sample(np.stack(frames), np.stack(masks))


def _lay_over(scene: Image, pixels: Image, there: Mask) -> Image:
    soft = cv2.GaussianBlur(there.astype(np.float32), (3, 3), 0)[..., None]
    return np.asarray(scene * (1 - soft) + pixels * soft, np.uint8)


def _with_twin(rng: Rng, frame: Image, mask: Mask) -> tuple[Image, Mask]:
    """Paste the subject again beside, behind or in front of itself. Only the first one is the target."""
    side = mask.shape[0]
    affine = _motion(rng, side, 1, 1.0)[0]
    affine[:, 2] += rng.choice([-1, 1], 2) * rng.uniform(0.15, 0.5, 2) * side
    pixels, there = frame, mask
    if rng.random() < 0.5:
        pixels, there = np.ascontiguousarray(frame[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    pixels, there = _warp(pixels, there, affine, cv2.BORDER_CONSTANT)
    if rng.random() < 0.6:
        there = there & ~mask
    return _lay_over(frame, pixels, there), mask & ~there


def _hidden_by(rng: Rng, library: PhotoLibrary, frame: Image, mask: Mask) -> tuple[Image, Mask]:
    """Put another photo's subject in front."""
    side = mask.shape[0]
    image, inside = draw_subject(rng, library)
    pixels = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    there = cv2.resize(inside.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0
    affine = _motion(rng, side, 1, 1.0)[0]
    linear = rng.uniform(0.3, 0.9)
    affine[:, :2] *= linear
    affine[:, 2] += rng.uniform(-0.2, 0.8, 2) * side
    pixels, there = _warp(np.asarray(pixels, np.uint8), there, affine, cv2.BORDER_CONSTANT)
    if (mask & ~there).sum() < 0.4 * mask.sum():
        return frame, mask
    return _lay_over(frame, pixels, there), mask & ~there


def _flicker(rng: Rng, frames: Image) -> Image:
    """Change the light from frame to frame, in addition to the clip's own light."""
    if rng.random() < 0.5:
        return frames
    gains = rng.normal(1.0, 0.06, (len(frames), 1, 1, 3))
    return np.asarray(np.clip(frames * gains, 0, 255), np.uint8)
