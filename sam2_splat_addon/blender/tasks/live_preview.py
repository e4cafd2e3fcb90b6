# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the worker for the mask of the frame at hand when its clicks change.

A timer compares the clicks of the shown frame with those that were asked about last, so that Blender's
own markers, scripts, undo and our tool all count alike. It never waits for the worker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import bpy

from ...client.worker.job import SILENCE, describe_silence
from ...core.errors import SplatError
from ...core.prompts import FramePrompts, ObjectPrompts, PromptSet
from ...core.protocol import (
    EditedMatte,
    FootageFiles,
    PreviewDone,
    PreviewRequest,
    PropagateRequest,
)
from ...core.settings import RunSettings
from ...core.system.steps import at_once
from ..clip import (
    checkpoint_identity,
    footage,
    markers,
    matte_cache,
    matte_run,
    preview_key,
    user_masks,
)
from ..context import (
    console,
    editors,
    preferences,
    properties,
    session_state,
    task_runner,
    worker_session,
)
from ..context.active_clip import is_linked
from ..context.editors import clip_frame
from ..context.requests import chosen, model_choice, run_settings
from ..context.session_state import SessionPart
from ..review import live_review

# Seconds between two looks: while an answer is awaited, while there is something to click on, and
# while there is not.
_TICK_BUSY = 0.03
_TICK = 0.1
_TICK_IDLE = 0.5
# How long the playhead rests on a frame before the worker is troubled with it, s.
_REST = 0.3


@dataclass(frozen=True)
class _Question:
    """What a preview is asked for: the clicks without an answer on a clip's frame.

    Attributes
    ----------
    uid
        The clip's session uid.
    model
        The key that it is made with (`preview_key`).
    prompts
        By object; none means that the worker only gets ready for the frame.
    """

    uid: int
    frame: int
    model: str
    prompts: tuple[ObjectPrompts, ...]


@dataclass
class _State(SessionPart):
    """What the timer knows from look to look."""

    of_file: ClassVar[bool] = True
    place: tuple[int, int] = (0, 0)
    since: float = 0.0
    asked: _Question | None = None
    ticket: int = 0
    problem: str = ""


def _state() -> _State:
    return session_state.part(_State)


def register() -> None:
    """Begin to look; in background nothing is previewed."""
    if not bpy.app.background:
        bpy.app.timers.register(_tick, first_interval=1.0, persistent=True)


def unregister() -> None:
    """Stop looking."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def invalidate() -> None:
    """Forget what was asked about: it is gone."""
    session_state.drop(_State)


def problem() -> str:
    """Why there is no preview, when one was asked for in vain; else empty."""
    return _state().problem or silence()


def silence() -> str:
    """That the worker has said nothing for long while a preview is awaited; else empty."""
    preview = worker_session.asked_preview()
    if not is_busy() or preview is None or preview.silence < SILENCE:
        return ""
    return f"{describe_silence(preview.silence)}."


def is_busy() -> bool:
    """Whether an answer to clicks is awaited."""
    state = _state()
    return state.asked is not None and bool(state.asked.prompts) and state.ticket != 0


def look_now() -> None:
    """Look at once, when a click was made: the timer comes up to 0.1 s later, and after a redraw."""
    if bpy.app.timers.is_registered(_tick):
        _tick()


def _tick() -> float:
    space = _editor()
    scene = bpy.context.scene
    if space is None or scene is None or not properties.of_scene(scene).live_preview:
        return _TICK_IDLE
    _take_answers()
    clip = space.clip
    if (
        clip is None
        or task_runner.current() is not None
        or not _is_ours(clip)
        or not worker_session.packages_ready()
    ):
        return _TICK_IDLE
    _look(clip, clip_frame(space))
    return _TICK_BUSY if _state().ticket else _TICK


def _editor() -> bpy.types.SpaceClipEditor | None:
    """The first Clip Editor on the screen that shows a clip; none while an animation plays."""
    for window, _, space in editors.clip_editors():
        if window.screen.is_animation_playing:
            return None
        if space.clip is not None and space.view == "CLIP":
            return space
    return None


def _is_ours(clip: bpy.types.MovieClip) -> bool:
    """Whether a clip is there to be masked: other people's camera tracking starts no worker."""
    settings = properties.of_clip(clip)
    if is_linked(clip) or clip.frame_offset:
        return False
    return bool(
        settings.footage_folder
        or len(settings.objects)
        or properties.of_window(bpy.context.window_manager).use_tool
    )


def _look(clip: bpy.types.MovieClip, frame: int) -> None:
    now = time.monotonic()
    state = _state()
    if state.place != (clip.session_uid, frame):
        state.place, state.since = (clip.session_uid, frame), now
    if any(
        markers.subject_name(entry) not in properties.of_clip(clip).objects
        for entry in markers.subjects(clip)
    ):
        markers.sync_objects(clip)
    question = _question(clip, frame)
    if question == state.asked or now - state.since < _REST:
        return
    state.asked, state.ticket, state.problem = question, 0, ""
    _ask(clip, question)


