# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos with an orientation tag are shown upright, and every click means the pixel that it lies on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.geometry.orientation import back, turned, turned_size
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from sam2_splat_addon.core.protocol import FootageFiles
from tests.blender.masked_clip import build_layers, store_of

pytestmark = pytest.mark.usefixtures("addon")

WIDTH, HEIGHT = 180, 120  # stored px, of all photos
DOT = (130.0, 35.0)  # its middle, stored px
RADIUS = 16
ALL = range(1, 9)


def stored_photo() -> NDArray[np.uint8]:
    """A bright disc on a dark ground, far from every middle line."""
    noise = np.random.default_rng(3).integers(0, 40, (HEIGHT, WIDTH, 3))
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    noise[np.hypot(columns - DOT[0], rows - DOT[1]) < RADIUS] += 190
    return noise.astype(np.uint8)


def write(folder: Path, orientations: Sequence[int], kind: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, orientation in enumerate(orientations):
        exif = Image.Exif()
        exif[274] = orientation
        path = folder / f"Größe {number:02d}.{kind}"
        Image.fromarray(stored_photo()).save(path, exif=exif)
    return folder


def load(folder: Path) -> bpy.types.MovieClip:
    from sam2_splat_addon.blender.clip import loading

    return loading.load(folder)


def shown_picture(clip: bpy.types.MovieClip, frame: int) -> NDArray[np.uint8]:
    """What Blender shows on a frame, (H, W) grey."""
    first = Path(bpy.path.abspath(clip.filepath))
    name = first.name.replace("000001", f"{frame:06d}")
    return np.asarray(Image.open(first.with_name(name)).convert("L"))


def dot_in(picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the middle of the bright disc, px."""
    rows, columns = np.nonzero(picture > 130)
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def click(clip: bpy.types.MovieClip, frame: int, x: float, y: float) -> None:
    """Click on a shown pixel, with Blender's own markers."""
    owner = clip.tracking.objects.get("dot") or clip.tracking.objects.new("dot")
    track = owner.tracks.new(name="Track", frame=frame)
    width, height = clip.size
    track.markers.insert_frame(frame, co=(x / width, 1 - y / height))


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "avif"])
def test_a_phones_portrait_photos_are_shown_upright(tmp_path: Path, kind: str) -> None:
    clip = load(write(tmp_path / "phone", [6, 6, 8], kind))
    assert tuple(clip.size) == (HEIGHT, WIDTH)
    assert clip.frame_duration == 3
    for frame, orientation in ((1, 6), (2, 6), (3, 8)):
        upright = np.asarray(Image.fromarray(turned(stored_photo(), orientation)).convert("L"))
        assert dot_in(shown_picture(clip, frame)) == pytest.approx(dot_in(upright), abs=0.6)


def test_photos_without_a_tag_are_shown_themselves(tmp_path: Path) -> None:
    clip = load(write(tmp_path / "camera", [1, 1], "jpg"))
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    assert Path(bpy.path.abspath(clip.filepath)).resolve().parent == tmp_path / "camera"


def test_a_click_on_a_marker_means_the_stored_pixel_below_it(tmp_path: Path) -> None:
    """Each photo is turned by its own tag, also where another shape has bars beside it."""
    from sam2_splat_addon.blender.clip import markers

    clip = load(write(tmp_path / "held in many ways", ALL))
    for frame in ALL:
        click(clip, frame, *dot_in(shown_picture(clip, frame)))
    (entry,) = markers.collect(clip).objects
    assert [at.frame for at in entry.frames] == list(ALL)
    for at in entry.frames:
        (point,) = at.points
        assert (point.x, point.y) == pytest.approx(DOT, abs=0.8)
    assert markers.on_frame(clip, 6)["dot"].points == entry.frames[5].points


