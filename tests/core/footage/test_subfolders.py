# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures in subfolders: passes and cameras are found, and what is no photo of the user is not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from sam2_splat_addon.core.errors import Cancelled, FootageError
from sam2_splat_addon.core.footage.matching import known_photos, moved_frames
from sam2_splat_addon.core.footage.scan import Footage, scan
from sam2_splat_addon.core.footage.staging import read_stage, stage
from sam2_splat_addon.core.footage.subfolders import subfolders
from sam2_splat_addon.core.mattes.store import MATTES


def write(folder: Path, *names: str, size: tuple[int, int] = (12, 16)) -> None:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (i * 9 % 256, 40, 90)).save(path)


def names(footage: Footage) -> list[str]:
    return [at.name for at in footage.frames]


def link_to_folder(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not let us make symbolic links")


def test_subfolders_count_where_the_folder_itself_has_no_photo(tmp_path: Path) -> None:
    ordered = [
        "pass 2/IMG_1.jpg",
        "pass 2/IMG_10.jpg",
        "pass 2/close/IMG_1.jpg",
        "pass 10/IMG_1.jpg",
        "right/a.b/ä.png",
    ]
    write(tmp_path, *reversed(ordered))
    footage = scan(tmp_path)
    assert names(footage) == ordered
    assert [at.path for at in footage.frames] == [tmp_path / name for name in ordered]
    assert footage.with_subfolders
    assert footage.frame_of("pass 10/IMG_1.jpg") == 4


def test_photos_of_the_folder_itself_stand_alone_until_subfolders_are_asked_for(
    tmp_path: Path,
) -> None:
    write(tmp_path, "b.jpg", "a.jpg", "more/a.jpg", "a folder/z.jpg")
    assert names(scan(tmp_path)) == ["a.jpg", "b.jpg"]
    assert not scan(tmp_path).with_subfolders
    assert names(scan(tmp_path / "a.jpg")) == ["a.jpg", "b.jpg"]
    every = ["a.jpg", "b.jpg", "a folder/z.jpg", "more/a.jpg"]
    assert names(scan(tmp_path, with_subfolders=True)) == every
    assert names(scan(tmp_path / "a.jpg", with_subfolders=True)) == every
    assert names(scan(tmp_path / "more")) == ["a.jpg"]


@pytest.mark.parametrize(
    "folder",
    [
        ".hidden",
        "masks",
        "Mask",
        "left_masks",
        "postshot_v001",
        "postshot_v012_masks",
        "sam2_splat_mattes",
        "sam2_splat_review",
        "BL_proxy/pass.jpg",
        "blendcache_scene",
        "__MACOSX",
        "@eaDir",
        "$RECYCLE.BIN",
    ],
)
def test_folders_that_hold_no_photos_of_the_user(folder: str, tmp_path: Path) -> None:
    write(tmp_path, "pass/a.jpg", f"{folder}/b.png", f"pass/{folder}/c.png")
    assert names(scan(tmp_path)) == ["pass/a.jpg"]
    assert names(scan(tmp_path, with_subfolders=True)) == ["pass/a.jpg"]


def test_our_own_folders_with_any_name(tmp_path: Path) -> None:
    write(tmp_path, "pass/a.jpg", "kept/b.png", "for the trainer/c.png", "web/d.png")
    MATTES.claim(tmp_path / "kept")
    bake = '{"footage": "f", "options": {}, "images": []}'
    (tmp_path / "for the trainer/manifest.json").write_text(bake, encoding="utf-8")
    (tmp_path / "web/manifest.json").write_text('{"name": "a web page"}', encoding="utf-8")
    assert names(scan(tmp_path)) == ["pass/a.jpg", "web/d.png"]
    (tmp_path / "web/manifest.json").write_bytes(b"\xff no JSON")
    assert names(scan(tmp_path)) == ["pass/a.jpg", "web/d.png"]


def test_links_are_followed_once_and_never_upwards(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(tmp_path, "photos/pass/a.jpg", "elsewhere/b.jpg", "outside.jpg")
    link_to_folder(photos / "z", tmp_path / "elsewhere")
    link_to_folder(photos / "again", photos / "pass")
    link_to_folder(photos / "pass/up", photos)
    link_to_folder(photos / "pass/higher", tmp_path)
    link_to_folder(photos / "nowhere", tmp_path / "nothing")
    link_to_folder(photos / "loop", photos / "loop")
    found = [at.path.resolve() for at in scan(photos).frames]
    assert sorted(found) == sorted(
        [(photos / "pass/a.jpg").resolve(), (tmp_path / "elsewhere/b.jpg").resolve()]
    )


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0,
    reason="folders that can't be read can't be made",
)
def test_a_subfolder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "b").chmod(0)
    try:
        footage = scan(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)
    assert names(footage) == ["a/1.jpg"]
    assert [at.name for at in footage.unreadable] == ["b"]


def test_unreadable_photos_are_named_with_their_folder(tmp_path: Path) -> None:
    write(tmp_path, "left/1.jpg", "right/1.jpg")
    (tmp_path / "left/1.jpg").write_bytes(b"")
    footage = scan(tmp_path)
    assert names(footage) == ["right/1.jpg"]
    assert [at.name for at in footage.unreadable] == ["left/1.jpg"]


def test_the_whole_disk_by_mistake_is_neither_endless_nor_deaf(tmp_path: Path) -> None:
    deep = tmp_path
    for level in range(30):
        deep = deep / f"{level}"
    write(deep, "deep.jpg")
    write(tmp_path, "0/a.jpg")
    assert names(scan(tmp_path)) == ["0/a.jpg"]

    def cancel(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(subfolders(tmp_path, cancel))


def test_an_empty_tree_is_still_no_capture(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    with pytest.raises(FootageError, match="has no photos"):
        scan(tmp_path)


def test_links_and_fingerprint_tell_photos_of_the_same_name_apart(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos, "left/1.jpg", "right/1.jpg")
    footage = scan(photos)
    first = stage(footage, tmp_path / "links")
    assert read_stage(tmp_path / "links").sources == ("left/1.jpg", "right/1.jpg")
    second = first.with_name("frame_000002.jpg")
    assert second.read_bytes() == (photos / "right/1.jpg").read_bytes()
    print_of = footage.fingerprint()
    copied = shutil.copytree(photos, tmp_path / "copy")
    assert scan(copied).fingerprint() == print_of
    (copied / "right").rename(copied / "top")
    assert scan(copied).fingerprint() != print_of
    alone = shutil.copytree(photos / "left", tmp_path / "alone")
    one = scan(alone).fingerprint()
    (tmp_path / "nested").mkdir()
    shutil.move(alone, tmp_path / "nested/left")
    assert scan(tmp_path / "nested").fingerprint() != one


def test_a_photo_of_the_same_name_in_another_folder_is_another_photo(tmp_path: Path) -> None:
    write(tmp_path, "left/1.jpg", "left/2.jpg", "right/1.jpg", "right/2.jpg")
    before = known_photos(scan(tmp_path))
    (tmp_path / "left/1.jpg").unlink()
    assert moved_frames(before, known_photos(scan(tmp_path))) == {2: 1, 3: 2, 4: 3}
