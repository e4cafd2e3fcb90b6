# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the worker for the mask of the current frame when its clicks change.

A timer compares the clicks of the shown frame with the last question. So Blender's own markers, scripts,
undo and our tool all count alike. The timer never waits for the worker.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import bpy
from msgspec.structs import replace

from ...client.worker.job import SILENCE, describe_silence
from ...core.errors import SplatError
from ...core.footage.headers import read_header
from ...core.footage.sizes import PhotoSizes
from ...core.mattes.store import STORE_NAME
from ...core.prompts import FramePrompts, ObjectPrompts, PromptSet
from ...core.protocol import (
    EditedMatte,
    FootageFiles,
    ModelChoice,
    PreviewDone,
    PreviewMatte,
    PreviewRequest,
    PropagateRequest,
)
from ...core.settings import BUNDLED, RunSettings
from ...core.system.steps import at_once
from ..clip import (
    checkpoint_identity,
    footage,
    hover,
    markers,
    matte_cache,
    matte_run,
    preview_key,
    shown,
    user_masks,
)
from ..clip.matte_cache import ShownMatte
from ..context import (
    console,
    editors,
    preferences,
    properties,
    session_state,
    task_runner,
    worker_session,
)
from ..context.active_clip import clip_by_uid, is_linked
from ..context.editors import clip_frame
from ..context.requests import chosen, model_choice, run_settings
from ..context.session_state import SessionPart
from ..review import live_review

# Seconds between two looks: while an answer is awaited, while there is a photo to click on, and while
# there is none.
_TICK_BUSY = 0.03
_TICK = 0.1
_TICK_IDLE = 0.5
# How long the playhead must rest on a frame before the worker is asked, s.
_REST = 0.3


@dataclass(frozen=True)
class _Question:
    """The question for a preview: the clicks on a clip's frame that have no answer yet.

    Attributes
    ----------
    uid
        The clip's session uid.
    model
        The key of the preview (`preview_key`).
    prompts
        Prompts by object. Empty means that the worker only gets ready for the frame.
    hovers
        Whether they have the click under the mouse, which is not made yet.
    """

    uid: int
    frame: int
    model: str
    prompts: tuple[ObjectPrompts, ...]
    hovers: bool = False


@dataclass
class _State(SessionPart):
    """What the timer remembers between two looks."""

    of_file: ClassVar[bool] = True
    place: tuple[int, int] = (0, 0)
    since: float = 0.0
    asked: _Question | None = None
    ticket: int = 0
    problem: str = ""


def _state() -> _State:
    return session_state.part(_State)


def register() -> None:
    """Start to look. Without a window there is no preview."""
    if not bpy.app.background:
        bpy.app.timers.register(_tick, first_interval=1.0, persistent=True)


def unregister() -> None:
    """Stop looking."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def invalidate() -> None:
    """Forget the last question, because its answer is gone."""
    session_state.drop(_State)


def problem() -> str:
    """Return why the last question got no preview, else an empty text."""
    return _state().problem or silence()


def silence() -> str:
    """Return a sentence if the worker is silent for long while a preview is awaited, else an empty text."""
    preview = worker_session.asked_preview()
    if not is_busy() or preview is None or preview.silence < SILENCE:
        return ""
    return f"{describe_silence(preview.silence)}."


def is_busy() -> bool:
    """Whether we wait for an answer to clicks."""
    state = _state()
    return state.asked is not None and bool(state.asked.prompts) and state.ticket != 0


def is_unanswered(clip: bpy.types.MovieClip, frame: int) -> bool:
    """Whether clicks on a clip's frame have no mask yet."""
    return bool(_question(clip, frame).prompts)


def warm_up() -> None:
    """Start the worker and let it load the bundled model, so that the first click is answered soon.

    Call it when the user opens the workspace or begins to load photos: the worker starts while they are
    chosen. Errors wait for the first click.
    """
    if bpy.app.background or not worker_session.packages_ready():
        return
    model = ModelChoice(BUNDLED, device=preferences.device(), threads=preferences.threads())
    with contextlib.suppress(SplatError):
        preview = worker_session.preview()
        if not preview.is_warm and not preview.busy:
            preview.ask(PreviewRequest("", 1, 1, 1, PromptSet(()), model))


def look_now() -> None:
    """Look at once after a click. The timer comes up to 0.1 s later, after a redraw."""
    if bpy.app.timers.is_registered(_tick):
        _tick()


