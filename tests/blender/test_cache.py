# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache is measured and emptied without harm to open clips and to results."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("addon")


def test_clearing_the_cache_keeps_mattes_and_open_clips(
    make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    from sam2_splat_addon.blender import cache, footage_clip

    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=3)))
    clip = bpy.context.scene.active_clip
    (staged,) = footage_clip.staged_folders()
    (staged / "proxies").mkdir()
    (staged / "proxies" / "small.jpg").write_bytes(b"x" * 5000)
    mattes = staged / footage_clip.STORE_NAME
    mattes.mkdir()
    (mattes / "kept").write_bytes(b"y" * 100)
    gone = staged.parent / "of_photos_that_are_gone"
    gone.mkdir()
    (gone / "frame_000001.jpg").write_bytes(b"z")
    assert cache.size() >= 5101
    bpy.ops.sam2_splat.clear_cache()
    assert not (staged / "proxies").exists() and not gone.exists()
    assert (mattes / "kept").read_bytes() == b"y" * 100
    assert Path(bpy.path.abspath(clip.filepath)).exists()
    assert clip.frame_duration == 3


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((4200, 2800), True), ((4201, 2800), False), ((4000, 2000), False), ((2800, 4200), True)],
)
def test_large_photos_get_small_copies_when_a_quarter_is_whole(
    size: tuple[int, int], wanted: bool, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender import footage_proxy

    path = tmp_path / "plain_0001.png"
    Image.new("1", size).save(path)
    assert footage_proxy.is_wanted(bpy.data.movieclips.load(str(path))) is wanted


def test_small_copies_go_when_photos_change_come_or_go(make_photos: Callable[..., Path]) -> None:
    from sam2_splat_addon.blender import footage_clip, footage_proxy

    folder = make_photos(count=3)
    clip = footage_clip.load(folder)
    clip.proxy.directory = str(footage_clip.proxy_folder(clip))
    copies = footage_clip.proxy_folder(clip) / Path(clip.filepath).name / "proxy_25"

    def keeps() -> bool:
        """Whether the copies that are there now outlast the next look."""
        (copies / "00000001.jpg").write_bytes(b"")
        footage_proxy.discard_others(clip)
        return (copies / "00000001.jpg").exists()

    copies.mkdir(parents=True)
    assert not keeps()  # an earlier version's, which didn't say what they were made of
    assert keeps()
    first, second, _ = sorted(folder.glob("*.JPG"))
    os.utime(second, ns=(0, 0))
    assert not keeps()
    assert keeps()
    first.unlink()
    assert footage_clip.load(folder) == clip
    assert not keeps()
    assert keeps()
