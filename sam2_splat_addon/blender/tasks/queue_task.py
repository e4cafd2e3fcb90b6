# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue: several captures of this file, propagated side by side in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import bpy
from msgspec.structs import replace

from ...client.command.many import Capture, Captures, State, room_for, variables_for
from ...core.capture_job import JobStep
from ...core.errors import PromptError, SplatError
from ...core.footage.scan import natural_key
from ...core.printable import counted
from ...core.system.steps import ends
from ..clip import markers
from ..context import clip_state, preferences, properties, worker_session
from ..context.active_clip import clip_by_uid, is_linked
from ..context.clip_state import ClipPart
from .export_task import ExportTask
from .load_task import LoadTask
from .take_run import taken

_WAIT = 0.05  # s between two looks without a window


@dataclass
class Queued(ClipPart):
    """What the queue says of a clip since it was last started.

    Attributes
    ----------
    text
        In one sentence; empty before the first start.
    look
        Number of photos that are worth a look.
    """

    outlives_removal: ClassVar[bool] = True
    state: State = "waiting"
    text: str = ""
    look: int = 0


def queued_clips() -> list[bpy.types.MovieClip]:
    """Return the clips in the queue, in the order of their names."""
    found = (clip for clip in bpy.data.movieclips if properties.of_clip(clip).queued)
    return sorted(
        (clip for clip in found if not is_linked(clip)), key=lambda clip: natural_key(clip.name)
    )


def said_of(clip: bpy.types.MovieClip) -> Queued:
    """Return what the queue says of a clip."""
    return clip_state.of(clip).part(Queued)


class QueueAddTask:
    """Load folders of photos one after the other, and put each into the queue.

    See :class:`sam2_splat_addon.blender.context.task_runner.Task` for the attributes that panels read.

    Attributes
    ----------
    clip_name
        Name of the first clip that was loaded.
    """

    title = "Loading"

    def __init__(self, folders: Sequence[Path]) -> None:
        self.fraction = 0.0
        self.sentence = ""
        self.summary = ""
        self.cancelled = False
        self.clip_name = ""
        self._folders = list(folders)
        self._count = len(folders)
        self._added = 0
        self._problems: list[str] = []
        self._loading: LoadTask | None = None

    def step(self, deadline: float) -> bool:
        """Work until the deadline. A folder that can't be loaded does not stop the others."""
        while not self.cancelled:
            if self._loading is None:
                if not self._folders:
                    break
                self._loading = LoadTask(self._folders.pop(0))
            try:
                if not self._loading.step(deadline):
                    self.sentence = self._loading.sentence
                    self.fraction = (self._count - len(self._folders) - 1) / self._count
                    return False
                self._add(self._loading.clip_name)
            except SplatError as error:
                self._problems.append(str(error))
            self._loading = None
        return self._end()

    def _add(self, name: str) -> None:
        if name:
            properties.of_clip(bpy.data.movieclips[name]).queued = True
            self.clip_name = self.clip_name or name
            self._added += 1

    def _end(self) -> bool:
        """Say what was added. Raises SplatError if nothing was."""
        self.fraction = 1.0
        if self._problems and not self._added:
            raise PromptError(self._problems[0])
        self.summary = f"{counted(self._added, 'capture')} in the queue. Click on each subject"
        if self._problems:
            self.summary += f". {self._problems[0]}"
        return True

    def cancel(self) -> None:
        """Load no more."""
        self.abort()
        self.cancelled = True

    def abort(self) -> None:
        """End at once."""
        if self._loading is not None:
            self._loading.abort()


