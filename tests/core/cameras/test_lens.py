# SPDX-License-Identifier: GPL-3.0-or-later
"""Every camera model of COLMAP gives COLMAP's own pixels, and finds the rays back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sam2_splat_addon.core.cameras.lens import MODELS, NAMES, Lens

SIZE = (1000, 800)
POINTS = np.array([[0.12, -0.2, 1.0], [-0.5, 0.31, 1.2], [0.02, 0.01, 2.0]])

# Model: its parameters, and the pixels that pycolmap 4.2.1 gives for POINTS.
KNOWN = {
    "SIMPLE_PINHOLE": ((900.0, 480.0, 410.0), [[588.0, 230.0], [105.0, 642.5], [489.0, 414.5]]),
    "PINHOLE": (
        (900.0, 880.0, 480.0, 410.0),
        [[588.0, 234.0], [105.0, 637.333333], [489.0, 414.4]],
    ),
    "SIMPLE_RADIAL": (
        (900.0, 480.0, 410.0, -0.12),
        [[587.294976, 231.17504], [115.815625, 635.794313], [488.999865, 414.499932]],
    ),
    "RADIAL": (
        (900.0, 480.0, 410.0, -0.2, 0.05),
        [[586.840941, 231.931766], [121.942914, 631.995393], [488.999775, 414.499888]],
    ),
    "OPENCV": (
        (900.0, 880.0, 480.0, 410.0, -0.2, 0.05, 0.002, -0.003),
        [[586.529901, 236.252102], [119.968977, 628.288418], [488.999078, 414.399934]],
    ),
    "OPENCV_FISHEYE": (
        (300.0, 310.0, 480.0, 410.0, -0.02, 0.01, -0.003, 0.0004),
        [[515.331533, 349.15125], [364.215275, 484.179414], [482.999868, 411.549932]],
    ),
    "FULL_OPENCV": (
        (900.0, 880.0, 480.0, 410.0, -0.2, 0.05, 0.002, -0.003, 0.01, 0.02, -0.01, 0.003),
        [[586.417061, 236.435988], [121.439866, 627.396732], [488.999055, 414.399923]],
    ),
    "FOV": (
        (500.0, 510.0, 480.0, 410.0, 0.9),
        [[543.349293, 302.306201], [271.142944, 542.081202], [485.36707, 412.737206]],
    ),
    "SIMPLE_RADIAL_FISHEYE": (
        (300.0, 480.0, 410.0, -0.03),
        [[515.312003, 351.146662], [364.503878, 481.607596], [482.999864, 411.499932]],
    ),
    "RADIAL_FISHEYE": (
        (300.0, 480.0, 410.0, -0.03, 0.004),
        [[515.312393, 351.146012], [364.483809, 481.620038], [482.999864, 411.499932]],
    ),
    "THIN_PRISM_FISHEYE": (
        (300.0, 310.0, 480.0, 410.0, -0.02, 0.01, 0.002, -0.001, -0.003, 0.0004, 0.003, -0.002),
        [[515.3269, 349.213484], [364.13823, 484.308641], [482.999943, 411.549932]],
    ),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        (
            300.0,
            310.0,
            480.0,
            410.0,
            -0.02,
            0.01,
            -0.003,
            0.0004,
            0.0001,
            -2e-05,
            0.002,
            -0.001,
            0.003,
            -0.002,
            0.001,
            0.0005,
        ),
        [[515.438997, 349.099122], [364.733239, 484.03599], [483.000145, 411.549978]],
    ),
    "SIMPLE_DIVISION": (
        (500.0, 480.0, 410.0, -0.1),
        [[539.677104, 310.538161], [276.44676, 536.203009], [484.999938, 412.499969]],
    ),
    "DIVISION": (
        (500.0, 510.0, 480.0, 410.0, -0.1),
        [[539.677104, 308.548924], [276.44676, 538.727069], [484.999938, 412.549968]],
    ),
    "SIMPLE_FISHEYE": (
        (300.0, 480.0, 410.0),
        [[515.367713, 351.053812], [363.77946, 482.056735], [482.999875, 411.499938]],
    ),
    "FISHEYE": (
        (300.0, 310.0, 480.0, 410.0),
        [[515.367713, 349.088939], [363.77946, 484.458626], [482.999875, 411.549935]],
    ),
    "EUCM": (
        (400.0, 410.0, 480.0, 410.0, 0.6, 1.1),
        [[527.165585, 329.425459], [324.913407, 508.55753], [483.999835, 412.049915]],
    ),
    "EQUIRECTANGULAR": (
        (1000.0, 800.0),
        [[519.007704, 350.082555], [437.167042, 459.610478], [501.591496, 401.273165]],
    ),
}


def lens(name: str) -> Lens:
    return Lens(name, *SIZE, KNOWN[name][0])


@pytest.mark.parametrize("name", KNOWN)
def test_a_lens_gives_the_pixels_of_colmap(name: str) -> None:
    np.testing.assert_allclose(lens(name).project(POINTS), KNOWN[name][1], atol=2e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_rays_of_pixels_lead_back_to_the_pixels(name: str) -> None:
    pixels = np.random.default_rng(1).uniform([5, 5], [995, 795], (500, 2))
    rays = lens(name).unproject(pixels)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(lens(name).project(7.0 * rays), pixels, atol=1e-5)


def test_all_models_of_colmap_are_known() -> None:
    assert set(KNOWN) == set(NAMES.values())
    assert sorted(NAMES) == list(range(18))


def test_colmap_itself_agrees_where_it_is_installed() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    models = pycolmap.CameraModelId.__members__
    known = {name: int(number) for name, number in models.items() if int(number) >= 0}
    assert known == {name: number for number, name in NAMES.items()}
    pixels = np.random.default_rng(2).uniform([5, 5], [995, 795], (300, 2))
    for name, (params, _) in KNOWN.items():
        camera = pycolmap.Camera(model=name, width=SIZE[0], height=SIZE[1], params=list(params))
        ahead = lens(name).unproject(pixels)
        ahead = ahead[ahead[:, 2] > 0.05]
        theirs = np.array([camera.img_from_cam(ray) for ray in ahead])
        np.testing.assert_allclose(lens(name).project(ahead), theirs, atol=1e-5)


def test_points_behind_a_perspective_lens_have_no_pixel() -> None:
    assert np.isnan(lens("OPENCV").project(np.array([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0]]))).all()


def test_a_fisheye_sees_what_is_beside_it() -> None:
    found = lens("FISHEYE").project(np.array([[1.0, 0.0, -0.2]]))
    assert np.isfinite(found).all()


def test_a_strong_distortion_brings_nothing_from_outside_into_the_picture() -> None:
    bent = Lens("SIMPLE_RADIAL", *SIZE, (900.0, 480.0, 410.0, -0.12))
    assert np.isnan(bent.project(np.array([[2.9, 0.0, 1.0]]))).all()
    assert np.isnan(bent.unproject(np.array([[90000.0, 0.0]]))).all()


def test_a_lens_without_distortion_but_with_its_parameters_is_a_pinhole() -> None:
    plain = Lens("PINHOLE", *SIZE, (900.0, 880.0, 480.0, 410.0)).project(POINTS)
    for name, count in (
        ("OPENCV", 4),
        ("FULL_OPENCV", 8),
        ("FOV", 1),
        ("BROWN", 6),
        ("DIVISION", 1),
    ):
        bare = Lens(name, *SIZE, (900.0, 880.0, 480.0, 410.0, *([0.0] * count)))
        np.testing.assert_allclose(bare.project(POINTS), plain, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("NEW_MODEL", (1.0,)),
        ("PINHOLE", (900.0, 880.0, 480.0)),
        ("PINHOLE", (900.0, math.nan, 480.0, 410.0)),
        ("PINHOLE", (900.0, -1.0, 480.0, 410.0)),
    ],
)
def test_impossible_lenses_are_refused(name: str, params: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        Lens(name, *SIZE, params)
    with pytest.raises(ValueError):
        Lens("PINHOLE", 0, 800, (900.0, 880.0, 480.0, 410.0))


def test_brown_is_opencv_with_more_radial_terms() -> None:
    opencv = lens("OPENCV")
    *focal_and_centre, k1, k2, p1, p2 = opencv.params
    brown = Lens("BROWN", *SIZE, (*focal_and_centre, k1, k2, 0.0, 0.0, p1, p2))
    np.testing.assert_allclose(brown.project(POINTS), opencv.project(POINTS), atol=1e-12)
    assert MODELS["BROWN"].number not in NAMES