def _tick() -> float:
    _take_answers()  # also without an editor: the worker may be getting ready
    space = _editor()
    scene = bpy.context.scene
    if space is None or scene is None or not properties.of_scene(scene).live_preview:
        return _TICK_IDLE
    clip = space.clip
    if (
        clip is None
        or task_runner.current() is not None
        or not _is_ours(clip)
        or not worker_session.packages_ready()
    ):
        return _TICK_IDLE
    _look(clip, clip_frame(space))
    return _TICK_BUSY if _state().ticket or hover.is_on() else _TICK


def _editor() -> bpy.types.SpaceClipEditor | None:
    """Return the first Clip Editor on the screen that shows a clip. None during playback."""
    for window, _, space in editors.clip_editors():
        if window.screen.is_animation_playing:
            return None
        if space.clip is not None and space.view == "CLIP":
            return space
    return None


def _is_ours(clip: bpy.types.MovieClip) -> bool:
    """Whether a clip is used for masking. Camera tracking alone starts no worker."""
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
    question = _hovered(clip, frame) or _question(clip, frame)
    if question == state.asked or (now - state.since < _REST and not question.hovers):
        return
    if question.hovers and state.ticket and state.asked is not None and state.asked.hovers:
        return  # one question at a time: the mouse moves faster than SAM 2 answers
    state.asked, state.ticket, state.problem = question, 0, ""
    _ask(clip, question)


def _question(clip: bpy.types.MovieClip, frame: int) -> _Question:
    model = preview_key.of_clip(properties.of_clip(clip))
    objects: list[ObjectPrompts] = []
    if checkpoint_identity.sha256_of(properties.of_clip(clip)) is None:
        # A moment later the checkpoint's checksum is known, which the present mattes must match.
        return _Question(clip.session_uid, frame, model, ())
    for name, prompts in markers.on_frame(clip, frame).items():
        entry = properties.of_clip(clip).objects.get(name)
        if entry is None or not _can_show(clip, entry.object_id, name, prompts):
            continue
        key = (clip.session_uid, entry.object_id, frame)
        if not matte_cache.is_previewed(key, prompts, model) and not matte_cache.is_settled(
            clip, entry.object_id, prompts
        ):
            objects.append(ObjectPrompts(entry.object_id, name, (prompts,)))
    return _Question(clip.session_uid, frame, model, tuple(objects))


def _hovered(clip: bpy.types.MovieClip, frame: int) -> _Question | None:
    """Return the question for the click under the mouse. None without such a click."""
    entry, settings = hover.prompts(clip, frame), properties.of_clip(clip)
    if entry is None or checkpoint_identity.sha256_of(settings) is None:
        return None
    if not _can_show(clip, entry.id, entry.name, entry.frames[0]):
        return None
    return _Question(clip.session_uid, frame, preview_key.of_clip(settings), (entry,), hovers=True)


def _can_show(clip: bpy.types.MovieClip, object_id: int, name: str, prompts: FramePrompts) -> bool:
    """Whether prompts give a matte or correct one. Not if the user drew the mask."""
    if matte_cache.is_drawn(clip, name, prompts.frame):
        return False
    return prompts.includes_something or matte_cache.is_tracked(clip, object_id, prompts.frame)


def _ask(clip: bpy.types.MovieClip, question: _Question) -> None:
    settings = properties.of_clip(clip)
    try:
        photo = footage.photo_of(clip, question.frame)
        if photo is None:
            return
        sizes = _sizes(clip, photo)
        files = _files(clip, sizes)
        prompts = PromptSet(_with_other_frames(clip, question), sizes.width, sizes.height)
        request = PreviewRequest(
            photo=str(photo),
            width=sizes.width,
            height=sizes.height,
            frame=question.frame,
            prompts=prompts,
            model=model_choice(
                settings, device=preferences.device(), threads=preferences.threads()
            ),
            propagation=_propagation(clip, files, question) if question.prompts else None,
            settings=RunSettings(**chosen(settings, RunSettings)),
            odd_sizes=sizes.odd,
            orientation=sizes.orientation,
            turns=sizes.turns,
        )
        _state().ticket = worker_session.preview().ask(request)
    except SplatError as error:
        # A missing preview is no error. The panel says why, and Propagate reports the problem.
        _state().problem = str(error)