def test_a_prompt_file_means_the_same_pixels_as_before(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import markers

    clip = load(write(tmp_path / "photos", ALL))
    box = BoxPrompt(110.0, 20.0, 150.0, 60.0)
    frames = tuple(FramePrompts(at, (PointPrompt(*DOT),), box) for at in ALL)
    markers.apply(clip, PromptSet((ObjectPrompts(1, "dot", frames),), WIDTH, HEIGHT))
    for track in clip.tracking.objects["dot"].tracks:
        if not markers.is_box(track):
            (marker,) = (one for one in track.markers if not one.mute)
            x, y = marker.co[0] * clip.size[0], (1 - marker.co[1]) * clip.size[1]
            assert shown_picture(clip, marker.frame)[int(y), int(x)] > 180
    (entry,) = markers.collect(clip).objects
    for at in entry.frames:
        assert (at.points[0].x, at.points[0].y) == pytest.approx(DOT, abs=1e-3)
        assert at.box is not None
        sides = (at.box.x0, at.box.y0, at.box.x1, at.box.y1)
        assert sides == pytest.approx((110.0, 20.0, 150.0, 60.0), abs=1e-3)


def test_a_drawn_mask_is_of_stored_pixels(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.clip import markers, mask_prompts, shown, user_masks

    clip = load(write(tmp_path / "photos", ALL))
    clip.tracking.objects.new("dot").tracks.new(name="Track", frame=1)
    ids = markers.sync_objects(clip)
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    drawn = {}
    for frame in ALL:
        x, y = dot_in(shown_picture(clip, frame))
        radius = RADIUS * shown.of(clip, frame).scale[0]
        ring = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1)
        drawn[frame] = [ring]
        mask_prompts.set_from_outlines(clip, ids["dot"], frame, [ring])
    disc = stored_photo()[:, :, 0] > 130
    for matte in user_masks.as_mattes(clip, {"dot": drawn}):
        points = np.array(matte.outlines[0]).reshape(-1, 2)
        assert points.mean(axis=0).tolist() == pytest.approx(DOT, abs=0.8)
    (entry,) = markers.collect(clip).objects
    for at in entry.frames:
        assert at.mask is not None
        mask = at.mask.to_array()
        assert mask.shape == (HEIGHT, WIDTH)
        assert (mask & disc).sum() / (mask | disc).sum() > 0.9


def test_mattes_are_shown_where_the_photo_shows_them(tmp_path: Path) -> None:
    """Overlay, layers and the list's pictures agree. The store has stored pixels."""
    from sam2_splat_addon.blender.clip import markers, matte_cache, shown
    from sam2_splat_addon.blender.clip.footage import footage_of
    from sam2_splat_addon.blender.clip.matte_run import store_folder
    from sam2_splat_addon.blender.masks import layers
    from sam2_splat_addon.blender.review import thumbnails

    clip = load(write(tmp_path / "photos", ALL))
    click(clip, 1, *dot_in(shown_picture(clip, 1)))
    ids = markers.sync_objects(clip)
    store_folder(clip, footage_of(clip).folder)
    disc = stored_photo()[:, :, 0] > 130
    logits = np.where(cv2.resize(disc.astype(np.uint8), (90, 60)) > 0, 5, -5).astype(np.float16)
    for frame in ALL:
        scores = MatteScores(9.0, 0.9, float(disc.mean()))
        store_of(clip).write(MatteRecord(ids["dot"], frame, WIDTH, HEIGHT, logits, scores))
    build_layers(clip)
    mask = clip.sam2_splat.mask
    for frame in ALL:
        present(bpy.context.scene).frame_set(frame)
        look = shown.of(clip, frame)
        there = shown_picture(clip, frame) > 130
        matte = matte_cache.matte_of(clip, ids["dot"], "dot", frame, None, "")
        assert matte is not None
        left, top, right, bottom = matte.part or (0, 0, *look.frame)
        stretched = cv2.resize(matte.values.astype(np.float32), (right - left, bottom - top)) > 0
        overlay = np.zeros_like(there)
        overlay[top:bottom, left:right] = stretched
        assert (overlay & there).sum() / (overlay | there).sum() > 0.85
        outlines = layers.read_object_layer(mask, "dot", frame, look.frame)
        assert len(outlines) == 1
        assert outlines[0].mean(axis=0).tolist() == pytest.approx(
            dot_in(shown_picture(clip, frame)), abs=2
        )
        icon = thumbnails.picture(look.mask_to_shown(logits), look.photo.upright, (1.0, 0.0, 0.0))[
            ::-1
        ]
        side = thumbnails.SIDE / max(look.photo.upright)
        x, y = look.photo.points_to_upright(np.array([DOT]))[0] * side
        x += (thumbnails.SIDE - look.photo.upright[0] * side) / 2
        y += (thumbnails.SIDE - look.photo.upright[1] * side) / 2
        assert icon[int(y), int(x), 0] == 1.0
        assert icon[int(thumbnails.SIDE - y), int(thumbnails.SIDE - x), 0] < 0.5


def test_holes_of_a_photo_that_is_shown_smaller_are_measured_in_its_own_pixels(
    tmp_path: Path,
) -> None:
    from sam2_splat_addon.blender.clip import matte_cache
    from sam2_splat_addon.blender.overlay import bake_look

    clip = load(write(tmp_path / "photos", [6, 6, 1]))
    logits = np.full((60, 90), 5.0, np.float16)
    logits[20:30, 20:30] = -5.0  # a hole of 20 x 20 px of the photo
    for frame in (1, 3):
        matte = matte_cache.as_shown(clip, frame, "stored", logits, None)
        assert (matte.part is None) == (frame == 1)
        assert matte.size == (None if frame == 1 else (WIDTH, HEIGHT))
        for limit, is_filled in ((350, False), (450, True)):
            clip.sam2_splat.fill_holes_px = limit
            (tidy,) = bake_look.baked([matte], (HEIGHT, WIDTH), clip.sam2_splat)
            assert bool((tidy.values > 0).all()) == is_filled


def test_an_earlier_clip_takes_its_clicks_and_drawn_masks_along_when_it_is_turned(
    tmp_path: Path,
) -> None:
    """A .blend file of an earlier version shows photos lying on their side, as links."""
    from sam2_splat_addon.blender.clip import markers, shown
    from sam2_splat_addon.blender.clip.footage import footage_of
    from sam2_splat_addon.blender.clip.user_masks import everything
    from sam2_splat_addon.blender.masks import layers, own_splines
    from sam2_splat_addon.core.system.steps import at_once

    folder = write(tmp_path / "photos", [1, 6, 8])
    for path in folder.iterdir():  # without tags, as an earlier version took them
        Image.open(path).copy().save(path, exif=Image.Exif())
    clip = load(folder)
    clip.sam2_splat.photo_sizes = ""
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    box = BoxPrompt(110.0, 20.0, 150.0, 60.0)
    frames = tuple(FramePrompts(at, (PointPrompt(*DOT),), box) for at in (1, 2, 3))
    before = PromptSet((ObjectPrompts(1, "dot", frames),), WIDTH, HEIGHT)
    markers.apply(clip, before)
    ring = np.array([[100.0, 20.0], [150.0, 22.0], [140.0, 70.0]])
    scene = present(bpy.context.scene)
    for frame in (1, 2):
        scene.frame_current = frame
        mask = layers.get_mask(clip)
        own_splines.show_alone(mask, clip, "dot", frame, [ring], is_edit=True)
    write(folder, [1, 6, 8])
    assert load(folder) == clip
    assert tuple(clip.size) == (HEIGHT, WIDTH)
    (entry,) = markers.collect(clip).objects
    for at in entry.frames:
        assert (at.points[0].x, at.points[0].y) == pytest.approx(DOT, abs=1e-2)
        assert at.box is not None
        assert at.box.x0 == pytest.approx(110.0, abs=0.01)
        assert at.box.y1 == pytest.approx(60.0, abs=0.01)
    drawn = at_once(everything(clip.session_uid))
    assert sorted(drawn["dot"]) == [1, 2]
    for frame, (outline,) in drawn["dot"].items():
        points = shown.of(clip, frame).points_to_stored(outline)
        assert sorted(map(tuple, np.round(points, 1).tolist())) == sorted(map(tuple, ring))
    sizes = FootageFiles.of(footage_of(clip)).sizes
    assert [sizes.shape(frame).orientation for frame in (1, 2, 3)] == [1, 6, 8]


def test_without_the_worker_photos_lie_on_their_side_and_turn_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.blender.context import task_runner, worker_session
    from sam2_splat_addon.blender.tasks.load_task import LoadTask
    from sam2_splat_addon.core.errors import EnvironmentSetupError

    def missing() -> None:
        raise EnvironmentSetupError("The packages are missing.", "Install them.")

    folder = write(tmp_path / "photos", [6, 6])
    with monkeypatch.context() as patched:
        patched.setattr(worker_session, "pool", missing)
        task = LoadTask(folder)
        task_runner.run_to_end(task)
    clip = bpy.data.movieclips[task.clip_name]
    assert "lie on their side" in task.summary
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    click(clip, 2, *DOT)
    task = LoadTask(folder)
    task_runner.run_to_end(task)
    assert "turned" in task.summary
    assert tuple(clip.size) == (HEIGHT, WIDTH)
    (point,) = markers.collect(clip).objects[0].frames[0].points
    assert (point.x, point.y) == pytest.approx(DOT, abs=0.01)


def test_a_worker_that_fails_leaves_photos_on_their_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import copies
    from sam2_splat_addon.blender.context import task_runner
    from sam2_splat_addon.blender.tasks.load_task import LoadTask
    from sam2_splat_addon.core.errors import WorkerError

    take = copies.take

    def failed(job: Any, *about: Any) -> Path:
        job.error = WorkerError("The SAM 2 process ended.", "Try again.")
        return take(job, *about)

    monkeypatch.setattr(copies, "take", failed)
    task = LoadTask(write(tmp_path / "photos", [6, 6]))
    task_runner.run_to_end(task)
    clip = bpy.data.movieclips[task.clip_name]
    assert "lie on their side" in task.summary
    assert tuple(clip.size) == (WIDTH, HEIGHT)


def test_blenders_own_open_clip_shows_photos_as_stored_and_means_the_same_pixels(
    tmp_path: Path,
) -> None:
    from sam2_splat_addon.blender.clip import markers
    from sam2_splat_addon.blender.clip.footage import footage_of

    folder = write(tmp_path / "photos", [6, 6])
    clip = bpy.data.movieclips.load(str(folder / "Größe 00.png"))
    footage = footage_of(clip)
    assert tuple(clip.size) == (WIDTH, HEIGHT)
    click(clip, 1, *DOT)
    (point,) = markers.collect(clip).objects[0].frames[0].points
    assert (point.x, point.y) == pytest.approx(DOT, abs=0.01)
    assert FootageFiles.of(footage).sizes.upright == PhotoSizes(HEIGHT, WIDTH)


STATUE = Path(os.environ.get("SAM2_SPLAT_REAL", "")) / "captures" / "statue" / "photos"


@pytest.mark.skipif(
    "SAM2_SPLAT_REAL" not in os.environ or not STATUE.is_dir(),
    reason="SAM2_SPLAT_REAL names no folder of real captures with portrait photos",
)
def test_a_real_capture_of_portrait_photos_is_upright() -> None:
    from sam2_splat_addon.blender.clip import markers

    photos = sorted(path for path in STATUE.iterdir() if path.is_file())
    clip = load(STATUE)
    with Image.open(photos[0]) as image:
        upright = ImageOps.exif_transpose(image)
        stored = image.size
    assert tuple(clip.size) == upright.size != stored
    for frame in (1, len(photos)):
        with Image.open(photos[frame - 1]) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("L")).astype(float)
        assert np.abs(shown_picture(clip, frame) - expected).mean() < 3
    width, height = clip.size
    click(clip, 1, width * 0.25, height * 0.125)
    (point,) = markers.collect(clip).objects[0].frames[0].points
    # Orientation 8: upright after a quarter turn to the left.
    assert (point.x, point.y) == pytest.approx((stored[0] * 0.875, stored[1] * 0.25), abs=0.01)


