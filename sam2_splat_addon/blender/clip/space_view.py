# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras, sparse points and hulls of a clip as Blender's own objects, in one collection.

The collection belongs to its clip. It is rebuilt, not doubled: what we made before goes, and what the user
put into it stays. Everything hangs on one empty, which turns the capture upright. So the user can move and
scale all of it at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from ...core.cameras.capture import FROM_OPENGL
from ...core.cameras.find import PhotoCamera, PhotoCameras, cameras_of
from ...core.cameras.found import model_beside
from ...core.geometry.voxel_surface import VoxelGrid
from ...core.mattes.hull_file import read_hull_file
from ...core.mattes.store import HULL_NAME, MatteStore
from ..context import properties
from ..context.present import present
from ..context.requests import cameras_place
from . import hull_outline, matte_run, shown
from .footage import footage_of

CLIP_KEY = "sam2_splat_clip"
"""Custom property of the collection: its clip."""

OURS_KEY = "sam2_splat_made"
"""Custom property of what we made."""

_SENSOR = 36.0  # mm, of the longer side
_SHOWN_SIZE = 0.06  # of a camera, as a share of the usual distance between cameras and their middle


def cameras_in(clip: bpy.types.MovieClip) -> PhotoCameras:
    """Return the cameras of a clip's photos. Raises CameraError or FootageError."""
    footage = footage_of(clip)
    store = matte_run.store_folder(clip, footage.folder)
    sizes = shown.stored_sizes(clip)
    named = cameras_place(properties.of_clip(clip))
    place = Path(named) if named else None
    return cameras_of(
        footage.paths, sizes.width, sizes.height, place, sizes.odd, found=model_beside(store)
    )


def build(clip: bpy.types.MovieClip, cameras: PhotoCameras) -> bpy.types.Collection:
    """Make the objects anew, and return their collection."""
    collection = _collection_of(clip)
    root = _new(collection, f"{clip.name} Upright", None)
    root.empty_display_type = "PLAIN_AXES"
    root.matrix_world = _upright(cameras.by_frame.values())
    views = [cameras.by_frame[frame] for frame in sorted(cameras.by_frame)]
    middle = np.mean([view.position for view in views], axis=0)
    usual = float(np.median([np.linalg.norm(view.position - middle) for view in views])) or 1.0
    for frame, view in sorted(cameras.by_frame.items()):
        _add_camera(collection, root, frame, view, _SHOWN_SIZE * usual)
    grids = list(_add_hulls(clip, collection, root))
    points = cameras.points
    name = "Points"
    if grids and len(points):
        held = np.any([grid.holds(points) for grid in grids], axis=0)
        points, name = points[held], "Subject Points"
    if len(points):
        mesh = _mesh(f"{clip.name} {name}", points, np.zeros((0, 4), np.int32))
        _new(collection, mesh.name, mesh).parent = root
    return collection


def _add_camera(
    collection: bpy.types.Collection,
    root: bpy.types.Object,
    frame: int,
    view: PhotoCamera,
    size: float,
) -> None:
    """Add a camera with the photo's own view: its place, focal length and principal point."""
    own, lens = view.camera, view.camera.lens
    longest = max(lens.width, lens.height)
    data = bpy.data.cameras.new(f"{frame:04d} {Path(own.name.replace(chr(92), '/')).stem}")
    data.sensor_width = _SENSOR
    data.lens = max(lens.focal * _SENSOR / longest, 1.0)
    (centre,) = lens.project(np.array([[0.0, 0.0, 1.0]]))
    if np.isfinite(centre).all():
        data.shift_x = (lens.width / 2 - float(centre[0])) / longest
        data.shift_y = (float(centre[1]) - lens.height / 2) / longest
    data.display_size = size
    added = _new(collection, data.name, data)
    matrix = np.eye(4)
    matrix[:3, :3] = (FROM_OPENGL @ own.rotation).T
    matrix[:3, 3] = own.position
    added.parent = root
    added.matrix_local = Matrix(matrix.tolist())


def _add_hulls(
    clip: bpy.types.MovieClip, collection: bpy.types.Collection, root: bpy.types.Object
) -> Iterable[VoxelGrid]:
    """Add the hull of each subject that has one, and yield its voxels."""
    store = matte_run.known_store(clip)
    if store is None:
        return
    for entry in properties.of_clip(clip).objects:
        grid = _hull_of(clip, store, entry.object_id)
        if grid is None:
            continue
        mesh = _mesh(f"{entry.name} Hull", *grid.surface())
        added = _new(collection, mesh.name, mesh)
        added.parent = root
        added.color = (*entry.color, 1.0)
        added.display_type = "WIRE" if len(mesh.polygons) < 2 else "SOLID"
        yield grid


def _hull_of(clip: bpy.types.MovieClip, store: MatteStore, object_id: int) -> VoxelGrid | None:
    agreement = hull_outline.agreement_of(clip, object_id)
    arrays = read_hull_file(store.state_folder(object_id) / HULL_NAME)
    if agreement is None or arrays is None or str(arrays["key"]) != agreement.hull:
        return None
    held = arrays["shares"] >= agreement.limit
    if not held.any():
        return None
    return VoxelGrid(arrays["offsets"][held] + arrays["centre"], arrays["sizes"][held])


def _mesh(name: str, points: NDArray[Any], quads: NDArray[Any]) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points.tolist(), [], quads.tolist())
    mesh.update()
    return mesh


def _upright(views: Iterable[PhotoCamera]) -> Matrix:
    """Return the rotation that brings the usual direction up of the cameras to Blender's."""
    up = -np.mean([view.camera.rotation[1] for view in views], axis=0)
    length = float(np.linalg.norm(up))
    if length < 1e-3:
        return Matrix.Identity(4)
    return Vector(up.tolist()).rotation_difference(Vector((0, 0, 1))).to_matrix().to_4x4()


def _new(
    collection: bpy.types.Collection, name: str, data: bpy.types.ID | None
) -> bpy.types.Object:
    added = bpy.data.objects.new(name, data)
    added[OURS_KEY] = True
    collection.objects.link(added)
    return added


def _collection_of(clip: bpy.types.MovieClip) -> bpy.types.Collection:
    """Return the clip's collection, without what we made before. Link a new one to the scene."""
    for known in bpy.data.collections:
        if known.get(CLIP_KEY) == clip:
            _clear(known)
            return known
    made = bpy.data.collections.new(f"{clip.name} in 3D")
    made[CLIP_KEY] = clip
    present(bpy.context.scene).collection.children.link(made)
    return made


def _clear(collection: bpy.types.Collection) -> None:
    """Remove our objects and their data, but nothing that the user uses elsewhere too."""
    for known in [one for one in collection.objects if one.get(OURS_KEY)]:
        data = known.data
        bpy.data.objects.remove(known)
        if isinstance(data, bpy.types.Camera) and not data.users:
            bpy.data.cameras.remove(data)
        elif isinstance(data, bpy.types.Mesh) and not data.users:
            bpy.data.meshes.remove(data)
