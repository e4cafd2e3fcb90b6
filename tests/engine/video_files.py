# SPDX-License-Identifier: GPL-3.0-or-later
"""Make small videos for tests: a camera that pans over a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, STEP = 160, 120, 4
TICKS = 600  # of a second

_QUIET = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "ultrafast"}}


def ground(frames: int) -> NDArray[np.uint8]:
    """Return the picture that the camera pans over, RGB."""
    noise = np.random.default_rng(5).normal(0, 1, (HEIGHT, WIDTH + STEP * frames, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.asarray(np.clip(128 + 170 * soft, 0, 255), np.uint8)


def pictures(frames: int) -> list[NDArray[np.uint8]]:
    """Return the pictures of a video whose view moves by `STEP` px from frame to frame."""
    wide = ground(frames)
    return [np.ascontiguousarray(wide[:, STEP * at : STEP * at + WIDTH]) for at in range(frames)]


def write_video(
    path: Path,
    shown: Sequence[NDArray[np.uint8]],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    rate: int = 30,
    times: Sequence[int] | None = None,
    turned: float = 0.0,
    mirrored: bool = False,
    stretch: Fraction | None = None,
    options: Mapping[str, str] = {},
    file_options: Mapping[str, str] = {},
    metadata: Mapping[str, str] = {},
    color: Mapping[str, int] = {},
    interlaced: bool = False,
) -> Path:
    """Encode pictures as a video.

    Parameters
    ----------
    times
        When each picture is shown, in `TICKS`. None is an even rate.
    turned
        Degrees of the display matrix, counter-clockwise.
    color
        Attributes of the codec, such as ``color_trc``.
    """
    with av.open(str(path), "w", options=dict(file_options)) as file:
        file.metadata.update(metadata)
        stream: Any = file.add_stream(
            codec, rate=rate, options={**_QUIET.get(codec, {}), **options}
        )
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pixels
        context = stream.codec_context
        ticks = rate if codec == "mpeg2video" else TICKS  # it knows only usual rates
        context.time_base = Fraction(1, ticks)
        for name, value in color.items():
            setattr(context, name, value)
        if stretch is not None:
            context.sample_aspect_ratio = stretch
        if turned or mirrored:
            stream.set_display_rotation(turned, hflip=mirrored)
        for at, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts = times[at] if times is not None else at * ticks // rate
            frame.time_base = Fraction(1, ticks)
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path
