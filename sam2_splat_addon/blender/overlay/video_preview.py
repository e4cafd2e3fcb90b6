# SPDX-License-Identifier: GPL-3.0-or-later
"""Show in the Clip Editor which frames of a video become photos, before they are made.

A strip at the bottom has the whole time of the video: small pictures, a bar for how sharp each moment is,
and a mark for each photo. It changes with the number of photos in the sidebar.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import blf
import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from numpy.typing import NDArray

from ...core.footage.video_choice import VideoChoice, choose
from ...core.footage.video_scores import VideoScores, spread
from ...core.system.lru import Lru
from ..context import properties, session_state
from ..context.editors import clip_editor_of
from ..context.present import present
from ..context.session_state import SessionPart
from ..translations.catalogue import translated

# Px at a resolution scale of 1.
_MARGIN, _TEXT, _BARS, _MARK = 12.0, 20.0, 44.0, 10.0
_BAR = 2.0  # width
_GAP = 6.0  # between small pictures
_BACK = (0.0, 0.0, 0.0, 0.75)
_SHARP, _BLURRED = (0.62, 0.66, 0.72, 1.0), (0.86, 0.32, 0.26, 1.0)
_PHOTO = (0.36, 0.80, 1.0, 1.0)
_WHITE = (1.0, 1.0, 1.0, 1.0)

# Blender's stubs have no constructors for these.
_types: Any = gpu.types

Color = tuple[float, float, float, float]
Rectangle = tuple[float, float, float, float, Color]


@dataclass
class VideoPreview(SessionPart):
    """The video that waits for the user's choice.

    Attributes
    ----------
    scores
        None if no video waits.
    """

    of_file: ClassVar[bool] = True
    video: Path = field(default_factory=Path)
    scores: VideoScores | None = None
    choices: Lru[int, VideoChoice] = field(default_factory=lambda: Lru(16))
    textures: list[tuple[gpu.types.GPUTexture, float]] = field(default_factory=list)

    def choice(self) -> VideoChoice | None:
        """Return which frames are taken, with the number of photos that the sidebar has now."""
        if self.scores is None:
            return None
        wanted = properties.of_window(bpy.context.window_manager).video_photos
        scores = self.scores
        return self.choices.made(wanted, lambda: choose(scores, wanted))


@dataclass
class _Handle(SessionPart):
    """Blender's handle of our drawing."""

    handle: Any = None

    def closes(self) -> None:
        """Stop drawing."""
        if self.handle is not None:
            bpy.types.SpaceClipEditor.draw_handler_remove(self.handle, "WINDOW")
            self.handle = None


def register() -> None:
    """Start to draw."""
    if not bpy.app.background:
        session_state.part(_Handle).handle = bpy.types.SpaceClipEditor.draw_handler_add(
            _draw, (), "WINDOW", "POST_PIXEL"
        )


def show(video: Path, scores: VideoScores) -> None:
    """Let the user choose from a video."""
    session_state.drop(VideoPreview)
    shown = session_state.part(VideoPreview)
    shown.video, shown.scores = video, scores


def waiting() -> VideoPreview | None:
    """Return the video that waits for the user's choice, if there is one."""
    found = session_state.known(VideoPreview)
    return found if found is not None and found.scores is not None else None


def end() -> None:
    """Forget the video that waits."""
    session_state.drop(VideoPreview)


def shapes(
    scores: VideoScores, choice: VideoChoice, width: float, scale: float = 1.0
) -> list[Rectangle]:
    """Return the bars and marks: (left, bottom, right, top, colour), px from the strip's lower left.

    A bar is as high as the sharpest frame of its moment, and red if all frames there are blurred.
    """
    columns = max(1, min(int(width / (_BAR * scale)), len(scores)))
    step = width / columns
    at = _columns(scores, columns)
    highest, all_blurred = np.zeros(columns), np.ones(columns, dtype=bool)
    np.maximum.at(highest, at, scores.sharpness)
    np.logical_and.at(all_blurred, at, choice.blurred)
    filled = np.bincount(at, minlength=columns) > 0
    most = float(np.percentile(scores.sharpness, 99.0)) or 1.0
    bottom = _MARK * scale
    found = []
    for column in np.flatnonzero(filled).tolist():
        height = max(0.04, min(1.0, float(highest[column]) / most)) * _BARS * scale
        color = _BLURRED if all_blurred[column] else _SHARP
        left = column * step
        found.append((left, bottom, left + 0.7 * step, bottom + height, color))
    for column in np.unique(at[choice.chosen]).tolist():
        left = column * step
        found.append((left, 0.0, left + 0.7 * step, (_MARK - 2.0) * scale, _PHOTO))
    return found


