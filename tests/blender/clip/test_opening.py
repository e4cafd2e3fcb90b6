# SPDX-License-Identifier: GPL-3.0-or-later
"""A file opens even with a slow disk of photos or with damaged texts."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from sam2_splat_addon.core.errors import SplatError
from sam2_splat_addon.core.footage.scan import scan
from tests.core.system.test_safe_read import DAMAGED

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def saved_without_links(make_photos: MakePhotos, tmp_path: Path) -> Path:
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=3)))
    blend = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    shutil.rmtree(tmp_path / "cache")
    return blend


def test_a_file_opens_while_its_photos_disk_does_not_answer(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import footage, opening

    blend = saved_without_links(make_photos, tmp_path)
    answers = threading.Event()
    asked_in: list[threading.Thread] = []

    def slow(*arguments: Any, **more: Any) -> Any:
        asked_in.append(threading.current_thread())
        answers.wait(60)
        return scan(*arguments, **more)

    monkeypatch.setattr(footage, "scan", slow)
    began = time.monotonic()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert time.monotonic() - began < 20
    assert threading.main_thread() not in asked_in
    (clip,) = bpy.data.movieclips
    assert not Path(bpy.path.abspath(clip.filepath)).exists()
    assert not opening.settle()
    answers.set()
    assert opening.settle(60)
    assert asked_in
    assert Path(bpy.path.abspath(clip.filepath)).exists()
    assert tuple(clip.size) == (120, 180)


def test_another_file_is_not_told_of_the_photos_of_the_one_before(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import footage, opening

    blend = saved_without_links(make_photos, tmp_path)
    answers = threading.Event()
    monkeypatch.setattr(footage, "scan", lambda *_, **more: answers.wait(60))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert not opening.settle()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert opening.settle()
    answers.set()


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_texts_in_a_clip_are_no_value_or_a_typed_error(
    data: bytes, make_photos: MakePhotos
) -> None:
    from sam2_splat_addon.blender.clip import (
        approved_frames,
        clear_results,
        footage,
        loading,
        markers,
        photo_remap,
    )
    from sam2_splat_addon.blender.context import stored_text  # fmt: skip
    from sam2_splat_addon.blender.masks import written_layers

    clip = loading.load(make_photos(count=2))
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    settings: Any = clip.sam2_splat
    mask = bpy.data.masks.new("mask")
    names = ("photos", "unreadable_names", "seen_subjects", "fine_frames", "mask_prompts")
    for value in (data, data.decode("utf-8", "replace").replace("\0", "")):
        for name in names:
            settings.pop(name, None)
            settings[name] = value
        clip.pop("sam2_splat_cleared", None)
        clip["sam2_splat_cleared"] = value
        mask["sam2_splat_written"] = {"layer": value}
        looks: tuple[Callable[[], object], ...] = (
            lambda: footage.footage_of(clip),
            lambda: stored_text.names_of(settings, "unreadable_names"),
            lambda: markers.sync_objects(clip),
            lambda: markers.on_frame(clip, 1),
            lambda: markers.collect(clip),
            lambda: approved_frames.of_clip(clip),
            lambda: photo_remap.compared(clip, scan(Path(settings.footage_folder))),
            lambda: clear_results.reconcile(clip),
            lambda: written_layers.remembered(mask, "layer"),
        )
        for look in looks:
            try:
                look()
            except SplatError as error:
                assert error.fix


def test_names_with_line_breaks_are_one_name_each(
    make_photos: MakePhotos, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.blender.clip import loading
    from sam2_splat_addon.blender.context import stored_text

    folder = make_photos(count=2)
    odd = ["bad\nname.jpg", "bad\u2028name.jpg", "bad\x0b\x1c\x85name.jpg"]
    for name in odd:
        (folder / name).write_bytes(b"")
    settings = loading.load(folder).sam2_splat
    assert sorted(stored_text.names_of(settings, "unreadable_names")) == sorted(odd)
    settings.unreadable_names = "no\nJSON"
    assert stored_text.names_of(settings, "unreadable_names") == []


def test_subjects_of_any_names_keep_their_ids(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.clip import loading, markers

    clip = loading.load(make_photos(count=2))
    for name in ("a\u2028b", "c\x85d", "e\nf"):
        clip.tracking.objects.new(name).tracks.new(name="click", frame=1)
    before = markers.sync_objects(clip)
    clip.tracking.objects["c\x85d"].name = "renamed\u2029"
    after = markers.sync_objects(clip)
    assert after["renamed\u2029"] == before["c\x85d"]
    assert {name: after[name] for name in ("a\u2028b", "e\nf")} == {
        name: before[name] for name in ("a\u2028b", "e\nf")
    }


def test_names_that_are_no_text_are_mended_when_a_file_is_opened(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import loading, markers

    clip = loading.load(make_photos(count=2))
    entry = clip.tracking.objects.new("é" * 40)
    entry.tracks.new(name="é" * 40, frame=1)
    with pytest.raises(UnicodeDecodeError):
        str(entry.name)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    (clip,) = bpy.data.movieclips
    assert [one.name for one in clip.tracking.objects if not one.is_camera] == ["Subject"]
    assert markers.collect(clip).objects


def test_thousands_of_clicks_are_made_in_time_that_grows_with_their_number(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import loading, markers
    from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet

    clip = loading.load(make_photos(count=2))

    def seconds(count: int) -> float:
        points = tuple(PointPrompt(20 + n % 80, 20 + n // 80, n % 3 > 0) for n in range(count))
        entries = (ObjectPrompts(1, "square", (FramePrompts(1, points),)),)
        began = time.process_time()
        markers.apply(clip, PromptSet(entries, 120, 180))
        return time.process_time() - began

    few, many = seconds(500), seconds(4000)
    assert many < 40 * few + 0.2
    (found,) = markers.collect(clip).objects
    assert len(found.frames[0].points) == 4000
    names = [track.name for track in clip.tracking.objects["square"].tracks]
    assert len(set(names)) == 4000
    assert names[0] == "-click"


def test_photos_beside_the_folder_of_the_file_are_found_when_both_were_moved(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    """A project may have one folder of scenes and one of photos."""
    from sam2_splat_addon.blender.clip import markers, opening

    project = tmp_path / "project"
    (project / "scenes").mkdir(parents=True)
    shutil.move(make_photos(count=3), project / "shots")
    bpy.ops.sam2_splat.load(filepath=str(project / "shots"))
    bpy.ops.sam2_splat.click(frame=2, x=50.5, y=90.5)
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "scenes" / "scene.blend"))
    there = project.rename(tmp_path / "elsewhere")
    bpy.ops.wm.open_mainfile(filepath=str(there / "scenes" / "scene.blend"))
    assert opening.settle(60)
    (clip,) = bpy.data.movieclips
    assert Path(bpy.path.abspath(clip.sam2_splat.footage_folder)) == there / "shots"
    assert [len(one.points) for one in markers.on_frame(clip, 2).values()] == [1]
    assert Path(bpy.path.abspath(clip.filepath)).resolve().parent == there / "shots"