def _with_other_frames(clip: bpy.types.MovieClip, question: _Question) -> tuple[ObjectPrompts, ...]:
    """Return the objects with their prompts on all frames, if these matter for this frame."""
    if not properties.of_clip(clip).panorama:
        return question.prompts
    every = {entry.id: entry for entry in _every_prompt(clip, question)}
    return tuple(every.get(entry.id, entry) for entry in question.prompts)


def _every_prompt(clip: bpy.types.MovieClip, question: _Question) -> tuple[ObjectPrompts, ...]:
    """Return the prompts on all frames, with the click under the mouse."""
    every = {entry.id: entry for entry in markers.known_prompts(clip)}
    for entry in question.prompts if question.hovers else ():
        before = every[entry.id].frames if entry.id in every else ()
        others = (prompts for prompts in before if prompts.frame != question.frame)
        frames = sorted((*others, *entry.frames), key=lambda prompts: prompts.frame)
        every[entry.id] = replace(entry, frames=tuple(frames))
    return tuple(every[object_id] for object_id in sorted(every))


def _sizes(clip: bpy.types.MovieClip, photo: Path) -> PhotoSizes:
    """Return the sizes of a clip's photos. A clip of an earlier version asks one photo."""
    known = shown.known_sizes(clip)
    if known is not None:
        return known
    header = read_header(photo)
    return PhotoSizes(header.width, header.height, orientation=header.orientation)


def _files(clip: bpy.types.MovieClip, sizes: PhotoSizes) -> FootageFiles | None:
    """Return the clip's photos without looking at them, as they were at the last propagation."""
    settings = properties.of_clip(clip)
    count = settings.frame_count
    if not count or not settings.footage_folder:
        return None
    last = matte_run.last_run(clip)
    return FootageFiles(
        settings.footage_folder,
        footage.shown_paths(clip, range(1, count + 1)),
        sizes.width,
        sizes.height,
        "" if last is None else last.footage,
        odd_sizes=sizes.odd,
        orientation=sizes.orientation,
        turns=sizes.turns,
        cuts=footage.cuts_of(clip),
    )


def _propagation(
    clip: bpy.types.MovieClip, files: FootageFiles | None, question: _Question
) -> PropagateRequest | None:
    """Return what Propagate would ask now, without looking at the photos.

    The photos are taken from the last propagation. Without one, no kept matte counts, but it is still
    known at which frames tracking starts.
    """
    if files is None:
        return None
    settings, count = properties.of_clip(clip), len(files.paths)
    beside = Path(bpy.path.abspath(settings.footage_folder)) / STORE_NAME
    return PropagateRequest(
        footage=files,
        prompts=PromptSet(_every_prompt(clip, question), files.width, files.height),
        store=bpy.path.abspath(settings.store_folder) or str(beside),
        model=model_choice(settings, device=preferences.device(), threads=preferences.threads()),
        settings=run_settings(settings, count),
        edited=_known_edits(clip) if settings.edits_prompt else (),
    )


def _known_edits(clip: bpy.types.MovieClip) -> tuple[EditedMatte, ...]:
    """Return what the user drew on the few frames that the review knows."""
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
        return  # the clicks have changed since, and there is a new question
    state.ticket = done.ticket if done.more else 0
    clip = clip_by_uid(asked.uid)
    if clip is None:
        return

    def shown_matte(matte: PreviewMatte) -> ShownMatte:
        return matte_cache.as_shown(clip, done.frame, "preview", matte.array(), matte.scores)

    if asked.hovers:
        hover.keep(next((shown_matte(matte) for matte in done.mattes), None))
        editors.redraw()
        return
    prompts: dict[int, FramePrompts] = {entry.id: entry.frames[0] for entry in asked.prompts}
    for matte in done.mattes:
        key = (asked.uid, matte.object_id, done.frame)
        made = shown_matte(matte)
        matte_cache.keep_preview(
            key,
            prompts[matte.object_id],
            asked.model,
            made.values,
            made.scores,
            made.part,
            made.size,
            more=done.more,
        )
    if done.more:
        editors.redraw()
        return
    # An answered question is not asked again, and one without an answer not again and again.
    answered = {matte.object_id for matte in done.mattes}
    rest = tuple(entry for entry in asked.prompts if entry.id not in answered)
    state.asked = _Question(asked.uid, asked.frame, asked.model, rest)
    editors.redraw()
