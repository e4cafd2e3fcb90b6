# SPDX-License-Identifier: GPL-3.0-or-later
"""Links have numbers without gaps and one extension, and lead to the photos."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.scan import Footage, scan
from sam2_splat_addon.core.footage.staging import MAP_NAME, read_stage, stage, unstage
from sam2_splat_addon.core.system.atomic_file import temporary_beside
from sam2_splat_addon.core.system.owned_folder import MARKER_NAME


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("IMG_2.JPG", "IMG_10.jpg", "x.png", "Ä photo (1).JPG"):
        Image.new("RGB", (8, 8), (len(name), 5, 9)).save(folder / name)
    return scan(folder)


def links(folder: Path) -> list[str]:
    own = (MAP_NAME, MARKER_NAME)
    return sorted(path.name for path in folder.iterdir() if path.name not in own)


def test_links_are_contiguous_share_an_extension_and_show_the_photos(
    footage: Footage, tmp_path: Path
) -> None:
    folder = tmp_path / "cache" / "stage"
    first = stage(footage, folder)
    assert first == folder / "frame_000001.jpg"
    assert links(folder) == [f"frame_{i:06d}.jpg" for i in range(1, 5)]
    for frame in footage.frames:
        link = folder / f"frame_{frame.frame:06d}.jpg"
        assert link.read_bytes() == frame.path.read_bytes()


def test_the_map_leads_from_frames_to_photos(footage: Footage, tmp_path: Path) -> None:
    stage(footage, tmp_path / "stage")
    stage_map = read_stage(tmp_path / "stage")
    assert Path(stage_map.folder) == footage.folder
    assert list(stage_map.sources) == [path.name for path in footage.paths]
    assert stage_map.links[2] == "frame_000003.jpg"


def test_staging_again_changes_nothing(footage: Footage, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    stage(footage, folder)
    before = {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()}
    stage(footage, folder)
    assert {path.name: path.lstat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_removed_photo_closes_the_gap_and_other_files_stay(
    footage: Footage, tmp_path: Path
) -> None:
    folder = tmp_path / "stage"
    stage(footage, folder)
    (folder / "BL_proxy").mkdir()
    footage.paths[0].unlink()
    less = scan(footage.folder)
    stage(less, folder)
    assert links(folder) == ["BL_proxy", *(f"frame_{i:06d}.jpg" for i in range(1, 4))]
    assert (folder / "frame_000001.jpg").read_bytes() == less.paths[0].read_bytes()
    assert len(read_stage(folder).sources) == 3


def test_links_of_another_extension_are_removed(footage: Footage, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    stage(footage, folder)
    for path in footage.paths:
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()
    stage(scan(footage.folder), folder)
    assert links(folder) == [f"frame_{i:06d}.tif" for i in range(1, 5)]


@pytest.mark.parametrize("refused", [("symlink",), ("symlink", "link")])
def test_where_links_are_refused_the_next_way_is_taken(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a required privilege is not held by the client")

    for name in refused:
        monkeypatch.setattr(os, name, refuse)
    folder = tmp_path / "stage"
    stage(footage, folder)
    link = folder / "frame_000001.jpg"
    assert not link.is_symlink()
    assert link.samefile(footage.paths[0]) is ("link" not in refused)
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    stage(footage, folder)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before

    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / "new.jpg")
    (tmp_path / "new.jpg").replace(footage.paths[0])
    stage(scan(footage.folder), folder)
    assert link.read_bytes() == footage.paths[0].read_bytes()


def test_two_blenders_load_the_same_photos_at_once(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, symlink = tmp_path / "stage", os.symlink
    code = (
        "import sys; from pathlib import Path\n"
        "from sam2_splat_addon.core.footage.scan import scan\n"
        "from sam2_splat_addon.core.footage.staging import stage\n"
        "stage(scan(Path(sys.argv[1])), Path(sys.argv[2]))"
    )

    def with_another_blender(source: Path, link: Path, *more: bool) -> None:
        symlink(source, link, *more)
        if source in footage.paths:  # but not when the code tests whether the system allows links
            command = [sys.executable, "-c", code, str(footage.folder), str(folder)]
            subprocess.run(command, check=True, cwd=Path(__file__).parents[3])

    monkeypatch.setattr(os, "symlink", with_another_blender)
    stage(footage, folder)
    monkeypatch.undo()
    assert links(folder) == [f"frame_{i:06d}.jpg" for i in range(1, 5)]
    assert [(folder / name).resolve() for name in links(folder)] == list(footage.paths)


def test_what_killed_blenders_left_is_removed(footage: Footage, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    stage(footage, folder)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ours = temporary_beside(folder / "link").name.replace(f"_{os.getpid()}_", f"_{ended.pid}_")
    for name in (ours, "frame_000002.jpg.tmp"):  # the second is another name of temporary links
        (folder / name).symlink_to(footage.paths[0])
    stage(footage, folder)
    assert links(folder) == [f"frame_{i:06d}.jpg" for i in range(1, 5)]


def test_a_folder_that_cannot_be_made_is_named(footage: Footage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FootageError, match="file"):
        stage(footage, tmp_path / "file" / "stage")


def test_a_missing_or_damaged_map_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="Load the photos again"):
        read_stage(tmp_path)
    (tmp_path / MAP_NAME).write_text("{")
    with pytest.raises(FootageError, match="damaged"):
        read_stage(tmp_path)


def _write(folder: Path, *names: str) -> dict[Path, bytes]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"somebody else's")
    return {folder / name: b"somebody else's" for name in names}


def test_unstaging_removes_what_is_ours_and_nothing_else(footage: Footage, tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    stage(footage, folder)
    _write(folder, "proxies/frame_000001.jpg/proxy_25/00000001.jpg")
    _write(folder, "proxies/frame_000001.jpg/proxy_25/made_of.txt")
    unstage(folder)
    assert not folder.exists()
    stage(footage, folder)
    others = _write(
        folder,
        "frame_000009.jpg",  # it could be a rendered picture of the user
        "sam2_splat_mattes/objects/001/000001.matte",
        "proxies/frame_000001.jpg/proxy_25/holiday.jpg",
        "proxies/mine/a.txt",
        "notes.txt",
    )
    stage(footage, folder)
    unstage(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {
        **others,
        folder / MARKER_NAME: (folder / MARKER_NAME).read_bytes(),
    }


def test_pictures_of_others_in_the_places_of_links_are_left_alone(
    footage: Footage, tmp_path: Path
) -> None:
    plain, ours = tmp_path / "render", tmp_path / "stage"
    names = [f"frame_{frame:06d}.jpg" for frame in range(1, 9)]
    theirs = _write(plain, *names)
    with pytest.raises(FootageError, match="for something else"):
        stage(footage, plain)
    with pytest.raises(FootageError, match="changes nothing"):
        unstage(plain)
    stage(footage, ours)
    (ours / names[1]).unlink()
    theirs |= _write(ours, names[1])
    for _ in range(2):  # it is not ours the next time either
        with pytest.raises(FootageError, match="has the name of one of our links"):
            stage(footage, ours)
    (ours / names[1]).rename(ours / names[7])
    theirs[ours / names[7]] = theirs.pop(ours / names[1])
    stage(footage, ours)
    assert {path: path.read_bytes() for path in theirs} == theirs


@pytest.mark.parametrize("place", ["", "proxies", "proxies/frame_000001.jpg"])
def test_nothing_behind_a_link_is_touched(footage: Footage, tmp_path: Path, place: str) -> None:
    folder, elsewhere = tmp_path / "stage", tmp_path / "elsewhere"
    stage(footage, folder)
    stage(footage, elsewhere)
    theirs = _write(elsewhere, "frame_000009.jpg", "proxy_25/00000001.jpg")
    theirs |= _write(elsewhere, "frame_000002.jpg.d/proxy_25/00000001.jpg")
    before = sorted(elsewhere.rglob("*"))
    if place:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
    else:
        unstage(folder)
    (folder / place).symlink_to(elsewhere)
    for act in (lambda: stage(footage, folder), lambda: unstage(folder)):
        with contextlib.suppress(FootageError):
            act()
    assert sorted(elsewhere.rglob("*")) == before
    assert (folder / place).is_symlink()
    assert {path: path.read_bytes() for path in theirs} == theirs


@pytest.mark.parametrize("way", ["links", "copies", "no map", "torn map"])
def test_folders_that_lost_their_marker_are_known_and_get_it_again(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = tmp_path / "0123456789abcdef"
    if way == "copies":
        for name in ("symlink", "link"):
            monkeypatch.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError("refused")))
    stage(footage, folder)
    (folder / MARKER_NAME).unlink()
    if way == "no map":
        (folder / MAP_NAME).unlink()
    elif way == "torn map":
        (folder / MAP_NAME).write_bytes(b"")
    footage.paths[0].unlink()
    stage(scan(footage.folder), folder)
    assert (folder / MARKER_NAME).is_file()
    assert links(folder) == [f"frame_{frame:06d}.jpg" for frame in range(1, 4)]
    unstage(folder)
    assert not folder.exists()
