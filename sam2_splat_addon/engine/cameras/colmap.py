# SPDX-License-Identifier: GPL-3.0-or-later
"""COLMAP's own steps, each of which can be stopped and gone on with: details, pairs, cameras.

What is done is kept in COLMAP's database. A photo has its frame as number, for the database and in the
model. Names would not do: COLMAP separates them by spaces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

from ...core.cameras.found import FOLDER, SEARCH
from .details import Details

SEED: Final = 1
FEWEST_MATCHES: Final = 15
"""Pairs with fewer details in common say nothing."""

_STILL: Final = 2.0  # px: a detail that moves less stands still
_AGREES: Final = 4.0  # px from the line on which a detail must lie
_MOSTLY: Final = 0.7  # of the details that a camera shares with others
_TELLS: Final = 40  # details in common that tell whether the ground stands still
_DIGITS: Final = 6
_PAIRS_NAME: Final = "pairs.txt"

# COLMAP reports each of its steps, which would hide what matters.
pycolmap.logging.minloglevel = pycolmap.logging.WARNING.value
pycolmap.logging.logtostderr = True


class Search:
    """A search for cameras in a folder, which is made or gone on with.

    Parameters
    ----------
    folder
        The folder of found cameras, which is ours.
    name
        Of the database. A search has another one for details inside the masks alone.
    threads
        Number of threads.

    Raises
    ------
    OSError
        The folder can't be written to.
    RuntimeError
        The database is damaged.
    """

    def __init__(self, folder: Path, name: str, threads: int) -> None:
        self.folder = folder
        self._folder = FOLDER.make(folder, SEARCH)
        self._threads = threads
        self._path = self._folder / f"{name}.db"
        self._open: Any = pycolmap.Database.open(str(self._path))

    def close(self) -> None:
        """Close the database."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def frames(self) -> list[int]:
        """Return the frames whose details are there, sorted."""
        numbers = (image.image_id for image in self._open.read_all_images())
        return sorted(one for one in numbers if self._open.exists_descriptors(one))

    def add(self, frame: int, details: Details) -> None:
        """Keep the details of a photo."""
        model = pycolmap.CameraModelId.SIMPLE_RADIAL
        size = (details.width, details.height)
        camera = pycolmap.Camera.create_from_model_id(frame, model, details.focal, *size)
        camera.params = [details.focal, *details.centre, 0.0]
        camera.has_prior_focal_length = details.is_told
        if not self._open.exists_camera(frame):
            self._open.write_camera(camera, use_camera_id=True)
        if not self._open.exists_image(frame):
            image = pycolmap.Image(name=_name(frame), camera_id=frame, image_id=frame)
            self._open.write_image(image, use_image_id=True)
        if not self._open.exists_keypoints(frame):
            self._open.write_keypoints(frame, details.places)
        kind = pycolmap.FeatureExtractorType.SIFT
        kept = pycolmap.FeatureDescriptors(data=details.descriptors, type=kind)
        self._open.write_descriptors(frame, kept)  # last: then the photo is whole

    def details(self, frame: int) -> Details:
        """Return the details of a photo again."""
        camera = self._open.read_camera(self._open.read_image(frame).camera_id)
        places = np.asarray(self._open.read_keypoints(frame), np.float32).reshape(-1, 4)
        return Details(
            camera.width,
            camera.height,
            (camera.principal_point_x, camera.principal_point_y),
            places,
            self.descriptors(frame),
            camera.mean_focal_length(),
            camera.has_prior_focal_length,
        )

    def descriptors(self, frame: int) -> NDArray[np.uint8]:
        """Return the descriptors of a photo, (n, 128), the largest details first."""
        found = self._open.read_descriptors(frame).data
        return np.asarray(found, np.uint8).reshape(-1, 128)

    def share_lenses(self) -> None:
        """Give photos of one size that tell the same focal length, or none, one lens."""
        alike: dict[tuple[int, int, bool, int], list[int]] = defaultdict(list)
        for frame in self.frames():
            camera = self._open.read_camera(frame)
            focal = round(camera.mean_focal_length())
            alike[camera.width, camera.height, camera.has_prior_focal_length, focal].append(frame)
        for frames in alike.values():
            for frame in frames:
                image = self._open.read_image(frame)
                if image.camera_id != frames[0]:
                    image.camera_id = frames[0]
                    self._open.update_image(image)

    def compare(self, pairs: Collection[tuple[int, int]], *, moving_only: bool = False) -> None:
        """Find which details of pairs of frames are the same. Pairs that were compared are left out.

        Parameters
        ----------
        moving_only
            Whether details that stand still are left out.
        """
        if not pairs:
            return
        lines = "".join(f"{_name(one)} {_name(other)}\n" for one, other in pairs)
        listed = self._folder / _PAIRS_NAME
        listed.write_text(lines, "ascii")
        matching = pycolmap.FeatureMatchingOptions()
        matching.use_gpu = False
        matching.num_threads = self._threads
        pairing = pycolmap.ImportedPairingOptions()
        pairing.match_list_path = str(listed)
        geometry = pycolmap.TwoViewGeometryOptions()
        geometry.ransac.random_seed = SEED
        geometry.filter_stationary_matches = moving_only
        pycolmap.match_image_pairs(
            str(self._path), matching, pairing, geometry, pycolmap.Device.cpu
        )

    def overlaps(self) -> dict[int, int]:
        """Return frame -> how many other photos show the same."""
        found = dict.fromkeys(self.frames(), 0)
        ids, counts = self._open.read_two_view_geometry_num_inliers()
        for pair, count in zip(ids, counts, strict=True):
            if count >= FEWEST_MATCHES:
                for frame in pycolmap.pair_id_to_image_pair(pair):
                    found[frame] += 1
        return found

    def stands_still(self) -> bool:
        """Whether the ground stands still in most pairs of photos: the subject turns before it."""
        places = {frame: self.details(frame).places[:, :2] for frame in self.frames()}
        still = told = 0
        for pair, matches in zip(*self._open.read_all_matches(), strict=True):
            one, other = pycolmap.pair_id_to_image_pair(pair)
            if len(matches) < _TELLS:
                continue
            moved = places[one][matches[:, 0]] - places[other][matches[:, 1]]
            told += 1
            still += int((np.abs(moved).max(axis=1) < _STILL).mean() > 0.5)
        return told > 0 and still > 0.6 * told

    def place(self, on_placed: Callable[[], None]) -> list[Any]:
        """Find the cameras; return COLMAP's reconstructions, that with the most photos first."""
        self.close()
        options = pycolmap.IncrementalPipelineOptions()
        options.num_threads = 1  # sums of several threads differ from run to run
        options.random_seed = SEED
        options.min_model_size = 3
        options.extract_colors = False
        output = FOLDER.make(self.folder, f"{SEARCH}/models")
        found = pycolmap.incremental_mapping(
            str(self._path),
            str(self._folder),
            str(output),
            options,
            next_image_callback=on_placed,
        )
        return sorted(
            found.values(),
            key=lambda one: (one.num_reg_images(), one.num_points3D()),
            reverse=True,
        )

    def doubtful(self, model: Any) -> set[int]:
        """Return the frames of a reconstruction whose cameras contradict what pairs of photos show.

        Where somebody walks through the picture, a few details on him may give a camera that is far off.
        """
        images = {one.image_id: one for one in model.images.values() if one.has_pose}
        self._open = self._open or pycolmap.Database.open(str(self._path))
        places = {frame: self.details(frame).places[:, :2] for frame in images}
        told: list[tuple[int, int, int, int]] = []  # two frames, how many agree, of how many
        for pair, geometry in zip(*self._open.read_two_view_geometries(), strict=True):
            one, other = pycolmap.pair_id_to_image_pair(pair)
            matches = np.asarray(geometry.inlier_matches)
            if one in images and other in images and len(matches) >= FEWEST_MATCHES:
                here, there = places[one][matches[:, 0]], places[other][matches[:, 1]]
                off = _off_line(images[one], images[other], here, there)
                told.append((one, other, int((off < _AGREES).sum()), len(matches)))
        self.close()
        found: set[int] = set()
        while True:  # the worst one alone: its neighbours may be right, and contradict only it
            agree, total = dict.fromkeys(images, 0), dict.fromkeys(images, 0)
            for one, other, right, all_of_it in told:
                if not found & {one, other}:
                    for frame in (one, other):
                        agree[frame] += right
                        total[frame] += all_of_it
            share = {at: agree[at] / max(total[at], 1) for at in images if at not in found}
            worst = min(share, key=lambda at: (share[at], at), default=0)
            if not share or share[worst] >= _MOSTLY:
                return found
            found.add(worst)


