# SPDX-License-Identifier: GPL-3.0-or-later
"""One clip of photos of several sizes: clicked, propagated, drawn and baked, each at its own size."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytestmark = pytest.mark.usefixtures("addon")

LANDSCAPE, PORTRAIT, SMALL = (180, 120), (120, 180), (90, 60)
PHOTOS = {
    "left/IMG_1.JPG": LANDSCAPE,
    "left/IMG_2.JPG": PORTRAIT,
    "left/IMG_10.JPG": LANDSCAPE,
    "right/IMG_1.JPG": SMALL,
    "right/IMG_2.JPG": (200, 120),
}


def subject(size: tuple[int, int]) -> NDArray[np.bool_]:
    """A square, a little beside the middle."""
    width, height = size
    side = min(size) // 3
    inside = np.zeros((height, width), bool)
    top, left = height // 2 - side // 2, width // 2 - side // 2 + side // 4
    inside[top : top + side, left : left + side] = True
    return inside


def middle(size: tuple[int, int]) -> tuple[float, float]:
    rows, columns = np.nonzero(subject(size))
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def box_around(size: tuple[int, int]) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(subject(size))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def picture(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A bright striped square on a dark pattern: a plain one on plain ground looks like nothing real."""
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    waves = 40 + 10 * np.sin(columns / 7) + 10 * np.sin(rows / 5 + columns / 11)
    grain = np.random.default_rng(7).integers(-3, 4, (height, width))
    pixels = np.repeat((waves + grain)[..., None], 3, axis=2)
    stripes = np.where((np.sin((rows + columns) / 2.5) > 0)[..., None], 240, (225, 170, 150))
    pixels[subject(size)] = stripes[subject(size)]
    return pixels.astype(np.uint8)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    folder = tmp_path / "zwei Kameras"
    for name, size in PHOTOS.items():
        pixels = picture(size)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name, quality=95)
    return folder


def shown_picture(clip: bpy.types.MovieClip, frame: int) -> NDArray[np.uint8]:
    first = Path(bpy.path.abspath(clip.filepath))
    path = first.with_name(first.name.replace("000001", f"{frame:06d}"))
    return np.asarray(Image.open(path).convert("L"))


def test_odd_sizes_are_shown_with_bars_in_frames_of_one_size(capture: Path) -> None:
    from sam2_splat_addon.blender.clip import loading, shown

    clip = loading.load(capture)
    assert tuple(clip.size) == LANDSCAPE
    assert clip.frame_duration == len(PHOTOS)
    for frame, size in enumerate(PHOTOS.values(), start=1):
        picture, look = shown_picture(clip, frame), shown.of(clip, frame)
        assert picture.shape == LANDSCAPE[::-1]
        assert (look.photo.width, look.photo.height) == size
        rows, columns = np.nonzero(picture > 130)
        assert look.point_to_shown(*middle(size)) == pytest.approx(
            (columns.mean() + 0.5, rows.mean() + 0.5), abs=0.8
        )
        left, top, right, bottom = look.part
        bars = np.ones(picture.shape, bool)
        bars[top:bottom, left:right] = False
        assert not bars.any() or picture[bars].max() < 20


