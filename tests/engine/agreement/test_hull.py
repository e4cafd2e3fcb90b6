# SPDX-License-Identifier: GPL-3.0-or-later
"""The hull has the subject's shape, thin parts too, and a share of wrong masks does not change that."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam2_splat_addon.core.cameras.lens import Lens
from sam2_splat_addon.engine.agreement.aim import Mask, aim, axes_meet, masks_meet, meeting_point
from sam2_splat_addon.engine.agreement.hull import carve, finer
from sam2_splat_addon.engine.agreement.kept_hull import hull_key, load_hull, save_hull
from sam2_splat_addon.engine.agreement.outline import Outlines, grid_of
from tests.engine.agreement.solid import (
    CENTRE,
    FISHEYE,
    HEIGHT,
    PINHOLE,
    POINTS,
    WIDTH,
    cameras,
    iou,
    masks_of,
    truth,
)

ACROSS = 160  # enough for legs of 0.04 in a ball of 1.4


def outlines(masks: list[Mask]) -> Outlines:
    hull = carve(masks, across=ACROSS)
    assert hull is not None
    return Outlines(hull, masks)


def test_lines_meet_in_spite_of_a_few_that_do_not() -> None:
    rng = np.random.default_rng(3)
    origins = rng.normal(size=(20, 3)) * 3 + CENTRE
    directions = CENTRE - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[:4] = np.roll(directions[:4], 1, axis=1)
    point, distances = meeting_point(origins, directions)
    np.testing.assert_allclose(point, CENTRE, atol=0.02)
    assert distances[4:].max() < 0.05


def test_axes_and_masks_meet_in_the_subject() -> None:
    views = cameras()
    assert np.linalg.norm(axes_meet(views) - CENTRE) < 0.15
    middle = masks_meet(masks_of(views))
    assert middle is not None
    assert np.linalg.norm(middle - CENTRE) < 0.4
    assert masks_meet([]) is None


@pytest.mark.parametrize("lens", [PINHOLE, FISHEYE])
def test_the_hull_looks_like_the_subject_from_everywhere(lens: Lens) -> None:
    masks = masks_of(cameras(lens=lens))
    found = outlines(masks)
    shapes = [iou(found.shape(mask.frame), found.inside(mask.frame)) for mask in masks]
    assert min(shapes) > 0.75
    assert np.mean(shapes) > 0.85


def test_thin_legs_are_there() -> None:
    views = cameras()
    found = outlines(masks_of(views))
    feet = POINTS[POINTS[:, 2] < CENTRE[2] + 0.2]  # only legs are so low
    for frame in range(1, len(views) + 1):
        pixels, _ = views[frame - 1].project(feet)
        rows, columns = found.shape(frame).shape
        x = (pixels[:, 0] * columns / WIDTH).astype(int)
        y = (pixels[:, 1] * rows / HEIGHT).astype(int)
        assert found.shape(frame)[y, x].mean() > 0.8


def test_fine_masks_get_a_finer_hull_at_its_surface_and_coarse_masks_do_not() -> None:
    views = cameras(12)
    masks = masks_of(views)
    coarse = carve(masks, across=96)
    assert coarse is not None
    limit = Outlines(coarse, masks).limit
    fine = finer(coarse, masks, limit, across=192)
    assert fine.voxel == pytest.approx(coarse.voxel / 2)
    assert 8 > len(fine.centres) / len(coarse.centres) > 1
    assert (np.diff(fine.shares) >= 0).all()
    shapes = [
        np.mean([iou(found.shape(one.frame), truth(one.camera)) for one in masks])
        for found in (Outlines(hull, masks) for hull in (coarse, fine))
    ]
    assert shapes[1] > shapes[0] + 0.02
    again = finer(coarse, masks, limit, across=192)
    np.testing.assert_array_equal(again.centres, fine.centres)
    np.testing.assert_array_equal(again.shares, fine.shares)
    rough = [
        dataclasses.replace(
            one, logits=cv2.resize(one.logits.astype(np.float32), (24, 24)).astype(np.float16)
        )
        for one in masks
    ]
    assert finer(coarse, rough, limit, across=192) is coarse


def test_a_fifth_of_wrong_masks_does_no_harm_and_is_not_trusted() -> None:
    views = cameras()
    wrong = {}
    for frame in (3, 9, 14, 15, 22):
        spoilt = np.zeros((HEIGHT, WIDTH), bool)
        spoilt[20:120, 10:110] = True  # a thing in the background
        wrong[frame] = spoilt
    masks = masks_of(views, wrong)
    found = outlines(masks)
    shapes = [iou(found.shape(frame), truth(views[frame - 1])) for frame in range(1, 25)]
    assert np.mean(shapes) > 0.8
    trust = found.hull.trust
    assert max(trust[frame] for frame in wrong) < 0.1
    assert min(trust[frame] for frame in trust if frame not in wrong) > 0.5


def test_what_the_user_has_fixed_stays_trusted() -> None:
    views = cameras()
    masks = [dataclasses.replace(one, fixed=one.frame == 3) for one in masks_of(views)]
    hull = carve(masks, across=96)
    assert hull is not None
    assert hull.trust[3] == 1.0


def test_empty_masks_and_parts_outside_of_photos_say_nothing() -> None:
    views = cameras()
    near = cameras(count=4, far=0.9)  # these see only a part of it
    masks = masks_of([*views, *near], {5: np.zeros((HEIGHT, WIDTH), bool)})
    found = outlines(masks)
    assert 5 not in found.hull.trust
    shapes = [iou(found.shape(frame), truth(views[frame - 1])) for frame in range(1, 25)]
    assert np.mean(shapes) > 0.8


def test_too_few_masks_or_masks_that_never_meet_give_no_hull() -> None:
    views = cameras()
    assert carve(masks_of(views[:2])) is None
    assert carve([]) is None
    empty = {frame: np.zeros((HEIGHT, WIDTH), bool) for frame in range(1, 25)}
    assert carve(masks_of(views, empty)) is None


def test_the_same_masks_give_the_same_hull_and_it_is_kept(tmp_path: Path) -> None:
    masks = masks_of(cameras(12))
    one, other = carve(masks, across=128), carve(masks, across=128)
    assert one is not None
    assert other is not None
    path, key = tmp_path / "state" / "hull.npz", hull_key(masks, 128)
    one, other = (dataclasses.replace(hull, others=2) for hull in (one, other))
    save_hull(path, one, key)
    kept = load_hull(path, key)
    assert kept is not None
    for again in (other, kept):
        for name in ("centres", "sizes", "shares", "centre"):
            np.testing.assert_array_equal(getattr(again, name), getattr(one, name))
        assert again.trust == one.trust
        assert again.others == 2
    assert load_hull(path, hull_key(masks, 256)) is None
    assert load_hull(path, hull_key(masks[1:], 128)) is None
    clicked = [dataclasses.replace(masks[0], clicks=((3.0, 4.0),)), *masks[1:]]
    assert load_hull(path, hull_key(clicked, 128)) is None
    path.write_bytes(path.read_bytes()[:-40])
    assert load_hull(path, key) is None
    assert load_hull(tmp_path / "none.npz", key) is None


@pytest.mark.parametrize("scale", [1e-3, 1e4])
@pytest.mark.parametrize("away", [(0.0, 0.0, 0.0), (4.6e5, 5.4e6, 80.0)])  # a map's metres
def test_neither_the_scale_nor_the_place_of_the_cameras_changes_the_outlines(
    scale: float, away: tuple[float, float, float]
) -> None:
    views = cameras(12)
    masks = masks_of(views)
    moved = []
    for mask in masks:
        place = mask.camera.camera.position * scale + np.array(away) * scale
        camera = dataclasses.replace(mask.camera.camera, position=place)
        view = dataclasses.replace(mask.camera, camera=camera)
        moved.append(dataclasses.replace(mask, camera=view))
    hulls = [carve(one, across=96) for one in (masks, moved)]
    assert hulls[0] is not None
    assert hulls[1] is not None
    one, other = (
        Outlines(hull, of) for hull, of in zip(hulls, (masks, moved), strict=True) if hull
    )
    for frame in one.frames():
        assert iou(one.shape(frame), other.shape(frame)) > 0.97
    depth = one.depth(views[0])
    np.testing.assert_allclose(other.depth(moved[0].camera) / scale, depth, atol=0.05)


def test_a_camera_is_aimed_exactly() -> None:
    camera = cameras(lens=FISHEYE)[5]
    aimed = aim(camera, CENTRE, 0.8, 200)
    pixels, _ = camera.project(POINTS[::50])
    own = POINTS[::50] - CENTRE
    flat = np.concatenate([own, np.ones((len(own), 1))], axis=1) @ aimed.matrix.T
    u, v = (flat[:, :2] / flat[:, 2:]).astype(int).T
    np.testing.assert_allclose(aimed.table[v, u], pixels, atol=2.0)
    back = aimed.on_photo(np.ones((200, 200), np.float32), WIDTH, HEIGHT)
    assert back[HEIGHT // 2, WIDTH // 2] == pytest.approx(1.0)


def test_the_grid_has_the_photos_shape() -> None:
    assert grid_of(4000, 3000) == (384, 288)
    assert grid_of(100, 50) == (100, 50)
