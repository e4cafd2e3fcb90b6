# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache is measured and emptied. Open clips and results keep working."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest
from PIL import Image

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import FootageError

pytestmark = pytest.mark.usefixtures("addon")


def test_clearing_the_cache_keeps_mattes_and_open_clips(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import cache_usage, loading, matte_run
    from sam2_splat_addon.blender.clip import footage as footage_clip
    from sam2_splat_addon.blender.clip.footage import Place

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=3)))
    clip = present(bpy.context.scene.active_clip)
    (staged,) = footage_clip.staged_folders()
    small = staged / "proxies" / "frame_000001.jpg" / "proxy_25"
    small.mkdir(parents=True)
    (small / "00000001.jpg").write_bytes(b"x" * 5000)
    mattes = staged / matte_run.STORE_NAME
    mattes.mkdir()
    (mattes / "kept").write_bytes(b"y" * 100)
    footage, _ = loading.read_and_stage(
        Place(make_photos(count=3, name="others")), staged.parents[1]
    )
    (gone,) = set(footage_clip.staged_folders()) - {staged}
    shutil.rmtree(footage.folder)
    assert cache_usage.size() >= 5101
    bpy.ops.sam2_splat.clear_cache()
    assert not (staged / "proxies").exists() and not gone.exists()
    assert (mattes / "kept").read_bytes() == b"y" * 100
    assert Path(bpy.path.abspath(clip.filepath)).exists()
    assert clip.frame_duration == 3


@pytest.mark.parametrize("name", ["footage_folder", "store_folder"])
def test_a_file_that_names_a_folder_that_none_can_be_is_no_traceback(
    make_photos: Callable[..., Path], name: str
) -> None:
    from sam2_splat_addon.blender.clip import matte_run

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    clip = present(bpy.context.scene.active_clip)
    setattr(clip.sam2_splat, name, "/" + "x" * 300)
    assert bpy.ops.sam2_splat.clear_cache() == {"FINISHED"}
    store = matte_run.known_store(clip)
    assert store is None or (store.objects(), store.frames(1), store.aside()) == ([], [], [])


def _contents(*folders: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_a_project_folder_as_the_cache_keeps_all_that_is_the_users(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import cache_usage
    from sam2_splat_addon.blender.clip import footage as footage_clip

    project = tmp_path / "project"
    for shot in ("shoot_1", "0123456789abcdef"):
        for name in ("frame_000001.jpg", "a.nef", "raw/b.nef", "proxies/c/proxy_25/small.jpg"):
            path = project / "footage" / shot / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a photo")
    (project / "footage" / "shoot_1" / "frames.json").write_bytes(b"{}")
    before = _contents(project)
    monkeypatch.setenv("SAM2_SPLAT_CACHE", str(project))
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    assert cache_usage.size() < 2000  # the user's own files don't count
    bpy.ops.sam2_splat.clear_cache()
    assert before.items() <= _contents(project).items()
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.sam2_splat.clear_cache()
    assert _contents(project) == before
    assert footage_clip.staged_folders() == []


def test_links_in_the_cache_are_not_followed(
    make_photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import cache_usage
    from sam2_splat_addon.blender.clip import footage as footage_clip

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    (staged,) = footage_clip.staged_folders()
    mine, other = make_photos(count=2, name="mine"), tmp_path / "other" / "footage"
    shutil.copytree(staged, other / staged.name, symlinks=True)
    (other / staged.name / "proxies").mkdir()
    for name, target in {
        "photos": mine,
        "0123456789abcdef": other / staged.name,
        f"{staged.name}/proxies": mine,
    }.items():
        (staged.parent / name).symlink_to(target)
    names = sorted(path.name for path in (other / staged.name).iterdir())
    before = _contents(mine, tmp_path / "other")
    with pytest.raises(FootageError, match="proxies is a link"):
        cache_usage.clear()
    monkeypatch.setenv("SAM2_SPLAT_CACHE", str(tmp_path / "linked"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "footage").symlink_to(other)
    cache_usage.clear()
    assert _contents(mine, tmp_path / "other") == before
    assert sorted(path.name for path in (other / staged.name).iterdir()) == names


def test_small_copies_elsewhere_are_not_ours(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import loading, proxies

    clip = loading.load(make_photos(count=2))
    clip.proxy.directory = str(tmp_path / "mine")
    copies = tmp_path / "mine" / Path(clip.filepath).name / "proxy_25"
    copies.mkdir(parents=True)
    (copies / "00000001.jpg").write_bytes(b"mine")
    proxies.discard_others(clip)
    assert (copies / "00000001.jpg").exists()


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((4200, 2800), True), ((4201, 2800), False), ((4000, 2000), False), ((2800, 4200), True)],
)
def test_large_photos_get_small_copies_when_a_quarter_is_whole(
    size: tuple[int, int], wanted: bool, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import proxies

    path = tmp_path / "plain_0001.png"
    Image.new("1", size).save(path)
    assert proxies.is_wanted(bpy.data.movieclips.load(str(path))) is wanted


def test_small_copies_go_when_photos_change_come_or_go(make_photos: Callable[..., Path]) -> None:
    from sam2_splat_addon.blender.clip import footage as footage_clip
    from sam2_splat_addon.blender.clip import loading, proxies

    folder = make_photos(count=3)
    clip = loading.load(folder)
    clip.proxy.directory = str(footage_clip.proxy_folder(clip))
    copies = footage_clip.proxy_folder(clip) / Path(clip.filepath).name / "proxy_25"

    def keeps() -> bool:
        """Whether the present copies stay after the next look."""
        (copies / "00000001.jpg").write_bytes(b"")
        proxies.discard_others(clip)
        return (copies / "00000001.jpg").exists()

    copies.mkdir(parents=True)
    assert not keeps()  # nothing says what they were made from
    assert keeps()
    first, second, _ = sorted(folder.glob("*.JPG"))
    os.utime(second, ns=(0, 0))
    assert not keeps()
    assert keeps()
    first.unlink()
    assert loading.load(folder) == clip
    assert not keeps()
    assert keeps()
