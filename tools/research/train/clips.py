# SPDX-License-Identifier: GPL-3.0-or-later
"""Make training clips: rendered captures, and objects cut out and pasted elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from tools.research.train.library import OCCLUDER_ID, Image, Library, Scene
from tools.research.train.shapes import bar, ground, sprites, texture

Rng = np.random.Generator
SUBJECT_ID: Final = 1
_HIDDEN_SHARE: Final = 0.3  # of clips: an object is wholly hidden for one to three frames
_STEPS: Final = {1: 0.6, 2: 0.25, 3: 0.15}  # views from frame to frame, and their shares
_JUMP_SHARE: Final = 0.15  # of clips: each photo is taken from another distance or place
_MIN_SPRITE_AREA: Final = 300  # px; a smaller cut-out is only a piece that shows behind something


@dataclass(frozen=True)
class Clip:
    """A short sequence with instance ids.

    Attributes
    ----------
    frames : Image
        (T, S, S, 3) RGB.
    ids : Image
        (T, S, S) instance ids. 255 is something that only passes in front.
    """

    frames: Image
    ids: Image


@dataclass(frozen=True)
class _Sprite:
    views: list[Image]  # (h, w, 4) RGBA, one per frame, of varying size
    centres: list[tuple[float, float]]  # offset of each view's centre from the first's, in heights


def sample_clip(
    rng: Rng,
    library: Library,
    size: int,
    length: int,
    rendered: float = 0.5,
    augment: float = 1.0,
) -> Clip:
    """Draw one clip.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all choices.
    library : Library
        May be empty. Then everything is drawn.
    size : int
        Side S in px.
    length : int
        Number of frames T.
    rendered : float
        Fraction of clips that are captures as rendered.
    augment : float
        0 to 1: how often light, noise and crop of a rendered clip are changed.
    """
    if library.scenes and rng.random() < rendered * library.trust:
        scene = library.pick(rng)
        clip = _rendered(rng, scene, size, length, augment)
    else:
        clip = _composite(rng, library, size, length)
    if length > 1 and rng.random() < _HIDDEN_SHARE:
        _hide(rng, clip.frames, clip.ids)
    frames = change_light(rng, clip.frames) if rng.random() < augment else clip.frames
    return Clip(frames, clip.ids)


def _order(rng: Rng, available: int, length: int) -> list[int]:
    """Return frame numbers, forwards or backwards, some with steps. They turn round at the ends."""
    step = int(rng.choice(list(_STEPS), p=list(_STEPS.values()))) if available > 6 else 1
    first = int(rng.integers(max(1, available - (length - 1) * step)))
    around = 2 * (available - 1) or 1
    order = [(first + i * step) % around for i in range(length)]
    order = [i if i < available else around - i for i in order]
    return order[::-1] if rng.random() < 0.5 else order


def _rendered(rng: Rng, scene: Scene, size: int, length: int, augment: float = 1.0) -> Clip:
    order = _order(rng, len(scene.frames), length)
    height, width = scene.ids[0].shape
    boxes = _crop_boxes(rng, scene, order, height, width, augment)
    flip = rng.random() < 0.5
    frames = np.empty((length, size, size, 3), np.uint8)
    ids = np.empty((length, size, size), np.uint8)
    for i, (number, (x, y, w, h)) in enumerate(zip(order, boxes, strict=True)):
        window = (slice(y, y + h), slice(x, x + w))
        way = cv2.INTER_AREA if h * w > size * size else cv2.INTER_LINEAR
        frame = cv2.resize(scene.frames[number][window], (size, size), interpolation=way)
        labels = cv2.resize(
            scene.ids[number][window], (size, size), interpolation=cv2.INTER_NEAREST_EXACT
        )
        frames[i], ids[i] = (frame[:, ::-1], labels[:, ::-1]) if flip else (frame, labels)
    if rng.random() < 0.35:
        _pass_in_front(rng, frames, ids)
    return Clip(frames, ids)


def _crop_boxes(
    rng: Rng, scene: Scene, order: list[int], height: int, width: int, augment: float
) -> list[tuple[int, int, int, int]]:
    """Return each frame's crop (x, y, w, h) in px.

    It is the whole frame, a window drifting on the subject, or another window on each frame.
    """
    if rng.random() < _JUMP_SHARE * augment:
        return [_window_on_subject(rng, scene.ids[number]) for number in order]
    if rng.random() >= 0.5 * augment:
        return [(0, 0, width, height)] * len(order)
    zoom = rng.uniform(0.5, 1.0)
    w = int(width * np.clip(zoom * rng.uniform(0.85, 1.2), 0.4, 1))
    h = int(height * np.clip(zoom * rng.uniform(0.85, 1.2), 0.4, 1))
    rows, columns = np.nonzero(scene.ids[order[0]] == SUBJECT_ID)
    if rows.size:
        pick = int(rng.integers(rows.size))
        cx, cy = float(columns[pick]), float(rows[pick])
    else:
        cx, cy = width / 2, height / 2
    vx, vy = rng.normal(0, 0.012, 2) * max(height, width)
    boxes = []
    for i in range(len(order)):
        x = int(np.clip(cx - w / 2 + vx * i, 0, width - w))
        y = int(np.clip(cy - h / 2 + vy * i, 0, height - h))
        boxes.append((x, y, w, h))
    return boxes


def _window_on_subject(rng: Rng, ids: Image) -> tuple[int, int, int, int]:
    """Return a crop of another size and shape that holds most of the subject, (x, y, w, h) in px."""
    height, width = ids.shape
    x, y, w, h = cv2.boundingRect((ids == SUBJECT_ID).astype(np.uint8))
    if w == 0:
        return 0, 0, width, height
    aspect = float(np.exp(rng.normal(0, 0.3)))
    room = rng.uniform(0.85, 2.5)
    across = int(np.clip(room * max(w, h) * aspect**0.5, 0.25 * width, width))
    down = int(np.clip(room * max(w, h) * aspect**-0.5, 0.25 * height, height))
    left = x + w / 2 - across / 2 + rng.normal(0, 0.12) * across
    top = y + h / 2 - down / 2 + rng.normal(0, 0.12) * down
    return (
        int(np.clip(left, 0, width - across)),
        int(np.clip(top, 0, height - down)),
        across,
        down,
    )


def _composite(rng: Rng, library: Library, size: int, length: int) -> Clip:
    frames, ids = _backdrop(rng, library, size, length)
    free = [i for i in range(1, 200) if not (ids == i).any()]
    for number in range(int(rng.integers(1, 4))):
        sprite = _sprite(rng, library, length)
        if sprite is not None:
            absent = rng.random() < 0.15 and number > 0
            _paste(rng, frames, ids, sprite, free[number], absent=absent)
    if rng.random() < 0.35:
        _pass_in_front(rng, frames, ids)
    return Clip(frames, ids)


def _backdrop(rng: Rng, library: Library, size: int, length: int) -> tuple[Image, Image]:
    """Return frames and ids of the background: a capture with its objects, a picture, or a floor."""
    ids = np.zeros((length, size, size), np.uint8)
    choice = rng.random()
    if library.scenes and choice < 0.4 * library.trust:
        scene = library.pick(rng)
        clip = _rendered(rng, scene, size, length)
        return clip.frames, clip.ids
    jumps = rng.random() < _JUMP_SHARE
    if library.grounds and choice < 0.9:
        picture = library.grounds[int(rng.integers(len(library.grounds)))]
    else:
        picture = ground(rng, size + size // 4) if rng.random() < 0.7 else texture(rng, size + 32)
    height, width = picture.shape[:2]
    zoom = rng.uniform(0.5, 0.95)
    w, h = int(width * zoom), int(height * zoom)
    start, drift = rng.random(2), rng.normal(0, 0.06, 2)
    frames = np.empty((length, size, size, 3), np.uint8)
    for i in range(length):
        at = rng.random(2) if jumps else np.clip(start + drift * i, 0, 1)
        x, y = int(at[0] * (width - w)), int(at[1] * (height - h))
        frames[i] = cv2.resize(
            picture[y : y + h, x : x + w], (size, size), interpolation=cv2.INTER_AREA
        )
    return frames, ids


def _sprite(rng: Rng, library: Library, length: int) -> _Sprite | None:
    """Cut a turning object out of a capture, or draw one."""
    if not library.scenes or rng.random() > 0.85 * library.trust:
        return _Sprite(sprites(rng, length), [(0.0, 0.0)] * length)
    scene = library.pick(rng)
    order = _order(rng, len(scene.frames), length)
    seen = [
        i for i, areas in scene.areas.items() if min(areas[n] for n in order) >= _MIN_SPRITE_AREA
    ]
    if not seen:
        return None
    chosen = (
        SUBJECT_ID
        if SUBJECT_ID in seen and rng.random() < 0.6
        else seen[int(rng.integers(len(seen)))]
    )
    views: list[Image] = []
    for number in order:
        mask = (scene.ids[number] == chosen).astype(np.uint8) * 255
        x, y, w, h = cv2.boundingRect(mask)
        x0, y0 = max(0, x - 2), max(0, y - 2)
        x1, y1 = x + w + 2, y + h + 2
        cut = mask[y0:y1, x0:x1]
        views.append(np.dstack([scene.frames[number][y0:y1, x0:x1], cut]))
    return _Sprite(views, [(0.0, 0.0)] * length)


def _paste(
    rng: Rng, frames: Image, ids: Image, sprite: _Sprite, label: int, *, absent: bool
) -> None:
    """Paste views along a drifting path. ``absent`` keeps them off some later frames."""
    length, size = frames.shape[:2]
    height = sprite.views[0].shape[0]
    scale = size * rng.uniform(0.25, 0.9) / height
    aspect = float(np.exp(rng.normal(0, 0.15)))
    x, y = rng.uniform(0.25, 0.75, 2) * size
    vx, vy = rng.normal(0, 0.03, 2) * size
    growth, spin = 1 + rng.normal(0, 0.02), rng.normal(0, 2.0)
    lean = rng.normal(0, 6.0)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    tint = rng.uniform(0.6, 1.4, 3) if rng.random() < 0.5 else np.ones(3)
    mix = np.eye(3)[rng.permutation(3)] if rng.random() < 0.3 else np.eye(3)
    jumps = rng.random() < _JUMP_SHARE
    gone = range(0)
    if absent and length > 1:
        first = int(rng.integers(1, length))
        gone = range(first, first + int(rng.integers(1, 4)))
    for i in range(length):
        if i in gone:
            continue
        view = sprite.views[i]
        if mix is not None:
            colours = np.clip(
                view[..., :3].astype(np.float32) @ (mix * tint).astype(np.float32), 0, 255
            )
            view = np.dstack([colours.astype(np.uint8), view[..., 3]])
        grow = scale * growth**i * (float(np.exp(rng.normal(0, 0.3))) if jumps else 1.0)
        _lay(
            frames[i],
            ids[i],
            view,
            label,
            centre=(x + vx * i, y + vy * i),
            scale=(grow * aspect * flip, grow),
            angle=lean + spin * i,
        )


def _pass_in_front(rng: Rng, frames: Image, ids: Image) -> None:
    """Let a pole, a board or a blob cross the clip. On some frames it hides things behind it."""
    length, size = frames.shape[:2]
    view = bar(rng, size) if rng.random() < 0.7 else sprites(rng, 1)[0]
    path = np.linspace(rng.uniform(-0.4, 0.6), rng.uniform(0.4, 1.4), length)
    if rng.random() < 0.5:
        path = path[::-1]
    y, scale = rng.uniform(0.3, 0.7) * size, rng.uniform(0.6, 1.6)
    skip = int(rng.random() < 0.7)  # mostly not on the first frame, because it has the prompts
    for i in range(skip, length):
        _lay(
            frames[i],
            ids[i],
            view,
            OCCLUDER_ID,
            centre=(float(path[i]) * size, y),
            scale=(scale, scale),
            angle=0.0,
        )


def _hide(rng: Rng, frames: Image, ids: Image) -> None:
    """Put a board in front of one object, so that one or two later frames show nothing of it."""
    length, size = frames.shape[:2]
    objects = [i for i in np.unique(ids[0]).tolist() if 0 < i < OCCLUDER_ID]
    if not objects:
        return
    label = SUBJECT_ID if SUBJECT_ID in objects else objects[int(rng.integers(len(objects)))]
    skin = texture(rng, size)
    first = int(rng.integers(1, length))
    for i in range(first, min(length, first + int(rng.integers(1, 4)))):
        x, y, w, h = cv2.boundingRect((ids[i] == label).astype(np.uint8))
        if w == 0:
            continue
        left, top = (int(rng.uniform(0.02, 0.3) * side) + 1 for side in (w, h))
        right, bottom = (int(rng.uniform(0.02, 0.3) * side) + 1 for side in (w, h))
        if rng.random() < 0.6:  # like a pillar or a person that reaches the picture's lower edge
            bottom = size
        board = (slice(max(0, y - top), y + h + bottom), slice(max(0, x - left), x + w + right))
        frames[i][board] = skin[board]
        ids[i][board] = OCCLUDER_ID


def _lay(
    frame: Image,
    labels: Image,
    view: Image,
    label: int,
    *,
    centre: tuple[float, float],
    scale: tuple[float, float],
    angle: float,
) -> None:
    """Blend one RGBA view into a frame and its ids, in place."""
    size = frame.shape[0]
    height, width = view.shape[:2]
    turn = np.radians(angle)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag(
        scale
    )
    shift = np.array(centre) - linear @ np.array([width / 2, height / 2])
    matrix = np.column_stack([linear, shift]).astype(np.float32)
    if min(abs(scale[0]), abs(scale[1])) < 0.6:  # avoid the sparkle of bare bilinear shrinking
        sigma = 0.35 / min(abs(scale[0]), abs(scale[1]))
        view = np.asarray(cv2.GaussianBlur(view, (0, 0), sigma), np.uint8)
    warped = cv2.warpAffine(view, matrix, (size, size), flags=cv2.INTER_LINEAR)
    alpha = warped[..., 3]
    x, y, w, h = cv2.boundingRect(alpha)
    if w == 0:
        return
    inside = (slice(y, y + h), slice(x, x + w))
    soft = alpha[inside][..., None].astype(np.float32) / 255.0
    colour = warped[inside][..., :3].astype(np.float32)
    frame[inside] = (frame[inside] * (1 - soft) + colour * soft).astype(np.uint8)
    labels[inside][alpha[inside] > 127] = label


def change_light(rng: Rng, frames: Image) -> Image:
    """Change exposure with a drift, colour, gamma, sharpness, noise, and JPEG quality."""
    length = frames.shape[0]
    gain = rng.uniform(0.7, 1.3) * (1 + rng.normal(0, 0.02) * np.arange(length))
    gain = gain * (1 + rng.normal(0, 0.03, length))
    cast = np.exp(rng.normal(0, 0.08, 3))
    drift = 0.06 if rng.random() < 0.25 else 0.0  # of a camera that chooses the white balance anew
    casts = cast * np.exp(rng.normal(0, 1, (length, 3)) * drift)
    gamma = float(np.exp(rng.normal(0, 0.15)))
    contrast = float(np.exp(rng.normal(0, 0.12)))
    blur = rng.uniform(0.4, 1.1) if rng.random() < 0.2 else 0.0
    sharpen = rng.uniform(0.3, 1.5) if not blur and rng.random() < 0.4 else 0.0
    noise = rng.uniform(1, 8) if rng.random() < 0.4 else 0.0
    quality = int(rng.integers(40, 95)) if rng.random() < 0.15 else 0
    ramp = np.arange(256) / 255.0
    out = np.empty_like(frames)
    for i in range(length):
        curve = (np.clip(ramp * gain[i], 0, None)[:, None] * casts[i]) ** gamma
        curve = (curve - 0.5) * contrast + 0.5
        table = np.clip(curve * 255, 0, 255).astype(np.uint8)
        frame = cv2.LUT(frames[i], table[None])
        if blur:
            frame = cv2.GaussianBlur(frame, (0, 0), blur)
        if sharpen:
            soft = cv2.GaussianBlur(frame, (0, 0), 1.0)
            frame = cv2.addWeighted(frame, 1 + sharpen, soft, -sharpen, 0)
        if noise:
            grain = np.empty(frame.shape, np.int16)
            cv2.setRNGSeed(int(rng.integers(1 << 30)))
            cv2.randn(grain, np.zeros(1), np.full(1, noise))
            frame = np.clip(frame + grain, 0, 255).astype(np.uint8)
        if quality:
            _, packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
            frame = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        out[i] = frame
    return out
