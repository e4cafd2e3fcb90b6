# SPDX-License-Identifier: GPL-3.0-or-later
"""Real photos with true masks for training, and samples drawn from them.

The photos lie outside the project, in a folder with this layout:

    stills/<set>/images/*.jpg, masks/*.png       one mask a photo, white is the subject
    coco/images/<split>, coco/panoptic/...       several things a photo, COCO's panoptic files
    people/images/*.jpg, parts/*.png             labels above 0 are the person, each a part
    orbits/<name>/photos, masks                  one subject seen from many sides

Photos that look like one of a test set are left out (`looks_like`). Every twentieth photo is held
out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.research.train.library import Image, limit

Rng = np.random.Generator
Mask = NDArray[np.bool_]
Kind = Literal["whole", "segments", "person"]

HELD_OUT_EVERY: Final = 20
_SMALLEST_SEGMENT: Final = 2500  # px of a COCO photo; smaller segments are not used
_SMALLEST: Final = 300  # px of a mask to take as a subject
_LARGEST_SHARE: Final = 0.92  # of a sample that the subject may fill
HASH_BITS: Final = 256
_SAME_BITS: Final = 10  # number of bits in which two hashes of one photo may differ
_PART_SHARE: Final = 0.4  # of people: only a part of the person is the target
_PIECE_SHARE: Final = 0.4  # of masks with several pieces: only one piece is the target
_CROP_SHARE: Final = 0.8


@dataclass(frozen=True)
class Photo:
    """One photo, kept as its file's bytes.

    Attributes
    ----------
    name : str
        Set and file name without extension.
    kind : {"whole", "segments", "person"}
        What the labels mean.
    image, labels : bytes
        The files.
    segments : tuple of int
        For "segments": the ids that are large enough to be a target.
    """

    name: str
    kind: Kind
    image: bytes
    labels: bytes
    segments: tuple[int, ...] = ()

    def read(self) -> tuple[Image, NDArray[np.int32]]:
        """Decode to (H, W, 3) RGB and (H, W) labels."""
        bgr = _decode(self.image, cv2.IMREAD_COLOR)
        values = _decode(self.labels, cv2.IMREAD_UNCHANGED)
        if bgr is None or values is None:
            raise OSError(f"{self.name} is no photo with labels.")
        whole = values.astype(np.int32)
        if self.kind == "segments":  # stored as R + 256 G + 65536 B, read as B, G, R
            whole = whole[..., 2] + 256 * whole[..., 1] + 65536 * whole[..., 0]
        elif whole.ndim == 3:
            whole = whole[..., 0]
        if self.kind == "whole":
            whole = (whole > 127).astype(np.int32)
        height, width = bgr.shape[:2]
        if whole.shape != (height, width):
            resized = cv2.resize(whole, (width, height), interpolation=cv2.INTER_NEAREST)
            whole = np.asarray(resized, np.int32)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), whole

    def mask(self, rng: Rng, labels: NDArray[np.int32]) -> Mask:
        """Choose the target in this photo and return its mask, (H, W). It may be empty."""
        if self.kind == "segments":
            return np.asarray(labels == rng.choice(self.segments))
        if self.kind == "person":
            parts = np.unique(labels[labels > 0])
            if len(parts) and rng.random() < _PART_SHARE:
                return np.asarray(labels == rng.choice(parts))
        mask = labels > 0
        if self.kind == "whole" and rng.random() < _PIECE_SHARE:
            count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
            large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 400]
            if large:
                mask = pieces == rng.choice(large)
        return np.asarray(mask)


@dataclass(frozen=True)
class Orbit:
    """Photos around one subject: (H, W, 3) RGB and (H, W) masks, in order."""

    images: list[Image]
    masks: list[Mask]


@dataclass
class PhotoLibrary:
    """All photos under a folder.

    Attributes
    ----------
    photos : dict of Kind to list of Photo
        For training.
    held_out : list of Photo
        Never used for training.
    orbits : list of Orbit
        Real orbits with masks.
    left_out : int
        Number of photos left out because they look like one of a test set.
    """

    photos: dict[Kind, list[Photo]] = field(default_factory=dict)
    held_out: list[Photo] = field(default_factory=list)
    orbits: list[Orbit] = field(default_factory=list)
    left_out: int = 0

    @classmethod
    def read(cls, root: Path, tests: Iterable[Path] = ()) -> PhotoLibrary:
        """Read a folder with the layout above. ``tests`` are pictures that must not be used for training."""
        library = cls()
        known = [hashed for path in tests if (hashed := hash_of(path.read_bytes())) is not None]
        taken = np.array(known, bool).reshape(-1, HASH_BITS)
        every = [*_whole(root), *_segments(root), *_people(root)]
        for number, photo in enumerate(every):
            if looks_like(hash_of(photo.image), taken):
                library.left_out += 1
            elif number % HELD_OUT_EVERY == 0:
                library.held_out.append(photo)
            else:
                library.photos.setdefault(photo.kind, []).append(photo)
        library.orbits = [_orbit(folder) for folder in sorted((root / "orbits").glob("*"))]
        return library

    def grounds(self, count: int, side: int) -> list[Image]:
        """Return photos to paste objects on, evenly chosen, no longer than ``side`` px."""
        every = [photo for photos in self.photos.values() for photo in photos]
        chosen = every[:: max(1, len(every) // count)]
        return [limit(photo.read()[0], side) for photo in chosen]

    def draw(self, rng: Rng) -> Photo:
        """Draw a photo. Kinds have fixed fractions, so that small sets are used often enough."""
        shares = {"whole": 0.6, "segments": 0.25, "person": 0.15}
        kinds = sorted(self.photos)
        weights = np.array([shares[kind] for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        photos = self.photos[kind]
        return photos[int(rng.integers(len(photos)))]


def draw_subject(rng: Rng, library: PhotoLibrary) -> tuple[Image, Mask]:
    """Draw a photo with a subject on it: (H, W, 3) RGB and its mask (H, W)."""
    while True:
        photo = library.draw(rng)
        image, labels = photo.read()
        mask = photo.mask(rng, labels)
        if _SMALLEST <= mask.sum() <= _LARGEST_SHARE * mask.size:
            return image, mask


def draw_view(rng: Rng, image: Image, mask: Mask, side: int) -> tuple[Image, Mask] | None:
    """Cut a crop that shows some of the subject, resize it to a square, and perhaps mirror it.

    Returns
    -------
    tuple or None
        (side, side, 3) and (side, side). None if too little of the subject is left, or nothing
        else.
    """
    height, width = mask.shape
    if rng.random() < _CROP_SHARE:
        rows, columns = np.nonzero(mask)
        if rng.random() < 0.5:  # a part of the photo
            share = rng.uniform(0.45, 1.0)
            high, wide = max(1, int(height * share)), max(1, int(width * share))
        else:  # the subject with some room around it
            room = rng.uniform(1.1, 2.2)
            high = min(height, max(int(float(np.ptp(rows)) * room), 48))
            wide = min(width, max(int(float(np.ptp(columns)) * room), 48))
        at = int(rng.integers(len(rows)))
        top = int(np.clip(rows[at] - rng.integers(high), 0, height - high))
        left = int(np.clip(columns[at] - rng.integers(wide), 0, width - wide))
        if rng.random() < 0.5:  # the subject is in the middle
            middle = [int(np.min(x)) + int(np.max(x)) for x in (rows, columns)]
            top = int(np.clip((middle[0] - high) // 2, 0, height - high))
            left = int(np.clip((middle[1] - wide) // 2, 0, width - wide))
        image = image[top : top + high, left : left + wide]
        mask = mask[top : top + high, left : left + wide]
    share_left = float(mask.mean())
    if not 0.002 < share_left < _LARGEST_SHARE:
        return None
    way = cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_LINEAR
    square = cv2.resize(image, (side, side), interpolation=way)
    inside = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) > 0.5
    if rng.random() < 0.5:
        square, inside = square[:, ::-1], inside[:, ::-1]
    return np.ascontiguousarray(square), np.ascontiguousarray(inside)


def hash_of(data: bytes) -> NDArray[np.bool_] | None:
    """Return 256 bits that stay the same when a photo is reduced or saved again. None: not a picture."""
    grey = _decode(data, cv2.IMREAD_GRAYSCALE)
    if grey is None:
        return None
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.asarray((small[:, 1:] > small[:, :-1]).ravel())


def looks_like(hashed: NDArray[np.bool_] | None, others: NDArray[np.bool_]) -> bool:
    """Whether a photo looks like one of the others, ((N, 256) bits). Mirrored photos don't count."""
    if hashed is None or not len(others):
        return False
    return bool(((others != hashed).sum(1) <= _SAME_BITS).any())


