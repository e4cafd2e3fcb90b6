# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's options; imports bpy."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from ...core.bake_plan import MAX_EXPOSURE, MAX_FEATHER_PX, MAX_GROW_PX
from ...core.printable import as_text, is_text
from ..context import preferences
from ..context.properties import (
    ALPHA_ITEMS,
    DIRECTION_ITEMS,
    LOOK_ITEMS,
    MEMORY_ITEMS,
    MODEL_ITEMS,
    SIDECAR_ITEMS,
    SPEED_ITEMS,
)

_MANY = 2**31 - 1  # more than Blender's own settings hold


def parser(program: str = "sam2_splat") -> argparse.ArgumentParser:
    """The command line; its help is the reference."""
    own = argparse.ArgumentParser(
        prog=program,
        description="Mask a folder of photos with SAM 2 and bake RGBA PNGs for a splat trainer.",
        epilog="Exit codes: 0 done, 1 unforeseen, 2 usage, 3 footage, 4 prompts, 5 checkpoint or packages,"
        " 6 worker, 7 bake or store,"
        " 8 done, but damaged photos were left out, 130 cancelled.",
    )
    own.add_argument(
        "--footage",
        type=_path,
        metavar="DIR",
        help="folder of photos; default: the open file's clip",
    )
    own.add_argument(
        "--prompts", type=_path, metavar="FILE", help="prompts as JSON; default: the clip's markers"
    )
    own.add_argument("--model", choices=[item[0] for item in MODEL_ITEMS], help="default: bundled")
    own.add_argument(
        "--checkpoint", type=_path, metavar="FILE", help="weights of your own for --model (.pt)"
    )
    own.add_argument(
        "--device",
        choices=[item[0] for item in preferences.DEVICE_ITEMS],
        help="default: the preferences'",
    )
    own.add_argument(
        "--threads",
        type=_number(int, 0, 1024),
        help="processor threads, 0 for all; default: the preferences'",
    )
    own.add_argument(
        "--frames",
        type=_frame_range,
        metavar="A-B",
        help="propagate over these frames only, from 1",
    )
    own.add_argument(
        "--direction",
        choices=[item[0] for item in DIRECTION_ITEMS],
        help="from the frames with prompts; default: both",
    )
    own.add_argument(
        "--speed",
        choices=[item[0] for item in SPEED_ITEMS],
        help="quicker with coarser mattes; default: quality",
    )
    own.add_argument(
        "--memory",
        choices=[item[0] for item in MEMORY_ITEMS],
        help="guarded: doubtful frames are not remembered, for subjects that are hidden at times;"
        " default: exact",
    )
    own.add_argument(
        "--both-sides",
        action="store_true",
        default=None,
        help="frames between prompted ones are tracked from both, and the better matte is taken",
    )
    own.add_argument(
        "--second-look",
        choices=[item[0] for item in LOOK_ITEMS],
        nargs="?",
        const="whole",
        help="look at each matte once more, close up: whole (as without a word), its parts too, or"
        " also details",
    )
    own.add_argument(
        "--panorama",
        action=argparse.BooleanOptionalAction,
        help="photos that go all the way round; default: when twice as wide as high",
    )
    own.add_argument(
        "--store",
        type=_path,
        metavar="DIR",
        help="where the mattes are kept, one folder for each capture; default: beside the photos",
    )
    own.add_argument("--bake", action="store_true", help="bake PNGs when propagation is done")
    own.add_argument("--output", type=_path, metavar="DIR", help="a new folder for the PNGs")
    own.add_argument(
        "--alpha",
        choices=[item[0] for item in ALPHA_ITEMS],
        help="default: binary, every pixel kept or not",
    )
    own.add_argument(
        "--refine-edges", action="store_true", default=None, help="edges from the photo's pixels"
    )
    own.add_argument(
        "--invert", action="store_true", default=None, help="keep the rest and mask the objects"
    )
    own.add_argument(
        "--grow",
        type=_number(float, -MAX_GROW_PX, MAX_GROW_PX),
        metavar="PX",
        help="move the edge outwards; negative: inwards",
    )
    own.add_argument(
        "--feather",
        type=_number(float, 0, MAX_FEATHER_PX),
        metavar="PX",
        help="width of a soft edge",
    )
    own.add_argument(
        "--fill-holes",
        type=_number(int, 0, _MANY),
        metavar="PX",
        help="close holes of fewer pixels than this",
    )
    own.add_argument(
        "--drop-specks",
        type=_number(int, 0, _MANY),
        metavar="PX",
        help="drop separate parts of fewer pixels than this",
    )
    own.add_argument(
        "--black-rgb", action="store_true", default=None, help="multiply colour by alpha"
    )
    own.add_argument("--masks", choices=[item[0] for item in SIDECAR_ITEMS], help="mask files too")
    own.add_argument(
        "--exposure",
        type=_number(float, -MAX_EXPOSURE, MAX_EXPOSURE),
        metavar="STOPS",
        help="of EXR and float photos",
    )
    own.add_argument(
        "--report", type=_path, metavar="DIR", help="write which frames to look at: CSV and HTML"
    )
    own.add_argument(
        "--strict",
        action="store_true",
        help="stop at the first damaged photo (exit code 3); default: leave it out and name it"
        " (exit code 8)",
    )
    own.add_argument("--save", type=_path, metavar="FILE", help="save the result as a .blend")
    return own


def _path(text: str) -> Path:
    """What argparse calls for a path: the settings that keep it take text alone."""
    if not is_text(text):
        raise argparse.ArgumentTypeError(f"{as_text(text)!r} is no text in UTF-8; rename it")
    return Path(text)


Number = int | float


def _number(kind: type[Number], low: float, high: float) -> Callable[[str], Number]:
    """What argparse calls for a number within bounds."""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no {'whole ' * (kind is int)}number from {low:g} to {high:g}"
            )
        return value

    return read


def _frame_range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        numbers = int(first), int(last) if dash else int(first)
    except ValueError:
        numbers = 0, 0
    if not 1 <= numbers[0] <= numbers[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of frames; write it as 1-48")
    return numbers