def test_a_click_in_the_clip_to_images_of_each_photos_size(capture: Path) -> None:
    """Click on the portrait photo where the clip shows it, propagate, and bake."""
    from sam2_splat_addon.blender.clip import loading, markers, shown
    from sam2_splat_addon.blender.context.present import present
    from sam2_splat_addon.blender.masks import layers
    from sam2_splat_addon.core.prompts import BoxPrompt

    clip = loading.load(capture)
    present(bpy.context.scene).active_clip = clip
    owner, look = clip.tracking.objects.new("square"), shown.of(clip, 2)
    x, y = look.point_to_shown(*middle(PORTRAIT))
    track = owner.tracks.new(name="click", frame=2)
    track.markers.insert_frame(2, co=(x / clip.size[0], 1 - y / clip.size[1]))
    markers.add_box(owner, 2, BoxPrompt(*look.box_to_shown(box_around(PORTRAIT))), *clip.size)
    (entry,) = markers.collect(clip).objects
    (at,) = entry.frames
    assert (at.points[0].x, at.points[0].y) == pytest.approx(middle(PORTRAIT), abs=0.01)
    assert at.box is not None
    assert (at.box.x0, at.box.y1) == pytest.approx(box_around(PORTRAIT)[::3], abs=0.01)
    assert bpy.ops.sam2_splat.propagate() == {"FINISHED"}
    mask = clip.sam2_splat.mask
    for frame, size in enumerate(PHOTOS.values(), start=1):
        look = shown.of(clip, frame)
        (outline, *_) = layers.read_object_layer(mask, "square", frame, LANDSCAPE)
        left, top, right, bottom = look.part
        assert outline[:, 0].min() >= left - 1 and outline[:, 0].max() <= right + 1
        assert outline[:, 1].min() >= top - 1 and outline[:, 1].max() <= bottom + 1
        there = look.point_to_shown(*middle(size))
        assert outline.mean(axis=0).tolist() == pytest.approx(there, abs=6)
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    _require_baked(capture)


def _require_baked(capture: Path) -> None:
    for name, size in PHOTOS.items():
        pixels = np.asarray(Image.open(capture / "postshot_v001" / name.replace(".JPG", ".png")))
        assert pixels.shape == (size[1], size[0], 4)
        assert np.array_equal(pixels[..., :3], np.asarray(Image.open(capture / name)))
        alpha = pixels[..., 3] > 0
        both, either = alpha & subject(size), alpha | subject(size)
        assert both.sum() > 0.7 * either.sum(), name


def test_the_command_line_takes_prompts_in_each_photos_own_pixels(
    capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.blender.cli import batch

    file = tmp_path / "prompts.json"
    left, top, right, bottom = box_around(PORTRAIT)
    box = {"x0": left, "y0": top, "x1": right, "y1": bottom}
    frames = [{"frame": 2, "box": box}]
    file.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "square", "frames": frames}]})
    )
    code = batch.main(["--footage", str(capture), "--prompts", str(file), "--bake"])
    assert code == 0, capfd.readouterr().err
    _require_baked(capture)


def test_an_odd_photo_that_comes_later_moves_no_click(capture: Path) -> None:
    """Photos of one size are shown themselves. With an odd one, copies are shown instead."""
    from sam2_splat_addon.blender.clip import loading, markers
    from sam2_splat_addon.core.prompts import PointPrompt

    left = capture / "left"
    odd = (left / "IMG_2.JPG").rename(capture / "kept aside.JPG")
    clip = loading.load(left)
    assert tuple(clip.size) == LANDSCAPE
    owner = clip.tracking.objects.new("square")
    markers.add_point(owner, 2, PointPrompt(*middle(LANDSCAPE)), *LANDSCAPE)
    odd.rename(left / "IMG_2.JPG")
    assert loading.load(left) == clip
    (entry,) = markers.collect(clip).objects
    (at,) = entry.frames
    assert at.frame == 3
    assert (at.points[0].x, at.points[0].y) == pytest.approx(middle(LANDSCAPE), abs=0.01)


def test_photos_that_become_the_odd_ones_keep_their_clicks(capture: Path) -> None:
    """Two portraits more make portrait the clip's shape: what was clicked stays on its pixel."""
    from sam2_splat_addon.blender.clip import loading, markers, shown
    from sam2_splat_addon.core.prompts import PointPrompt

    left = capture / "left"
    clip = loading.load(left)
    owner = clip.tracking.objects.new("square")
    for frame, size in ((1, LANDSCAPE), (2, PORTRAIT)):
        point = PointPrompt(*shown.of(clip, frame).point_to_shown(*middle(size)))
        markers.add_point(owner, frame, point, *clip.size)
    for number in (11, 12):
        Image.open(left / "IMG_2.JPG").save(left / f"IMG_{number}.JPG")
    assert loading.load(left) == clip
    assert tuple(clip.size) == PORTRAIT
    (entry,) = markers.collect(clip).objects
    for at, size in zip(entry.frames, (LANDSCAPE, PORTRAIT), strict=True):
        assert (at.points[0].x, at.points[0].y) == pytest.approx(middle(size), abs=0.1)
