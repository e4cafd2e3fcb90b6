# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks beside the photos: never taken for photos, and found by every program's naming."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sam2_splat_addon.core.footage.found_masks import masks_beside
from sam2_splat_addon.core.footage.scan import IMAGE_EXTENSIONS, scan


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 16)).save(path)


def photos_and_masks(folder: Path) -> tuple[list[str], dict[str, str]]:
    footage = scan(folder)
    photos = [at.name for at in footage.frames]
    found = masks_beside(footage.folder, photos, IMAGE_EXTENSIONS)
    top = folder if all(path.is_relative_to(folder) for path in found.values()) else folder.parent
    return photos, {photo: path.relative_to(top).as_posix() for photo, path in found.items()}


@pytest.mark.parametrize(
    "mask",
    [
        "IMG 1_mask.png",
        "IMG 1.mask.png",
        "IMG 1-Mask.jpg",
        "img 1_MASK.PNG",
        "IMG 1.JPG.mask.png",
        "IMG 1.JPG_mask.tif",
        "masks/IMG 1.png",
        "Masks/IMG 1.jpg",
        "mask/IMG 1.JPG.png",
        "masks/IMG 1_mask.png",
        "masks/IMG 1.JPG.mask.png",
    ],
)
def test_each_naming(mask: str, tmp_path: Path) -> None:
    write(tmp_path, "IMG 1.JPG", "IMG 2.JPG", mask)
    assert photos_and_masks(tmp_path) == (["IMG 1.JPG", "IMG 2.JPG"], {"IMG 1.JPG": mask})


def test_a_photo_that_is_only_called_so_stays_a_photo(tmp_path: Path) -> None:
    write(tmp_path, "Venice mask.jpg", "mask.jpg", "gas_mask_2.jpg", "x.jpg")
    photos, masks = photos_and_masks(tmp_path)
    assert photos == ["gas_mask_2.jpg", "mask.jpg", "Venice mask.jpg", "x.jpg"]
    assert masks == {}


def test_two_photos_of_one_stem_need_the_whole_name(tmp_path: Path) -> None:
    write(tmp_path, "x.jpg", "x.png", "masks/x.png", "masks/x.jpg.png", "y.jpg", "masks/y.png")
    _, masks = photos_and_masks(tmp_path)
    assert masks == {"x.jpg": "masks/x.jpg.png", "y.jpg": "masks/y.png"}


def test_subfolders_have_masks_beside_or_in_the_same_tree(tmp_path: Path) -> None:
    write(tmp_path, "left/1.jpg", "right/1.jpg", "top/1.jpg", "top/2.jpg")
    write(tmp_path, "masks/left/1.jpg.png", "right/masks/1.png", "top/2_mask.png", "masks/1.png")
    photos, masks = photos_and_masks(tmp_path)
    assert photos == ["left/1.jpg", "right/1.jpg", "top/1.jpg", "top/2.jpg"]
    assert masks == {
        "left/1.jpg": "masks/left/1.jpg.png",
        "right/1.jpg": "right/masks/1.png",
        "top/2.jpg": "top/2_mask.png",
    }


@pytest.mark.parametrize("chosen", ["", "images"])
def test_masks_beside_the_folder_of_images(chosen: str, tmp_path: Path) -> None:
    write(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1.jpg.png", "masks/2.png")
    photos, masks = photos_and_masks(tmp_path / chosen)
    assert len(photos) == 2
    assert sorted(masks.values()) == ["masks/1.jpg.png", "masks/2.png"]


def test_masks_beside_a_folder_of_another_name_are_of_something_else(tmp_path: Path) -> None:
    write(tmp_path, "kitchen/1.jpg", "garden/1.jpg", "masks/1.png", "masks/garden/1.png")
    assert photos_and_masks(tmp_path / "kitchen")[1] == {}
    assert photos_and_masks(tmp_path / "garden")[1] == {"1.jpg": "masks/garden/1.png"}