def upright_scene(width: int, height: int) -> NDArray[np.uint8]:
    """A bright disc on a dark ground, as a camera sees it that is held upright or lying."""
    noise = np.random.default_rng(3).integers(0, 40, (height, width, 3))
    rows, columns = np.indices((height, width)) + 0.5
    noise[np.hypot(columns - 0.55 * width, rows - 0.45 * height) < 2 * RADIUS] += 190
    return noise.astype(np.uint8)


def test_the_whole_road_from_a_click_to_images(tmp_path: Path) -> None:
    """Load photos of a phone held in all eight ways, click on one, propagate, bake in both ways."""
    from sam2_splat_addon.blender.cli import batch

    ways = (1, 3, 2, 4, 6, 8, 5, 7)
    folder = write(tmp_path / "phone", ways)
    photos = sorted(folder.glob("*.png"))
    for path, orientation in zip(photos, ways, strict=True):
        scene = upright_scene(*turned_size(WIDTH, HEIGHT, orientation))
        exif = Image.Exif()
        exif[274] = orientation
        stored = np.ascontiguousarray(turned(scene, back(orientation)))
        Image.fromarray(stored).save(path, exif=exif)
    prompts = tmp_path / "prompts.json"
    frames = [{"frame": 1, "points": [{"x": 0.55 * WIDTH, "y": 0.45 * HEIGHT}]}]
    prompts.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "dot", "frames": frames}]})
    )
    for more in ([], ["--upright"]):
        wish = ["--footage", str(folder), "--prompts", str(prompts), "--bake", *more]
        assert batch.main(wish) == 0
    for orientation, source in zip(ways, photos, strict=True):
        stored = np.asarray(Image.open(source))
        disc = stored[:, :, 0] > 130
        with Image.open(folder / "postshot_v001" / source.name) as image:
            kept, tag = np.asarray(image), image.getexif().get(274)
            upright = np.asarray(ImageOps.exif_transpose(image))
        assert tag == orientation
        assert np.array_equal(kept[:, :, :3], stored)
        inside = kept[:, :, 3] > 0
        assert (inside & disc).sum() > 0.97 * disc.sum()
        assert (inside & disc).sum() > 0.65 * inside.sum()
        with Image.open(folder / "postshot_v002" / source.name) as image:
            assert image.getexif().get(274) == 1
            assert image.size == turned_size(WIDTH, HEIGHT, orientation)
            assert np.array_equal(np.asarray(image), upright)
            assert np.array_equal(turned(np.asarray(image), back(orientation)), kept)
    manifest = json.loads((folder / "postshot_v002" / "manifest.json").read_text())
    assert manifest["options"]["upright"] is True
