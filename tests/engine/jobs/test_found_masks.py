# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks beside the photos become mask prompts, or are refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import Cancelled, DamagedPhoto, FootageError
from sam2_splat_addon.core.prompts import MaskPrompt
from sam2_splat_addon.core.protocol import FoundMask, MasksRequest, Progress
from sam2_splat_addon.engine.jobs.found_masks import LONG_SIDE, read_masks

WIDTH, HEIGHT = 60, 40


def truth() -> np.ndarray:
    """A subject in the middle, with a hole."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[8:35, 10:50] = True
    inside[15:20, 20:30] = False
    return inside


def rgba(inside: np.ndarray) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 255, (*inside.shape, 3), dtype=np.uint8)
    return Image.fromarray(np.dstack([noise, inside * np.uint8(255)]))


def grey(inside: np.ndarray) -> Image.Image:
    return Image.fromarray(inside * np.uint8(255))


def palette(inside: np.ndarray) -> Image.Image:
    made = Image.fromarray(inside.astype(np.uint8), mode="P")
    made.putpalette([0, 0, 0, 128, 0, 0])
    return made


def one(path: Path, frame: int = 1, size: tuple[int, int] = (WIDTH, HEIGHT), turn: int = 1) -> Any:
    return FoundMask(str(path), frame, "photo.jpg", *size, turn)


def read(*masks: FoundMask, invert: bool = False) -> tuple[dict[int, MaskPrompt], tuple[str, ...]]:
    return read_masks(MasksRequest(masks, invert), lambda _: None, lambda: False)


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("grey.png", grey),
        ("bits.png", lambda inside: grey(inside).convert("1")),
        ("rgb.png", lambda inside: grey(inside).convert("RGB")),
        ("deep.png", lambda inside: Image.fromarray(inside.astype(np.uint16) * 65535)),
        ("grey.tif", grey),
        ("cut-out.png", rgba),
        ("ones.png", lambda inside: Image.fromarray(inside.astype(np.uint8))),
        ("palette.png", palette),
        ("opaque.png", lambda inside: grey(inside).convert("RGBA")),
    ],
)
def test_each_kind_of_mask_file(name: str, picture: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    picture(truth()).save(path)
    found, warnings = read(one(path, 7))
    assert list(found) == [7] and not warnings
    assert np.array_equal(found[7].to_array(), truth())


def test_a_lossy_mask_is_cut_at_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "mask.jpg"
    grey(truth()).save(path, quality=60)
    found, _ = read(one(path))
    assert (found[1].to_array() != truth()).mean() < 0.02


def test_a_mask_may_be_smaller_than_its_photo_and_large_ones_become_smaller(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    grey(truth()).save(path)
    found, _ = read(one(path, size=(600, 400)))
    assert np.array_equal(found[1].to_array(), truth())
    grey(truth()).resize((6000, 4000), Image.Resampling.NEAREST).save(path)
    found, _ = read(one(path, size=(6000, 4000)))
    mask = found[1].to_array()
    assert mask.shape == (683, LONG_SIDE)
    small = Image.fromarray(mask).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    assert (np.asarray(small) != truth()).mean() < 0.02


def test_a_mask_of_the_upright_photo_is_turned_to_its_stored_pixels(tmp_path: Path) -> None:
    stored = truth()
    upright = Image.fromarray(stored * np.uint8(255)).transpose(Image.Transpose.ROTATE_270)
    upright.save(tmp_path / "mask.png")
    found, _ = read(one(tmp_path / "mask.png", turn=6))
    assert np.array_equal(found[1].to_array(), stored)


def test_a_mask_that_does_not_fit_is_named_with_both_sizes(tmp_path: Path) -> None:
    grey(truth()).save(tmp_path / "mask.png")
    with pytest.raises(FootageError, match=r"mask\.png has 60x40 px.*photo\.jpg has 60x60 px"):
        read(one(tmp_path / "mask.png", size=(60, 60)))
    with pytest.raises(FootageError, match=r"60x40 px.*40x60 px"):
        read(one(tmp_path / "mask.png", size=(40, 60)))


def test_inverted_masks_are_found_out(tmp_path: Path) -> None:
    for frame in (1, 2, 3):
        grey(~truth()).save(tmp_path / f"{frame}.png")
    masks = [one(tmp_path / f"{frame}.png", frame) for frame in (1, 2, 3)]
    with pytest.raises(FootageError, match="inverted: white must be the subject"):
        read(*masks)
    found, _ = read(*masks, invert=True)
    assert all(np.array_equal(found[frame].to_array(), truth()) for frame in (1, 2, 3))
    grey(truth()).save(tmp_path / "1.png")
    with pytest.raises(FootageError, match="inverted"):
        read(one(tmp_path / "1.png"), invert=True)


def test_a_subject_that_reaches_the_edge_on_one_photo_is_no_inversion(tmp_path: Path) -> None:
    close = np.ones((HEIGHT, WIDTH), bool)
    close[:5, :5] = False
    for frame, inside in enumerate((close, truth(), truth()), start=1):
        grey(inside).save(tmp_path / f"{frame}.png")
    found, _ = read(*(one(tmp_path / f"{frame}.png", frame) for frame in (1, 2, 3)))
    assert np.array_equal(found[1].to_array(), close)


def test_masks_that_say_nothing_are_left_out_and_named(tmp_path: Path) -> None:
    grey(truth()).save(tmp_path / "1.png")
    grey(np.zeros((HEIGHT, WIDTH), bool)).save(tmp_path / "none.png")
    found, warnings = read(one(tmp_path / "1.png"), one(tmp_path / "none.png", 2))
    assert list(found) == [1]
    assert warnings == ("Masks that are all black or all white are left out: none.png.",)


def test_label_maps_and_damage_are_refused_in_words(tmp_path: Path) -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[5:20], labels[20:30] = 1, 2
    Image.fromarray(labels).save(tmp_path / "labels.png")
    with pytest.raises(FootageError, match=r"labels\.png has 3 dark values and no white"):
        read(one(tmp_path / "labels.png"))
    grey(truth()).save(tmp_path / "cut.png")
    data = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedPhoto, match=r"cut\.png"):
        read(one(tmp_path / "cut.png"))
    with pytest.raises(FootageError, match=r"gone\.png"):
        read(one(tmp_path / "gone.png"))


def test_progress_and_cancel(tmp_path: Path) -> None:
    grey(truth()).save(tmp_path / "1.png")
    masks = (one(tmp_path / "1.png", 1), one(tmp_path / "1.png", 4))
    steps: list[Progress] = []
    read_masks(MasksRequest(masks), steps.append, lambda: False)
    assert [(at.done, at.total, at.frame) for at in steps] == [(1, 2, 1), (2, 2, 4)]
    with pytest.raises(Cancelled):
        read_masks(MasksRequest(masks), steps.append, lambda: True)
