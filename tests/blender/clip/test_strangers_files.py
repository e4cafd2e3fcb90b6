# SPDX-License-Identifier: GPL-3.0-or-later
"""A stranger's .blend file changes nothing on this disk, when it is opened or a button is pressed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from sam2_splat_addon.core.mattes.run_manifest import Machine, RunManifest, write_manifest
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.settings import RunSettings
from tests.blender.masked_clip import masked_clip

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]

BUTTONS: dict[str, Callable[[], object]] = {
    "clear results": lambda: bpy.ops.sam2_splat.clear_results(),
    "clear subject": lambda: bpy.ops.sam2_splat.clear_masks(what="OBJECT"),
    "clear all": lambda: bpy.ops.sam2_splat.clear_masks(what="ALL"),
    "bake": lambda: bpy.ops.sam2_splat.bake(),
    "report": lambda: bpy.ops.sam2_splat.report(),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def press(button: Callable[[], object]) -> str:
    """Press a button and return its error, or an empty text."""
    try:
        button()
    except RuntimeError as error:
        return str(error)
    return ""


@pytest.fixture
def victim(make_photos: MakePhotos) -> Path:
    """The mattes of another capture with a manifest. It has two objects, and one is also set aside."""
    folder = make_photos(count=2, name="victim") / "sam2_splat_mattes"
    store = MatteStore.open(folder, create=True)
    scores = MatteScores(1.0, 0.5, 1.0)
    for object_id in (2, 1, 2):
        for frame in (1, 2):
            logits = np.ones((4, 4), np.float16)
            store.write(MatteRecord(object_id, frame, 120, 180, logits, scores))
        if not store.frames(1):
            store.set_aside(2)
    machine = Machine("cpu", "float32", 1, "any", {})
    run = RunManifest(
        "theirs", 120, 180, 2, "tiny", "0" * 64, RunSettings(), machine, PromptSet(())
    )
    write_manifest(store.manifest_path, run)
    return folder


def opened(clip: bpy.types.MovieClip, file: Path, **values: str) -> bpy.types.MovieClip:
    """Save a file with these values in its clip, and open it."""
    settings = clip.sam2_splat
    for name, value in values.items():
        owner = clip if name == "sam2_splat_cleared" else settings
        setattr(owner, name, value)
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    return bpy.data.movieclips[0]


@pytest.mark.parametrize("cleared", ["[1,2]", "[1]", "", "[", "[-5,1.5]"])
@pytest.mark.parametrize("stamp", ["", "of some run"])
def test_opening_a_file_and_its_buttons_leave_another_captures_mattes_alone(
    cleared: str, stamp: str, make_photos: MakePhotos, victim: Path, tmp_path: Path
) -> None:
    clip = masked_clip(make_photos(count=2), ["square"])
    before = contents(victim)
    opened(
        clip,
        tmp_path / "stranger.blend",
        store_folder=str(victim),
        sam2_splat_cleared=cleared,
        run_stamp=stamp,
    )
    assert contents(victim) == before
    for name in ("clear results", "clear subject", "clear all"):
        assert "they stay as they are" in press(BUTTONS[name]), name
        assert contents(victim) == before, name
    for message in ("before", "something"):
        bpy.ops.ed.undo_push(message=message)
    bpy.ops.ed.undo()
    assert contents(victim) == before


def test_baking_what_a_strangers_file_names_moves_nothing(
    make_photos: MakePhotos, victim: Path, tmp_path: Path
) -> None:
    clip = masked_clip(make_photos(count=2), ["square"])
    before = contents(victim)
    opened(clip, tmp_path / "stranger.blend", store_folder=str(victim), sam2_splat_cleared="[1,2]")
    for name in ("bake", "report"):
        assert "they stay as they are" in press(BUTTONS[name])
        assert contents(victim) == before


def test_photos_of_another_capture_named_and_not_shown_prove_nothing(
    make_photos: MakePhotos, victim: Path, tmp_path: Path
) -> None:
    clip = masked_clip(make_photos(count=2), ["square"])
    (victim / "manifest.json").unlink()
    before = contents(victim)
    for photos in (str(victim.parent), ""):
        clip = opened(
            clip,
            tmp_path / "stranger.blend",
            store_folder=str(victim),
            footage_folder=photos,
            photos="",
        )
        press(BUTTONS["clear results"])
        press(BUTTONS["clear all"])
        assert contents(victim) == before


@pytest.mark.parametrize("kind", ["git", "web", "downloads"])
def test_clear_results_leaves_folders_of_other_programs_alone(
    kind: str, make_photos: MakePhotos, tmp_path: Path
) -> None:
    clip = masked_clip(make_photos(count=2), ["square"])
    folder = tmp_path / kind
    folder.mkdir()
    if kind == "git":
        (folder / "a.txt").write_text("work of years")
        for command in (
            ["init", "-q"],
            ["add", "."],
            ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
        ):
            subprocess.run(["git", "-C", str(folder), *command], check=True)
        clip.sam2_splat.store_folder = str(folder / ".git")
    else:
        names = {
            "web": ("state/db.sqlite", "manifest.json"),
            "downloads": ("objects/001/holiday.jpg", "cleared/001/a.txt", "sub/.x.1.tmp"),
        }
        for name in names[kind]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")
        clip.sam2_splat.store_folder = str(folder)
    before = contents(folder)
    for name in ("clear subject", "clear all"):
        press(BUTTONS[name])
        assert contents(folder) == before
    assert "not a folder of mattes" in press(BUTTONS["clear results"])
    said = press(lambda: bpy.ops.sam2_splat.propagate())
    assert "for something else" in said
    assert contents(folder) == before


@pytest.mark.parametrize("which", ["photos", "mattes", "inside"])
def test_nothing_behind_a_link_in_a_download_is_deleted(
    which: str, make_photos: MakePhotos, tmp_path: Path
) -> None:
    mine = make_photos(count=2, name="mine")
    masked_clip(mine, ["square"])
    before = contents(mine)
    download = tmp_path / "download"
    download.mkdir()
    if which == "photos":
        (download / "photos").symlink_to(mine)
    else:
        shutil.copytree(mine, download / "photos")
        target = download / "photos" / "sam2_splat_mattes"
        if which == "inside":
            target /= "objects/001"
        shutil.rmtree(target)
        target.symlink_to(mine / target.relative_to(download / "photos"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.sam2_splat.load(filepath=str(download / "photos"))
    clip = bpy.context.scene.active_clip
    clip.sam2_splat.store_folder = str(download / "photos" / "sam2_splat_mattes")
    press(BUTTONS["clear results"])
    press(BUTTONS["clear all"])
    assert contents(mine) == before


def test_a_file_of_ones_own_finds_its_mattes_as_it_was_saved(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    """Masks are cleared after saving. The opened file has them again, and its buttons find the mattes."""
    folder, file = make_photos(count=2), tmp_path / "mine.blend"
    clip = masked_clip(folder, ["square", "ground"])
    store = MatteStore(folder / "sam2_splat_mattes")
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.sam2_splat.clear_masks(what="OBJECT")
    assert store.aside() == [1]
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert store.aside() == [1]  # opening alone moves nothing
    assert press(BUTTONS["bake"]) == ""
    assert store.objects() == [1, 2]
    clip = bpy.data.movieclips[0]
    assert "square" in clip.sam2_splat.mask.layers
    assert press(BUTTONS["clear results"]) == ""
    assert not list(folder.rglob("*.matte"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may everything")
def test_a_read_only_folder_of_mattes_is_an_error_in_words(make_photos: MakePhotos) -> None:
    folder = make_photos(count=2)
    masked_clip(folder, ["square"])
    mattes = folder / "sam2_splat_mattes" / "objects" / "001"
    mattes.chmod(0o500)
    try:
        assert "can't be removed" in press(BUTTONS["clear results"])
    finally:
        mattes.chmod(0o700)