def _question(clip: bpy.types.MovieClip, frame: int) -> _Question:
    model = preview_key.of_clip(properties.of_clip(clip))
    objects: list[ObjectPrompts] = []
    if checkpoint_identity.sha256_of(properties.of_clip(clip)) is None:
        # A moment later it is known which file the mattes that are there would have to be of.
        return _Question(clip.session_uid, frame, model, ())
    for name, prompts in markers.on_frame(clip, frame).items():
        entry = properties.of_clip(clip).objects.get(name)
        if entry is None or not _can_show(clip, entry.object_id, name, prompts):
            continue
        key = (clip.session_uid, entry.object_id, frame)
        if matte_cache.previewed(key, prompts, model) is None and not matte_cache.is_settled(
            clip, entry.object_id, prompts
        ):
            objects.append(ObjectPrompts(entry.object_id, name, (prompts,)))
    return _Question(clip.session_uid, frame, model, tuple(objects))


def _can_show(clip: bpy.types.MovieClip, object_id: int, name: str, prompts: FramePrompts) -> bool:
    """Whether prompts give a matte by themselves, or correct one; what is drawn wins over both."""
    if matte_cache.is_drawn(clip, name, prompts.frame):
        return False
    return prompts.includes_something or matte_cache.is_tracked(clip, object_id, prompts.frame)


def _ask(clip: bpy.types.MovieClip, question: _Question) -> None:
    settings = properties.of_clip(clip)
    width, height = clip.size
    try:
        photo = footage.photo_of(clip, question.frame)
        if photo is None:
            return
        request = PreviewRequest(
            photo=str(photo),
            width=width,
            height=height,
            frame=question.frame,
            prompts=PromptSet(_with_other_frames(clip, question.prompts), width, height),
            model=model_choice(
                settings, device=preferences.device(), threads=preferences.threads()
            ),
            propagation=_propagation(clip) if question.prompts else None,
            settings=RunSettings(**chosen(settings, RunSettings)),
        )
        _state().ticket = worker_session.preview().ask(request)
    except SplatError as error:
        # No preview is no failure: the panel says why, Propagate says it aloud.
        _state().problem = str(error)


def _with_other_frames(
    clip: bpy.types.MovieClip, prompts: tuple[ObjectPrompts, ...]
) -> tuple[ObjectPrompts, ...]:
    """The same objects with their prompts on all frames, where these decide how a frame is seen."""
    if not properties.of_clip(clip).panorama:
        return prompts
    every = {entry.id: entry for entry in markers.collect(clip).objects}
    return tuple(every.get(entry.id, entry) for entry in prompts)


def _propagation(clip: bpy.types.MovieClip) -> PropagateRequest | None:
    """What Propagate would ask now, as far as it can be said without a look at the photos.

    They are taken to be those of the last propagation. Without one nothing that is kept counts, but
    it can still be told which frames tracking starts at.
    """
    settings = properties.of_clip(clip)
    count = settings.frame_count
    if not count or not settings.footage_folder:
        return None
    last = matte_run.last_run(clip)
    width, height = clip.size if last is None else (last.width, last.height)
    beside = Path(bpy.path.abspath(settings.footage_folder)) / matte_run.STORE_NAME
    return PropagateRequest(
        footage=FootageFiles(
            settings.footage_folder,
            footage.shown_paths(clip, range(1, count + 1)),
            width,
            height,
            "" if last is None else last.footage,
        ),
        prompts=markers.collect(clip),
        store=bpy.path.abspath(settings.store_folder) or str(beside),
        model=model_choice(settings, device=preferences.device(), threads=preferences.threads()),
        settings=run_settings(settings, count),
        edited=_known_edits(clip) if settings.edits_prompt else (),
    )


def _known_edits(clip: bpy.types.MovieClip) -> tuple[EditedMatte, ...]:
    """What the user drew, as far as the review knows: a few frames."""
    looking = user_masks.outlines(clip.session_uid, live_review.edited_frames(clip))
    return user_masks.as_mattes(clip, at_once(looking))


def _take_answers() -> None:
    preview = worker_session.asked_preview()
    if preview is None:
        return
    for done in preview.poll():
        _keep(done)
    for line in preview.log_lines():
        console.log.log(console.level_of(line.level), line.text)
    state = _state()
    if preview.error is not None and state.ticket:
        state.ticket, state.problem = 0, str(preview.error)
        if preview.trace:
            console.log.warning(preview.trace)
        editors.redraw()


def _keep(done: PreviewDone) -> None:
    state = _state()
    asked = state.asked
    if asked is None or done.ticket != state.ticket:
        return  # the clicks have changed since, and were asked about again
    state.ticket = 0
    prompts: dict[int, FramePrompts] = {entry.id: entry.frames[0] for entry in asked.prompts}
    for matte in done.mattes:
        key = (asked.uid, matte.object_id, done.frame)
        matte_cache.keep_preview(
            key, prompts[matte.object_id], asked.model, matte.array(), matte.scores
        )
    # What is answered is no question at the next look; what can't be is not asked again and again.
    answered = {matte.object_id for matte in done.mattes}
    rest = tuple(entry for entry in asked.prompts if entry.id not in answered)
    state.asked = _Question(asked.uid, asked.frame, asked.model, rest)
    editors.redraw()