class QueueTask:
    """Run all captures of the queue, and show what came out.

    Parameters
    ----------
    clips
        The captures. One without a click is passed over, and says so.
    bakes
        Whether each is baked too.

    See :class:`sam2_splat_addon.blender.context.task_runner.Task` for the attributes that panels read.

    Raises (when made)
    ------------------
    EnvironmentSetupError
        The worker's packages are missing.
    PromptError
        No capture has a click.
    """

    title = "Running the queue"

    def __init__(self, clips: Sequence[bpy.types.MovieClip], *, bakes: bool) -> None:
        self.fraction = 0.0
        self.sentence = "Collecting clicks"
        self.summary = ""
        self.cancelled = False
        self._steps_of_jobs: tuple[JobStep, ...] = (
            ("propagate", "bake") if bakes else ("propagate",)
        )
        self._variables = variables_for(
            worker_session.environment(), preferences.cache_folder(), preferences.model_folder()
        )
        self._uids: list[int] = []
        for clip in clips:
            said = said_of(clip)
            said.look = 0
            if markers.has_clicks(clip):
                self._uids.append(clip.session_uid)
                said.state, said.text = "waiting", "Waiting"
            else:
                said.state, said.text = "failed", "There is no click yet"
        if not self._uids:
            raise PromptError(
                "No capture of the queue has a click.", "Choose each one, and click on its subject."
            )
        self._every: Captures | None = None
        self._exporting: ExportTask | None = None
        self._deadline = 0.0
        self._steps = self._run()

    def step(self, deadline: float) -> bool:
        """Work until the deadline, and return at once while captures run."""
        self._deadline = deadline
        if ends(self._steps):
            return True
        if bpy.app.background and self._every is not None:
            time.sleep(_WAIT)
        return False

    def cancel(self) -> None:
        """Let all captures end soon. What is finished is kept, and shown."""
        self.cancelled = True
        if self._every is not None:
            self._every.cancel()

    def abort(self) -> None:
        """End at once."""
        self.cancelled = True
        if self._every is not None:
            self._every.abort()
        if self._exporting is not None:
            self._exporting.abort()
        self._steps.close()

    def _run(self) -> Generator[None, None, None]:
        captures: dict[int, Capture] = {}
        for uid in self._uids:
            capture = yield from self._exported(uid)
            if capture is not None:
                captures[uid] = capture
        worker_session.shut_down()  # its memory is for the captures
        room = room_for([capture.job for capture in captures.values()])
        self._every = Captures(list(captures.values()), room, self._variables)
        if self.cancelled:
            self._every.cancel()
        shown: set[int] = set()
        while not (self._every.poll() and len(shown) == len(captures)):
            for uid, capture in captures.items():
                self._tell(uid, capture)
                if capture.is_over and uid not in shown:
                    shown.add(uid)
                    yield from self._show(uid, capture)
            done = sum(1.0 if one.is_over else one.fraction * 0.9 for one in captures.values())
            self.fraction = done / max(len(captures), 1)
            over = sum(one.is_over for one in captures.values())
            self.sentence = f"{over} of {len(captures)} captures are done"
            yield
        self._every.abort()
        self.fraction = 1.0
        self.sentence = self.summary = self._summary(list(captures.values()))

    def _exported(self, uid: int) -> Generator[None, None, Capture | None]:
        """Make the job of a clip. None if it can't be made."""
        clip = clip_by_uid(uid)
        if clip is None or self.cancelled:
            return None
        name = clip.name
        try:
            task = self._exporting = ExportTask(clip)
            while not task.step(self._deadline):
                self.sentence = f"Collecting clicks of {name}"
                yield
        except SplatError as error:
            said = said_of(clip)
            said.state, said.text = "failed", str(error)
            return None
        finally:
            self._exporting = None
        if task.job is None:
            return None
        return Capture(Path(name), replace(task.job, steps=self._steps_of_jobs), name)

    def _tell(self, uid: int, capture: Capture) -> None:
        """Note for the panel how a capture goes."""
        clip = clip_by_uid(uid)
        if clip is None:
            return
        said = said_of(clip)
        said.state, said.look = capture.state, capture.look
        damaged = len(capture.facts.get("damaged", ()))
        if capture.state == "running":
            said.text = capture.text
        elif capture.state == "failed":
            said.text = capture.problem
        elif capture.state == "cancelled":
            said.text = "Cancelled"
        elif capture.state == "done":
            said.text = f"{capture.look} to look at" if capture.look else "Nothing to look at"
            if damaged:
                said.text = f"{said.text}, {damaged} damaged"

    def _show(self, uid: int, capture: Capture) -> Generator[None, None, None]:
        """Make the mask layers of a capture that has ended."""
        clip, facts = clip_by_uid(uid), capture.facts
        if clip is None or capture.state != "done":
            return
        output = Path(facts["output"]) if facts.get("output") else None
        damaged = [str(name) for name in facts.get("damaged", ())]
        try:
            for _ in taken(clip, Path(str(facts["masks"])), damaged, output):
                if time.monotonic() >= self._deadline:
                    yield
        except SplatError as error:
            capture.state, capture.problem = "failed", str(error)
            self._tell(uid, capture)

    def _summary(self, captures: Sequence[Capture]) -> str:
        if self.cancelled:
            return "Cancelled. What was finished is kept. Start the queue again to go on"
        failed = sum(capture.state != "done" for capture in captures)
        look = sum(bool(capture.look) for capture in captures)
        said = f"{len(captures) - failed} of {len(captures)} captures are done"
        if failed:
            said = f"{said}, {failed} failed"
        return f"{said}, {look} need a look" if look else said
