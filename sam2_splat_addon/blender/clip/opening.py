# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for the photos of a file's clips in a thread, when the file is opened.

A disk may be slow, and a network drive may not answer. Blender still opens the file, and the photos
appear when their disk answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import bpy

from ...core.errors import Cancelled, SplatError
from ...core.system.background_task import BackgroundTask, Report
from ..context import console, editors, preferences, session_state
from ..context.session_state import SessionPart
from . import loading, proxies
from .loading import Found

# Longest wait when a file is opened, s. A local disk answers in this time, so all is there at once.
# Without a window the wait may be longer, because no timer comes later.
_TIMEOUT = 0.1
_TIMEOUT_IN_BACKGROUND = 2.0
_TICK = 0.2  # s between two looks


@dataclass(frozen=True)
class _Looked:
    """What was found for the clips, the clips without their small copies, and the errors."""

    found: tuple[Found, ...]
    without_copies: tuple[int, ...]
    problems: tuple[str, ...]


@dataclass
class _Opening(SessionPart):
    """The running look at the disks."""

    of_file: ClassVar[bool] = True
    background: BackgroundTask[_Looked] | None = None

    def closes(self) -> None:
        """Stop looking."""
        if self.background is not None:
            self.background.cancel()
            self.background = None
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)


def begin() -> None:
    """Start to look for the photos of the file that was opened. Wait only a moment."""
    session_state.drop(_Opening)
    clips, copies = loading.kept_clips(), proxies.shown_copies()
    if not clips and not copies:
        return
    cache = preferences.cache_folder()

    def look(report: Report) -> _Looked:
        found, problems = [], []
        for done, kept in enumerate(clips):
            report(done, len(clips))
            try:
                found.append(loading.found_on_disk(kept, cache))
            except (SplatError, OSError, ValueError) as error:
                problems.append(str(error))
        report(len(clips), len(clips))
        missing = (uid for uid, folder, count in copies if not proxies.are_built(folder, count))
        return _Looked(tuple(found), tuple(missing), tuple(problems))

    session_state.part(_Opening).background = BackgroundTask(look)
    if not settle(_TIMEOUT_IN_BACKGROUND if bpy.app.background else _TIMEOUT):
        if bpy.app.background:
            console.log.warning(
                "The photos of this file are not there yet, because their disk does not answer."
            )
        else:
            bpy.app.timers.register(_tick, first_interval=_TICK)


def settle(timeout: float = 0.0) -> bool:
    """Show what was found. Wait at most ``timeout`` seconds for it. Return whether all is done."""
    opening = session_state.part(_Opening)
    background = opening.background
    if background is None:
        return True
    if not background.poll(timeout):
        return False
    opening.background = None
    try:
        looked = background.result()
        problems = list(looked.problems)
        proxies.drop(looked.without_copies)
        for found in looked.found:
            loading.take_found(found)
    except Cancelled:
        return True
    except (SplatError, OSError) as error:
        problems = [str(error)]
    for problem in problems:
        # No error can be reported here. The operators find the same problem and report it.
        console.log.warning(problem)
    return True


def _tick() -> float | None:
    if not settle():
        return _TICK
    editors.redraw()
    return None
