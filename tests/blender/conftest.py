# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender (the bpy module) with a new file for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def fresh_file() -> Iterator[None]:
    """Open an empty file before every test."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    yield


@pytest.fixture(scope="session")
def addon_session() -> Iterator[None]:
    """Register the add-on once. Blender crashes at its exit if classes stay registered."""
    import sam2_splat_addon

    sam2_splat_addon.register()
    yield
    sam2_splat_addon.unregister()


@pytest.fixture
def addon(addon_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registered add-on, with its own cache folder for each test."""
    monkeypatch.setenv("SAM2_SPLAT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_photos(tmp_path: Path) -> Callable[..., Path]:
    """Write photos of a bright square that moves over a dark ground. Return their folder.

    The bundled model sees a grey square on one photo, and is sure of an ``orange`` one on the next ones too.
    """

    def make(
        count: int = 4,
        size: tuple[int, int] = (120, 180),
        pattern: str = "IMG_{:04d}.JPG",
        name: str = "photos",
        *,
        orange: bool = False,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        width, height = size
        noise = np.random.default_rng(7).integers(0, 40, (height, width, 3))
        square = (150, 40, 20) if orange else (180, 180, 180)
        for index in range(count):
            pixels = noise.copy()
            left, top = width // 4 + 3 * index, height // 3
            pixels[top : top + height // 3, left : left + width // 3] += square
            image = Image.fromarray(pixels.astype(np.uint8))
            # Numbers with gaps, as after some photos are deleted in the camera.
            image.save(folder / pattern.format(2041 + index + index // 2), quality=95)
        return folder

    return make


@pytest.fixture
def make_clip(addon: None, tmp_path: Path) -> Callable[[int, int], bpy.types.MovieClip]:
    """Make a clip of one plain frame of a size in px. Masks need no more."""

    def make(width: int, height: int) -> bpy.types.MovieClip:
        path = tmp_path / f"plain_{width}x{height}_0001.png"
        Image.new("RGB", (width, height)).save(path)
        return bpy.data.movieclips.load(str(path))

    return make
