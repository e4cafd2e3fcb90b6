# SPDX-License-Identifier: GPL-3.0-or-later
"""The task that loads photos reads in a thread and makes a clip. Nothing is left if it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import FootageError

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def test_the_clip_is_there_at_the_end_and_not_before(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.tasks.load_task import LoadTask

    task = LoadTask(make_photos(count=3))
    assert not bpy.data.movieclips
    while not task.step(time.monotonic() + 0.1):
        assert not bpy.data.movieclips
    (clip,) = bpy.data.movieclips
    assert clip.name == task.clip_name
    assert clip.sam2_splat.frame_count == 3
    assert task.summary == "photos: 3 photos of 120x180 px"


def test_a_cancelled_load_leaves_no_clip(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.tasks.load_task import LoadTask

    task = LoadTask(make_photos(count=3))
    task.cancel()
    assert task.step(time.monotonic() + 10.0)
    assert task.cancelled
    assert not bpy.data.movieclips


def test_a_folder_without_photos_is_an_error_at_the_end(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.tasks.load_task import LoadTask

    task = LoadTask(tmp_path)
    with pytest.raises(FootageError, match="no photos"):
        while not task.step(time.monotonic() + 0.1):
            pass


def test_a_propagation_that_is_stopped_while_it_looks_at_photos_starts_no_job(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.tasks import propagate_task

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=3)))
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    clip = present(bpy.context.scene.active_clip)
    task = propagate_task.PropagateTask(clip, device="cpu", threads=1)
    task.cancel()
    assert task.step(time.monotonic() + 10.0)
    assert task.cancelled
    assert task.summary == "Cancelled before anything was done"
    assert not clip.sam2_splat.store_folder
