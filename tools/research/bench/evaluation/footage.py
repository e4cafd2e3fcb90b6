# SPDX-License-Identifier: GPL-3.0-or-later
"""Real footage without truth, with your own prompts.

A file names clips and says what to click on. A clip is a folder of photos or a video::

    {"bedroom": {"prompts": {"version": 1, "objects": [...]}},
     "01_dog": {"prompts": {...}, "every": 6, "frames": 40}}

docs/prompts.md explains ``prompts``. They refer to the frames that are taken: one of ``every``, and
at most ``frames`` of them (0: all).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import msgspec

from sam2_splat_addon.core.errors import FootageError, PromptError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.prompts import PromptSet

_VIDEOS: Final = (".mp4", ".mov", ".avi", ".mkv", ".webm")
_JPEG_QUALITY: Final = 95


class ClipWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to click on in a clip, and which of its frames to take."""

    prompts: PromptSet
    every: int = 1
    frames: int = 0


@dataclass(frozen=True)
class PromptedClip:
    """Photos in frame order, with prompts."""

    name: str
    photos: tuple[Path, ...]
    prompts: PromptSet


def read_wishes(path: Path) -> dict[str, ClipWish]:
    """Read a file of prompts for several clips; raises PromptError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, ClipWish])
    except OSError as problem:
        raise PromptError(
            f"The prompts file {path} can't be read: {problem.strerror}.", "Check its path."
        ) from problem
    except msgspec.MsgspecError as problem:
        raise PromptError(
            f"{path} can't be used: {problem}.",
            "tools/research/bench/evaluation/footage.py shows what it should look like.",
        ) from problem


def prompted_clip(root: Path, name: str, wish: ClipWish, cache: Path) -> PromptedClip:
    """Find a clip below ``root``; a video's frames are written into ``cache``, once.

    Raises
    ------
    FootageError
        There is no clip of that name, or it can't be read.
    """
    folder = next((path for path in sorted(root.rglob(name)) if path.is_dir()), None)
    if folder is not None:
        photos = scan(folder).paths[:: wish.every]
        return PromptedClip(name, tuple(photos[: wish.frames or None]), wish.prompts)
    for suffix in _VIDEOS:
        for video in sorted(root.rglob(name + suffix)):
            frames = scan(_frames_of(video, wish, cache))
            return PromptedClip(name, tuple(frames.paths), wish.prompts)
    raise FootageError(
        f"There is no folder or video called {name} in {root}.", "Correct the prompts file."
    )


def _frames_of(video: Path, wish: ClipWish, cache: Path) -> Path:
    """The folder with a video's frames."""
    target = cache / f"{video.stem}_{wish.every}_{wish.frames}"
    if target.is_dir():
        return target
    part = cache / "part" / target.name
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    capture = cv2.VideoCapture(str(video))
    taken, index = 0, 0
    while not wish.frames or taken < wish.frames:
        good, picture = capture.read()
        if not good:
            break
        if index % wish.every == 0:
            file = str(part / f"{index:05d}.jpg")
            cv2.imwrite(file, picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            taken += 1
        index += 1
    capture.release()
    if not taken:
        raise FootageError(f"{video} holds no frame that OpenCV can read.", "Convert the video.")
    os.replace(part, target)
    return target