def _columns(scores: VideoScores, columns: int) -> NDArray[np.intp]:
    """Return the column of each frame, by its time."""
    last = float(scores.seconds[-1]) or 1.0
    found = (scores.seconds / last * columns).astype(np.intp)
    return np.minimum(found, columns - 1)


def _draw() -> None:
    context = bpy.context
    shown = waiting()
    if shown is None or shown.scores is None:
        return
    choice = shown.choice()
    if choice is None or clip_editor_of(context) is None:
        return
    scale = present(context.preferences).system.ui_scale
    width = float(present(context.region).width) - 2 * _MARGIN * scale
    if width < 100.0:
        return
    picture = _picture_size(shown.scores, width, scale)
    bars = (_MARK + _BARS) * scale
    bottom = _MARGIN * scale
    top = bottom + bars + picture[1] + (_TEXT + 3 * _GAP) * scale
    gpu.state.blend_set("ALPHA")
    edge = _GAP * scale
    back = (bottom - edge, bottom - edge, bottom + width + edge, top + edge, _BACK)
    moved = [
        (left + bottom, low + bottom, right + bottom, high + bottom, color)
        for left, low, right, high, color in shapes(shown.scores, choice, width, scale)
    ]
    _rectangles([back, *moved])
    _pictures(shown, (bottom, bottom + bars + _GAP * scale), width, picture)
    gpu.state.blend_set("NONE")
    said = f"{shown.video.name}: {translated(choice.sentence())}"
    blf.size(0, 12.0 * scale)
    blf.color(0, *_WHITE)
    blf.position(0, bottom, top - _TEXT * scale + _GAP * scale, 0.0)
    blf.draw(0, said)


def _picture_size(scores: VideoScores, width: float, scale: float) -> tuple[float, float]:
    """Return the size of a small picture, px. At least eight fit beside each other."""
    height = min(72.0 * scale, width / 8 * scores.height / scores.width)
    return height * scores.width / scores.height, height


def _pictures(
    shown: VideoPreview, corner: tuple[float, float], width: float, size: tuple[float, float]
) -> None:
    assert shown.scores is not None
    scale = present(bpy.context.preferences).system.ui_scale
    count = max(1, int(width / (size[0] + _GAP * scale)))
    if not shown.textures:
        shown.textures = [
            (_texture(one.array()), float(shown.scores.seconds[one.index]))
            for one in spread(shown.scores.thumbnails, count)
        ]
    shader = gpu.shader.from_builtin("IMAGE")
    last = float(shown.scores.seconds[-1]) or 1.0
    for texture, seconds in shown.textures:
        left = corner[0] + min(max(seconds / last * width - size[0] / 2, 0.0), width - size[0])
        bottom = corner[1]
        places = [
            (left, bottom),
            (left + size[0], bottom),
            (left + size[0], bottom + size[1]),
            (left, bottom + size[1]),
        ]
        batch = batch_for_shader(
            shader,
            "TRI_FAN",
            {"pos": places, "texCoord": [(0, 1), (1, 1), (1, 0), (0, 0)]},
        )
        shader.bind()
        shader.uniform_sampler("image", texture)
        batch.draw(shader)


def _texture(picture: NDArray[np.uint8]) -> gpu.types.GPUTexture:
    height, width, _ = picture.shape
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = picture / np.float32(255.0)
    buffer = _types.Buffer("FLOAT", pixels.size, pixels.ravel())
    made: gpu.types.GPUTexture = _types.GPUTexture((width, height), format="RGBA16F", data=buffer)
    return made


def _rectangles(found: list[Rectangle]) -> None:
    places: list[tuple[float, float]] = []
    colors: list[Color] = []
    corners: list[tuple[int, int, int]] = []
    for left, bottom, right, top, color in found:
        begin = len(places)
        places += [(left, bottom), (right, bottom), (right, top), (left, top)]
        colors += [color] * 4
        corners += [(begin, begin + 1, begin + 2), (begin, begin + 2, begin + 3)]
    shader = gpu.shader.from_builtin("FLAT_COLOR")
    batch_for_shader(shader, "TRIS", {"pos": places, "color": colors}, indices=corners).draw(shader)
