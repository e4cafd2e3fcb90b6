# SPDX-License-Identifier: GPL-3.0-or-later
"""The timer of the live preview with a real worker: what it asks, and what shows then."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest

from sam2_splat_addon.blender.context import changes
from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import PointPrompt

pytestmark = pytest.mark.usefixtures("addon")
PATIENCE = 120.0  # s


@pytest.fixture
def clip(make_photos: Callable[..., Path]) -> Iterator[bpy.types.MovieClip]:
    """Four photos in a Clip Editor, with one click on the square on frame 1, after a propagation."""
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.tasks import live_preview

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=4, orange=True)))
    clip = present(bpy.context.scene.active_clip)
    click(clip, 1, 50.0, 90.0, include=True)
    markers.sync_objects(clip)
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.type = "CLIP_EDITOR"
    area.spaces.active.clip = clip
    bpy.ops.sam2_splat.propagate()
    yield clip
    worker_session.shut_down()
    live_preview.invalidate()


def click(clip: bpy.types.MovieClip, frame: int, x: float, y: float, *, include: bool) -> None:
    from sam2_splat_addon.blender.clip import markers

    owner = clip.tracking.objects.get("square") or clip.tracking.objects.new("square")
    markers.add_point(owner, frame, PointPrompt(x, y, include), *clip.size)


def go_to(frame: int) -> None:
    bpy.context.scene.frame_set(frame)
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.spaces.active.clip_user.frame_current = frame


def look(seconds: float = 1.0) -> None:
    """Let the timer look for some time, and as long as it awaits an answer."""
    from sam2_splat_addon.blender.tasks import live_preview

    began = time.monotonic()
    while time.monotonic() - began < seconds or live_preview.is_busy():
        assert time.monotonic() - began < PATIENCE, "no answer"
        time.sleep(live_preview._tick())


def shown(clip: bpy.types.MovieClip, frame: int) -> tuple[str, bytes]:
    """Return the source of the shown matte, and its logits."""
    from sam2_splat_addon.blender.clip import markers, matte_cache, preview_key

    prompts = markers.on_frame(clip, frame).get("square")
    key = preview_key.of_clip(clip.sam2_splat)
    found = matte_cache.matte_of(clip, 1, "square", frame, prompts, key)
    assert found is not None
    return found.source, found.values.astype("<f2").tobytes()


@pytest.mark.parametrize("include", [False, True])
def test_a_click_shows_on_a_tracked_frame_what_propagating_gives(
    include: bool, clip: bpy.types.MovieClip
) -> None:
    from sam2_splat_addon.blender.tasks import live_preview

    go_to(3)
    look()
    source, tracked = shown(clip, 3)
    assert source == "stored"
    # Click where the mask is wrong, because a click that agrees does not change the bundled model's mask.
    logits = MatteStore(Path(clip.sam2_splat.store_folder)).read(1, 3).logits
    against = int(logits.argmin() if include else logits.argmax())
    row, column = divmod(against, logits.shape[1])
    x, y = ((at + 0.5) / cells for at, cells in zip((column, row), logits.shape[::-1], strict=True))
    click(clip, 3, x * clip.size[0], y * clip.size[1], include=include)
    look()
    assert live_preview.problem() == ""
    source, corrected = shown(clip, 3)
    assert source == "preview"
    assert corrected != tracked
    bpy.ops.sam2_splat.propagate()
    store = MatteStore(Path(clip.sam2_splat.store_folder))
    assert store.read(1, 3).logits.astype("<f2").tobytes() == corrected
    # The store has it now, so the preview must be gone.
    assert shown(clip, 3) == ("stored", corrected)
    look()
    assert shown(clip, 3) == ("stored", corrected)


def test_a_click_that_a_cancelled_run_never_came_to_shows_its_preview_again(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.core.mattes import unfinished_run
    from sam2_splat_addon.core.mattes.run_record import last_run

    click(clip, 2, 60.0, 110.0, include=True)
    go_to(2)
    look()
    source, refined = shown(clip, 2)
    assert source == "preview"
    bpy.ops.sam2_splat.propagate()
    store = MatteStore(Path(clip.sam2_splat.store_folder))
    # As after a run that was cancelled after its first matte.
    run, left = store.manifest_path.read_bytes(), {1: {2: store.key(1, 2) or ""}}
    store.manifest_path.unlink()
    unfinished_run.note_void(store, run, (1, 1, store.key(1, 1) or ""), left)
    store.manifest_path.write_bytes(run)
    assert last_run(store) is not None and unfinished_run.void_keys(store) == left
    changes.mattes_changed(clip.session_uid)
    assert shown(clip, 2)[0] == "stored"
    look()
    assert shown(clip, 2) == ("preview", refined)


def test_what_has_no_answer_is_asked_once(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.tasks import live_preview

    # Frame 4 has a mask, but a propagation would no longer go there.
    clip.sam2_splat.use_range = True
    clip.sam2_splat.first_frame, clip.sam2_splat.last_frame = 1, 3
    click(clip, 4, 80.0, 100.0, include=False)
    go_to(4)
    look()
    asked = live_preview._state().asked
    assert asked is not None
    assert [entry.name for entry in asked.prompts] == ["square"]
    look()
    assert live_preview._state().asked is asked
    assert shown(clip, 4)[0] == "stored"


def test_a_click_that_only_excludes_shows_nothing_where_nothing_was_tracked(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.clip import clear_results
    from sam2_splat_addon.blender.tasks import live_preview

    clear_results.clear_objects(clip, {1})
    click(clip, 3, 80.0, 100.0, include=False)
    go_to(3)
    look()
    assert live_preview.problem() == ""
    with pytest.raises(AssertionError):
        shown(clip, 3)


def test_another_file_of_the_same_model_has_old_masks_pass_for_none_of_its_own(
    clip: bpy.types.MovieClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import (
        checkpoint_identity,
        markers,
        matte_cache,
        preview_key,
    )
    from sam2_splat_addon.blender.context import requests
    from sam2_splat_addon.blender.tasks import live_preview

    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(requests.BUNDLED_WEIGHTS.read_bytes())
    monkeypatch.setattr(requests, "BUNDLED_WEIGHTS", weights)
    prompts = markers.on_frame(clip, 1)["square"]
    key = preview_key.of_clip(clip.sam2_splat)
    assert matte_cache.is_settled(clip, 1, prompts)
    go_to(1)
    look()
    asked = live_preview._state().asked
    assert asked is not None and not asked.prompts
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert not matte_cache.is_settled(clip, 1, prompts)
    assert preview_key.of_clip(clip.sam2_splat) != key
    weights.unlink()
    assert checkpoint_identity.sha256_of(clip.sam2_splat) == ""
    assert not matte_cache.is_settled(clip, 1, prompts)


def test_nothing_is_asked_of_a_frame_that_the_playhead_only_passes(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.tasks import live_preview

    go_to(1)
    look()
    for frame in (2, 3, 4):
        go_to(frame)
        live_preview._tick()
        time.sleep(0.1)
        live_preview._tick()
        asked = live_preview._state().asked
        assert asked is not None and asked.frame == 1
    look()
    asked = live_preview._state().asked
    assert asked is not None and asked.frame == 4


def test_masks_pass_for_previews_only_with_the_settings_that_previews_show(
    clip: bpy.types.MovieClip,
) -> None:
    from sam2_splat_addon.blender.clip import markers, matte_cache

    settings = clip.sam2_splat
    prompts = markers.on_frame(clip, 1)["square"]
    assert matte_cache.is_settled(clip, 1, prompts)
    others = {
        "model": "sam2.1_hiera_tiny",
        "speed": "fast",
        "panorama": not settings.panorama,
        "memory": "guarded",
        "both_sides": True,
        "second_look": "whole",
        "nearby_prompts": 2,
        "direction": "forward",
    }
    for name, value in others.items():
        before = getattr(settings, name)
        setattr(settings, name, value)
        expected = name not in ("model", "speed", "panorama")
        assert matte_cache.is_settled(clip, 1, prompts) == expected, name
        setattr(settings, name, before)
    assert matte_cache.is_settled(clip, 1, prompts)


@pytest.mark.parametrize("frame", [1, 3])
def test_the_click_under_the_mouse_shows_the_mask_that_it_would_give(
    clip: bpy.types.MovieClip, frame: int
) -> None:
    from sam2_splat_addon.blender.clip import hover
    from sam2_splat_addon.blender.tasks import live_preview

    go_to(frame)
    look()
    tracked = shown(clip, frame)
    clicks = len(clip.tracking.objects["square"].tracks)
    point = PointPrompt(12.0, 20.0, include=False)
    hover.point_at(clip, "square", frame, point)
    look()
    assert live_preview.problem() == ""
    under = hover.shown(clip, "square", frame)
    assert under is not None
    assert len(clip.tracking.objects["square"].tracks) == clicks, "it made a click"
    assert shown(clip, frame) == tracked, "it has taken the place of the mask"
    assert hover.shown(clip, "square", frame + 1) is None
    hover.end()
    assert hover.shown(clip, "square", frame) is None and not hover.is_on()
    click(clip, frame, point.x, point.y, include=False)
    look()
    # A marker rounds its place, so the last bits may differ.
    made = np.frombuffer(shown(clip, frame)[1], "<f2").astype(np.float32)
    assert np.abs(made - under.values.ravel().astype(np.float32)).max() < 0.02


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")
def test_questions_under_the_mouse_do_not_queue_up(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.clip import hover
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.tasks import live_preview

    go_to(1)
    look()
    preview = worker_session.asked_preview()
    assert preview is not None and preview._worker is not None
    process = preview._worker.process_id
    os.kill(process, signal.SIGSTOP)  # no answer may come in between
    try:
        for step in range(12):
            hover.point_at(clip, "square", 1, PointPrompt(40.0 + step, 90.0))
            live_preview.look_now()
            live_preview._tick()
        asked = live_preview._state().asked
        assert live_preview._state().ticket and asked is not None
        assert asked.prompts[0].frames[0].points[-1].x == 40.0, "a later place has replaced it"
    finally:
        os.kill(process, signal.SIGCONT)
    look()
    asked = live_preview._state().asked
    assert asked is not None and asked.prompts[0].frames[0].points[-1].x == 51.0
    assert live_preview._state().ticket == 0
    hover.end()