def _off_line(
    one: Any, other: Any, here: NDArray[np.float32], there: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return how far pairs of places are from what two cameras allow, px: Sampson's distance, (n,)."""
    pose = other.cam_from_world() * one.cam_from_world().inverse()
    essential = np.asarray(pycolmap.essential_matrix_from_pose(pose))
    x, y = (
        np.column_stack(
            [np.asarray(image.camera.cam_from_img(at.astype(np.float64))), np.ones(len(at))]
        )
        for image, at in ((one, here), (other, there))
    )
    right, left = x @ essential.T, y @ essential
    slopes = (right[:, :2] ** 2).sum(axis=1) + (left[:, :2] ** 2).sum(axis=1)
    off = np.abs((y * right).sum(axis=1)) / np.sqrt(np.maximum(slopes, 1e-18))
    found: NDArray[np.float64] = off * one.camera.mean_focal_length()
    return found


def _name(frame: int) -> str:
    return f"{frame:0{_DIGITS}d}"


def points_of(model: Any) -> tuple[NDArray[np.float64], dict[int, int]]:
    """Return the points of a reconstruction, (n, 3), and their numbers -> places."""
    numbers = sorted(model.points3D)
    places = np.array([model.points3D[one].xyz for one in numbers], np.float64).reshape(-1, 3)
    return places, {number: at for at, number in enumerate(numbers)}


def shown_by(image: Any, places: dict[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which points an image of a reconstruction shows, and where, px of the copy."""
    shown: Sequence[Any] = [one for one in image.points2D if one.has_point3D()]
    which = np.array([places[one.point3D_id] for one in shown], np.int64)
    return which, np.array([one.xy for one in shown], np.float64).reshape(-1, 2)
