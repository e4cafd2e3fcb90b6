# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras, points and hull stand in Blender's 3D view as they are, once, and the user's own things stay."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import CameraError
from sam2_splat_addon.engine.jobs import agree, compare
from tests.core.cameras.ring import write_colmap
from tests.engine.agreement.solid import CENTRE, HEIGHT, POINTS, WIDTH
from tests.engine.jobs.test_agree import Scene

pytestmark = pytest.mark.usefixtures("addon")


def loaded(scene: Scene) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(scene.photos))
    clip = bpy.context.scene.active_clip
    assert clip is not None
    return clip


def collections() -> list[bpy.types.Collection]:
    return [one for one in bpy.data.collections if one.get("sam2_splat_clip")]


def test_each_camera_sees_points_where_its_photo_shows_them(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 8)
    clip = loaded(scene)
    assert bpy.ops.sam2_splat.show_in_3d() == {"FINISHED"}
    (made,) = collections()
    bpy.context.view_layer.update()
    cameras = sorted(
        (one for one in made.objects if one.type == "CAMERA"), key=lambda one: one.name
    )
    assert len(cameras) == 8
    root = cameras[0].parent
    assert root is not None
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = WIDTH, HEIGHT
    for camera, view in zip(cameras, scene.views, strict=True):
        for point in POINTS[::9000]:
            (pixel,), _ = view.project(point[None])
            place = root.matrix_world @ Vector(point.tolist())
            seen = world_to_camera_view(present(bpy.context.scene), camera, place)
            assert seen[0] * WIDTH == pytest.approx(pixel[0], abs=0.1)
            assert (1 - seen[1]) * HEIGHT == pytest.approx(pixel[1], abs=0.1)
    up = root.matrix_world.to_3x3() @ Vector((0, 0, 1))
    assert up.z > 0.9
    assert clip.name in made.name


def test_it_is_rebuilt_and_what_the_user_added_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import markers

    monkeypatch.setattr(compare, "ACROSS", 96)
    monkeypatch.setattr(compare, "_FINER", 1)
    scene = Scene(tmp_path, 8)
    views = [view.camera for view in scene.views]
    far = np.array([[40.0, 40, 40]])
    write_colmap(tmp_path / "sparse" / "0", views, np.concatenate([POINTS[::300], far]))
    clip = loaded(scene)
    bpy.ops.sam2_splat.show_in_3d()
    (made,) = collections()
    mine = bpy.data.objects.new("mine", None)
    made.objects.link(mine)
    points = next(one for one in made.objects if "Points" in one.name)
    assert len(points.data.vertices) == len(POINTS[::300]) + 1  # without a hull all of them

    bpy.ops.sam2_splat.object_add(name="stool")
    assert markers.sync_objects(clip) == {"stool": 1}
    clip.sam2_splat.store_folder = str(scene.store.folder)
    agree.run(
        scene.request(),
        on_progress=lambda event: None,
        on_frame_done=lambda event: None,
        on_log=lambda event: None,
        cancelled=lambda: False,
    )
    from sam2_splat_addon.blender.clip import hull_outline
    from sam2_splat_addon.blender.context import changes

    changes.mattes_changed(clip.session_uid)
    assert bpy.ops.sam2_splat.show_in_3d() == {"FINISHED"}
    (again,) = collections()
    assert again == made
    assert "mine" in made.objects
    assert sum(one.type == "CAMERA" for one in made.objects) == 8
    assert len(bpy.data.cameras) == 8
    hull = next(one for one in made.objects if "Hull" in one.name)
    middle = np.mean([vertex.co[:] for vertex in hull.data.vertices], axis=0)
    assert np.linalg.norm(middle - CENTRE) < 0.4
    points = next(one for one in made.objects if "Subject Points" in one.name)
    assert 10 < len(points.data.vertices) <= len(POINTS[::300])
    places = np.array([vertex.co[:] for vertex in points.data.vertices])
    assert np.linalg.norm(places - CENTRE, axis=1).max() < 1.0
    (outline, *_) = hull_outline.on_frame(clip, 1, 3)
    assert len(outline) > 3
    x, y = np.array(outline).T
    assert 0 <= x.min() < x.max() <= WIDTH
    assert 0 <= y.min() < y.max() <= HEIGHT
    assert hull_outline.on_frame(clip, 2, 3) == ()


def test_without_cameras_nothing_is_made(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 4)
    (tmp_path / "sparse").rename(tmp_path / "elsewhere")
    clip = loaded(scene)
    with pytest.raises(RuntimeError, match="No cameras were found"):
        bpy.ops.sam2_splat.show_in_3d()
    assert not collections()
    from sam2_splat_addon.blender.clip import space_view

    with pytest.raises(CameraError):
        space_view.cameras_in(clip)
