# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject is found by the cameras, without a click, also where their axes meet in empty space."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam2_splat_addon.core.cameras.find import PhotoCameras
from sam2_splat_addon.core.errors import CameraError, Cancelled
from sam2_splat_addon.core.prompts import ObjectPrompts
from sam2_splat_addon.core.protocol import FindSubjectRequest, ModelChoice
from sam2_splat_addon.engine.agreement import subject
from sam2_splat_addon.engine.agreement.sparse import unhidden
from sam2_splat_addon.engine.agreement.subject import focus_of, places_of
from sam2_splat_addon.engine.jobs import find_subject
from sam2_splat_addon.engine.jobs.find_subject import FindReport
from tests.core.cameras.ring import write_colmap
from tests.engine.agreement.solid import CENTRE, POINTS, cameras, truth
from tests.engine.jobs.test_agree import Scene

MODEL = ModelChoice("bundled", device="cpu", threads=1)


def find(scene: Scene) -> FindReport:
    request = FindSubjectRequest(scene.footage, "stool", str(scene.store.folder), MODEL)
    return find_subject.run(request, lambda event: None, lambda event: None, lambda: False)


def share_on_it(scene: Scene, entry: ObjectPrompts) -> float:
    """Return the share of clicks on the subject. All include, and none is outside of its legs."""
    on_it = []
    for at in entry.frames:
        inside = truth(scene.views[at.frame - 1])
        edge = cv2.convexHull(np.argwhere(inside)[:, ::-1].astype(np.int32))
        assert at.points
        for point in at.points:
            assert point.include
            assert cv2.pointPolygonTest(edge, (point.x, point.y), False) >= 0
            on_it.append(inside[int(point.y), int(point.x)])
    return float(np.mean(on_it))


def known(**others: Any) -> PhotoCameras:
    views = cameras(12)
    by_frame = dict(enumerate(views, 1))
    return dataclasses.replace(
        PhotoCameras(Path("sparse"), "COLMAP", by_frame, np.zeros((0, 3)), {}), **others
    )


@pytest.mark.parametrize("points", [False, True])
def test_the_clicks_are_on_the_subject(
    tmp_path: Path, points: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, 12, grain=15.0)
    if points:
        monkeypatch.setattr(subject, "LOOKED_AT", 5)  # there are more places then
        views = [view.camera for view in scene.views]
        write_colmap(tmp_path / "sparse" / "0", views, POINTS[::200])
    report = find(scene)
    (entry,) = report.prompts.objects
    assert entry.name == "stool"
    assert len({at.frame for at in entry.frames}) == len(entry.frames) >= 2
    assert share_on_it(scene, entry) >= 0.5


def test_the_place_where_axes_meet_is_tried_and_places_around_it() -> None:
    focus = focus_of(known())
    assert np.linalg.norm(focus.point - CENTRE) < 0.15
    np.testing.assert_allclose(focus.up, [0, 0, 1], atol=0.1)
    places = places_of(known(), focus)
    np.testing.assert_array_equal(places[0], focus.point)
    assert np.linalg.norm(places - focus.point, axis=1).max() < focus.reach
    more = places_of(known(points=POINTS[::200]), focus)
    assert len(more) > len(places)
    np.testing.assert_array_equal(places_of(known(points=POINTS[::200]), focus), more)


def test_cameras_that_look_at_no_one_place_are_refused() -> None:
    views = known().by_frame
    turning = {  # all from one place
        at: dataclasses.replace(
            one, camera=dataclasses.replace(one.camera, position=views[1].position)
        )
        for at, one in views.items()
    }
    flight = {  # all look the same way
        at: dataclasses.replace(
            one, camera=dataclasses.replace(one.camera, rotation=views[1].camera.rotation)
        )
        for at, one in views.items()
    }
    outwards = {
        at: dataclasses.replace(
            one,
            camera=dataclasses.replace(
                one.camera, rotation=np.diag([-1.0, 1, -1]) @ one.camera.rotation
            ),
        )
        for at, one in views.items()
    }
    for wrong in (turning, flight, outwards):
        with pytest.raises(CameraError, match="do not look at one place"):
            focus_of(known(by_frame=wrong))


def test_a_place_behind_points_is_hidden() -> None:
    view = known().by_frame[1]
    wall = (
        view.position
        + 0.5 * (CENTRE - view.position)
        + np.random.default_rng(0).normal(0, 0.01, (50, 3))
    )
    with_wall = known(points=wall, shown={1: np.arange(50, dtype=np.int32)})
    assert not unhidden(with_wall, 1, CENTRE[None])[0]
    assert unhidden(with_wall, 1, wall[:1])[0]
    assert unhidden(with_wall, 2, CENTRE[None])[0]  # nothing is known of this photo


def test_no_cameras_and_cancel(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 8)
    request = FindSubjectRequest(
        scene.footage, "stool", str(scene.store.folder), MODEL, cameras=str(tmp_path / "no")
    )
    with pytest.raises(CameraError):
        find_subject.run(request, lambda event: None, lambda event: None, lambda: False)
    request = FindSubjectRequest(scene.footage, "stool", str(scene.store.folder), MODEL)
    with pytest.raises(Cancelled):
        find_subject.run(request, lambda event: None, lambda event: None, lambda: True)
