# SPDX-License-Identifier: GPL-3.0-or-later
"""Quarter-size copies of large photos, for a quick editor.

These are Blender's own proxies, which Blender builds in the background. Only the editor shows them.
SAM 2 and the bake read the photos.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bpy

from ...core.errors import FootageError
from ...core.footage.staging import LINKS, MADE_OF_NAME, PROXIES
from ...core.system.atomic_file import write_atomic
from ...core.system.safe_read import is_folder
from ..context import clip_state, console, properties
from ..context.active_clip import clip_by_uid
from ..context.clip_state import ClipPart
from ..context.editors import clip_editors
from ..context.present import present
from . import footage

# A photo of 6000 x 9000 px takes 200 MB in Blender's cache, its quarter 13 MB.
_LARGE = 4000
_QUARTER = 4
# Blender's name for the folder of these copies.
_SIZE = "proxy_25"
# Seconds between two looks at Blender's progress.
_LOOK = 2.0


@dataclass
class _Copies(ClipPart):
    """Whether the clip's small copies are being built."""

    are_awaited: bool = False


def is_wanted(clip: bpy.types.MovieClip) -> bool:
    """Whether a clip's photos are large and their size can be divided by 4.

    Blender takes four times the proxy's size as the clip's size. With a remainder every click would be
    a little beside its place.
    """
    width, height = clip.size
    return max(width, height) > _LARGE and not width % _QUARTER and not height % _QUARTER


def begin(context: bpy.types.Context, clip: bpy.types.MovieClip) -> None:
    """Let Blender build the missing quarter-size copies. The editor shows them when all are built.

    The context must have a Clip Editor that shows the clip.
    """
    clip.use_proxy = clip.use_proxy_custom_directory = True
    present(clip.proxy).directory = str(footage.proxy_folder(clip))
    present(clip.proxy).build_25 = True
    present(clip.proxy).quality = 85
    try:
        discard_others(clip)
    except FootageError as error:
        clip.use_proxy = False  # slower, but the full photos
        console.log.warning(str(error))
        return
    if not _is_built(clip):
        _show(clip, "FULL")
        bpy.ops.clip.rebuild_proxy()
    clip_state.of(clip).part(_Copies).are_awaited = True
    if not bpy.app.timers.is_registered(_watch):
        bpy.app.timers.register(_watch, first_interval=0.1)


def discard_others(clip: bpy.types.MovieClip) -> None:
    """Delete the copies if the photos have changed since. Raises FootageError.

    Blender knows copies only by the frame's number. Copies outside the cache are not ours, and stay.
    """
    cache, below = footage.cache_folder_of(clip), f"{PROXIES}/{_folder(clip).parent.name}"
    if _folder(clip) != cache / below / _SIZE:
        return
    photos = os.fsencode(_photos(clip))
    try:
        LINKS.claim(cache)
        made_of = LINKS.make(cache, f"{below}/{_SIZE}") / MADE_OF_NAME
        if not made_of.is_file() or made_of.read_bytes() != photos:
            LINKS.remove(cache, f"{below}/{_SIZE}")
            LINKS.make(cache, f"{below}/{_SIZE}")
            write_atomic(made_of, photos)
    except OSError as problem:
        raise FootageError(
            f"Small copies can't be kept in {cache}: {problem.strerror or problem}.", LINKS.fix
        ) from problem


def drop_missing() -> None:
    """Show the photos themselves if their small copies are gone, as after Clear Cache."""
    drop(uid for uid, folder, count in shown_copies() if not are_built(folder, count))


def shown_copies() -> list[tuple[int, Path, int]]:
    """Return the clips that show small copies: session uid, folder, and number of copies."""
    return [
        (clip.session_uid, _folder(clip), properties.of_clip(clip).frame_count)
        for clip in bpy.data.movieclips
        if clip.use_proxy and properties.of_clip(clip).frame_count
    ]


def are_built(folder: Path, count: int) -> bool:
    """Whether all copies are in their folder. This waits for the disk."""
    # Blender builds them frame by frame, so all are there when the number is right.
    return is_folder(folder) and sum(1 for _ in folder.glob("*.jpg")) >= count > 0


def drop(uids: Iterable[int]) -> None:
    """Show the photos themselves in the clips with these session uids."""
    gone = set(uids)
    for clip in bpy.data.movieclips:
        if clip.session_uid in gone:
            clip.use_proxy = False


def _watch() -> float | None:
    """Show the copies of every clip whose copies are all built. Stop when no clip waits for copies."""
    awaited = False
    for uid, copies in clip_state.known(_Copies):
        clip = clip_by_uid(uid)
        if clip is not None and copies.are_awaited:
            if _is_built(clip):
                copies.are_awaited = False
                _show(clip, "PROXY_25")
            awaited = awaited or copies.are_awaited
    return _LOOK if awaited else None


def _is_built(clip: bpy.types.MovieClip) -> bool:
    return are_built(_folder(clip), properties.of_clip(clip).frame_count)


def _folder(clip: bpy.types.MovieClip) -> Path:
    return Path(bpy.path.abspath(present(clip.proxy).directory)) / Path(clip.filepath).name / _SIZE


def _photos(clip: bpy.types.MovieClip) -> str:
    """Return name, size and time of the photo on every frame, one line each."""
    lines = []
    for path in footage.shown_paths(clip, range(1, properties.of_clip(clip).frame_count + 1)):
        photo = Path(path).resolve()
        with contextlib.suppress(OSError):  # the photo is gone, and code that needs it will say so
            status = photo.stat()
            lines.append(f"{photo.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(lines)


def _show(clip: bpy.types.MovieClip, size: Literal["FULL", "PROXY_25"]) -> None:
    for _, area, space in clip_editors():
        if space.clip == clip:
            space.clip_user.proxy_render_size = size
            area.tag_redraw()
