# SPDX-License-Identifier: GPL-3.0-or-later
"""The cameras of a bake, and the points of the scene that lie on what is kept.

A point stays if the masks of most photos that see it say so. A photo that ignores the place of a point
says nothing about it.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.bake_plan import BakeItem, TargetFolder
from ...core.cameras.export import (
    ImageCamera,
    colmap_files,
    for_colmap,
    has_nerfstudio,
    lens_and_rotation,
    nerfstudio_files,
    nerfstudio_kind,
)
from ...core.cameras.find import PhotoCameras
from ...core.footage.scan import shorten
from ..images.alpha import Layers

_GREY = 128  # of points whose colour nobody knows


class Dataset:
    """Cameras and points, and what the baked photos say about the points. For any thread.

    Parameters
    ----------
    cameras
        The cameras of the photos.
    """

    def __init__(self, cameras: PhotoCameras) -> None:
        self._cameras = cameras
        count = len(cameras.points)
        self._seen: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self._for = np.zeros(count, np.int64)
        self._votes = np.zeros(count, np.int64)
        self._color_sums = np.zeros((count, 3), np.int64)
        self._colored = np.zeros(count, np.int64)
        self._lock = threading.Lock()

    def look(self, frame: int, layers: Layers, rgb: NDArray[Any] | None) -> None:
        """Let a photo say which of its points are kept, and which colours they have.

        Parameters
        ----------
        layers
            What is kept of the photo.
        rgb
            Its pixels, if they are at hand.
        """
        camera = self._cameras.by_frame.get(frame)
        if camera is None or not len(self._cameras.points):
            return
        shown = self._cameras.shown
        among = shown[frame] if shown else np.arange(len(self._cameras.points))
        pixels, _ = camera.project(self._cameras.points[among])
        inside = camera.inside(pixels)
        places, pixels = np.asarray(among, np.int64)[inside], pixels[inside]
        x, y = pixels.astype(np.int64).T
        kept = layers.kept[y, x] > np.iinfo(layers.kept.dtype).max // 2
        heard = np.ones(len(places), np.bool_)
        if layers.ignored is not None:
            heard = ~layers.ignored[y, x]
        with self._lock:
            self._seen[frame] = places, pixels
            self._for[places] += kept & heard
            self._votes[places] += heard
            if rgb is not None:
                shift = 8 if rgb.dtype == np.uint16 else 0
                self._color_sums[places] += rgb[y, x].astype(np.int64) >> shift
                self._colored[places] += 1

    def digest(self) -> bytes:
        """Return a digest of all cameras and points."""
        known = self._cameras
        digest = hashlib.sha256(known.points.tobytes() + known.colors.tobytes())
        for frame, camera in sorted(known.by_frame.items()):
            digest.update(pickle.dumps((frame, camera)))
        for frame, shown in sorted(known.shown.items(), key=lambda at: at[0]):
            digest.update(pickle.dumps((frame, shown.tobytes())))
        return digest.digest()

    def said(self) -> dict[str, NDArray[Any]]:
        """Return what the photos have said so far, for `hear`."""
        frames = sorted(self._seen)
        seen = [self._seen[frame] for frame in frames]
        return {
            "for": self._for,
            "votes": self._votes,
            "color_sums": self._color_sums,
            "colored": self._colored,
            "frames": np.array(frames, np.int64),
            "ends": np.cumsum([len(places) for places, _ in seen], dtype=np.int64),
            "places": np.concatenate([np.zeros(0, np.int64), *(at for at, _ in seen)]),
            "pixels": np.concatenate([np.zeros((0, 2)), *(pixels for _, pixels in seen)]),
        }

    def hear(self, said: Mapping[str, NDArray[Any]]) -> None:
        """Add what other photos have said elsewhere; see `said`."""
        places = np.split(said["places"], said["ends"][:-1])
        pixels = np.split(said["pixels"], said["ends"][:-1])
        with self._lock:
            for frame, *seen in zip(said["frames"].tolist(), places, pixels, strict=False):
                self._seen[frame] = seen[0], seen[1]
            self._for += said["for"]
            self._votes += said["votes"]
            self._color_sums += said["color_sums"]
            self._colored += said["colored"]

    def files(self, place: TargetFolder, items: Sequence[BakeItem]) -> dict[str, bytes]:
        """Return a target's camera files: path below its folder -> bytes. Nothing without cameras."""
        on_subject = np.flatnonzero(2 * self._for > self._votes)
        number = np.full(len(self._for), -1, np.int64)
        number[on_subject] = np.arange(len(on_subject))
        points, colors = self._cameras.points[on_subject], self._colors()[on_subject]
        target = place.target
        cameras = [
            found for item in items if (found := self._camera(place, item, number)) is not None
        ]
        if target.cameras == "nerfstudio" and cameras:
            kind = Counter(nerfstudio_kind(camera.lens) for camera in cameras).most_common(1)[0][0]
            cameras = [camera for camera in cameras if nerfstudio_kind(camera.lens) == kind]
        if not cameras:
            return {}
        if target.cameras == "nerfstudio":
            return nerfstudio_files(cameras, points, colors)
        files = colmap_files(cameras, points, colors)
        return {f"{target.cameras_folder}/{name}": data for name, data in files.items()}

    def warnings(self, place: TargetFolder, items: Sequence[BakeItem]) -> tuple[str, ...]:
        """Return sentences about photos whose lens a target does not have."""
        number = np.full(len(self._for), -1, np.int64)
        left_out = [
            item.name
            for item in items
            if item.frame in self._cameras.by_frame and self._camera(place, item, number) is None
        ]
        if not left_out:
            return ()
        return (
            f"{place.target.label} has no such lens, so these photos have no camera there:"
            f" {shorten(left_out)}.",
        )

    def _camera(
        self, place: TargetFolder, item: BakeItem, number: NDArray[np.int64]
    ) -> ImageCamera | None:
        """Return an image's camera; None if it has none or the target can't have it."""
        camera = self._cameras.by_frame.get(item.frame)
        found = None if camera is None else lens_and_rotation(camera)
        if camera is None or found is None:
            return None
        target, (lens, rotation) = place.target, found
        output = next(one for one in item.outputs if one.target == target)
        name = output.image.relative_to(place.folder).as_posix()
        mask = ""
        if target.cameras == "colmap":
            own = for_colmap(lens)
            if own is None:
                return None
            lens = own
            if target.images_folder:  # COLMAP names images below the folder of the images
                name = PurePosixPath(name).relative_to(target.images_folder).as_posix()
        elif not has_nerfstudio(lens):
            return None
        elif output.mask is not None:
            mask = output.mask.relative_to(place.folder).as_posix()
        places, pixels = self._seen.get(item.frame, (np.zeros(0, np.int64), np.zeros((0, 2))))
        places = number[places]
        stays = places >= 0
        return ImageCamera(
            name, mask, lens, rotation, camera.position, places[stays], pixels[stays]
        )

    def _colors(self) -> NDArray[np.uint8]:
        """Return the colours of all points: as their file says, else as baked photos show them."""
        if len(self._cameras.colors) == len(self._cameras.points):
            return self._cameras.colors
        known = self._color_sums // np.maximum(self._colored, 1)[:, None]
        known[self._colored == 0] = _GREY
        return np.asarray(known, np.uint8)