def _decode(data: bytes, way: int) -> Image | None:
    """Decode to (H, W) or (H, W, 3) BGR. None if it is not a picture."""
    return cast(Image | None, cv2.imdecode(np.frombuffer(data, np.uint8), way))


def _files(folder: Path, suffixes: Sequence[str] = (".jpg", ".jpeg", ".png")) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else []
    return sorted(path for path in found if path.suffix.lower() in suffixes)


def _whole(root: Path) -> list[Photo]:
    return [
        Photo(f"{folder.name}/{path.stem}", "whole", path.read_bytes(), mask.read_bytes())
        for folder in sorted((root / "stills").glob("*"))
        for path in _files(folder / "images")
        if (mask := folder / "masks" / f"{path.stem}.png").is_file()
    ]


def _people(root: Path) -> list[Photo]:
    return [
        Photo(f"people/{path.stem}", "person", path.read_bytes(), labels.read_bytes())
        for path in _files(root / "people" / "images")
        if (labels := root / "people" / "parts" / f"{path.stem}.png").is_file()
    ]


def _segments(root: Path) -> list[Photo]:
    found: dict[str, Photo] = {}  # the two splits share photos
    for listing in sorted((root / "coco" / "panoptic").glob("panoptic_*.json")):
        split = listing.stem.removeprefix("panoptic_")
        for entry in json.loads(listing.read_text())["annotations"]:
            labels = listing.parent / listing.stem / entry["file_name"]
            path = root / "coco" / "images" / split / f"{labels.stem}.jpg"
            ids = tuple(s["id"] for s in entry["segments_info"] if s["area"] > _SMALLEST_SEGMENT)
            if ids and labels.is_file() and path.is_file():
                image, read = path.read_bytes(), labels.read_bytes()
                found.setdefault(
                    labels.stem, Photo(f"coco/{labels.stem}", "segments", image, read, ids)
                )
    return list(found.values())


def _orbit(folder: Path) -> Orbit:
    images, masks = [], []
    for path in _files(folder / "photos"):
        labels = cv2.imread(str(folder / "masks" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        picture = cv2.imread(str(path))
        if picture is not None and labels is not None:
            images.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))
            masks.append(np.asarray(labels > 127))
    return Orbit(images, masks)
