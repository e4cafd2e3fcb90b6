# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a hull on disk, under the key of all that made it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from ...core.cameras.find import PhotoCamera
from ...core.errors import StoreError
from ...core.mattes.hull_file import read_hull_file
from ...core.system.atomic_file import write_atomic
from .aim import Mask
from .hull import Hull

HULL_VERSION: Final = "4"
"""Raise it when the same masks and cameras give another hull than before."""


def hull_key(masks: Sequence[Mask], across: int) -> str:
    """Return the digest of everything that decides the hull."""
    digest = hashlib.sha256(f"{HULL_VERSION} {across}".encode())
    for mask in masks:
        told = f"{mask.frame} {mask.trust!r} {mask.fixed} {mask.clicks!r} {mask.logits.shape}"
        digest.update(told.encode())
        digest.update(camera_bytes(mask.camera))
        digest.update(np.ascontiguousarray(mask.logits).tobytes())
    return digest.hexdigest()


def camera_bytes(camera: PhotoCamera) -> bytes:
    """Return the bytes of everything that a camera says."""
    own, lens = camera.camera, camera.camera.lens
    told = f"{lens.model} {lens.width} {lens.height} {lens.params!r} {camera.width} {camera.height}"
    places = (own.rotation, own.position, camera.to_photo)
    return told.encode() + b"".join(
        np.ascontiguousarray(one, np.float64).tobytes() for one in places
    )


def save_hull(path: Path, hull: Hull, key: str) -> None:
    """Write a hull, whole or not at all; raises StoreError."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        key=np.array(key),
        offsets=hull.centres,
        sizes=hull.sizes,
        shares=hull.shares.astype(np.float16),
        centre=hull.centre,
        radius=np.array(hull.radius),
        voxel=np.array(hull.voxel),
        frames=np.array(sorted(hull.trust)),
        trust=np.array([hull.trust[frame] for frame in sorted(hull.trust)]),
        others=np.array(hull.others),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, file.getvalue())
    except OSError as error:
        raise StoreError(
            f"The hull {path} can't be written: {error.strerror}.",
            "Free some disk space, or choose another folder for the mattes.",
        ) from error


def load_hull(path: Path, key: str) -> Hull | None:
    """Read a hull; None if there is none, it is damaged, or it was made of other masks."""
    found = read_hull_file(path)
    if found is None or str(found["key"]) != key:
        return None
    return Hull(
        found["offsets"],
        found["sizes"],
        found["shares"].astype(np.float32),
        found["centre"],
        float(found["radius"]),
        {
            int(frame): float(one)
            for frame, one in zip(found["frames"], found["trust"], strict=True)
        },
        float(found["voxel"]),
        int(found["others"]),
    )
