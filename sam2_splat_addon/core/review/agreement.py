# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other photos say of each mask: the file in which the engine leaves it, and its reader.

The engine compares the masks in 3D (`engine/agreement`). Its verdict on a matte counts as long as the matte
is the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from ..mattes.store import AGREEMENT_NAME, MatteStore
from ..system.safe_read import UNREADABLE, read_plain

_MAX_BYTES: Final = 1 << 28


class FrameAgreement(msgspec.Struct, frozen=True):
    """How the mask of a photo agrees with the others.

    Attributes
    ----------
    frame
        The frame number.
    key
        The key of the matte; see `core.mattes.store.MatteRecord`.
    overlap
        IoU of the mask and the hull on this photo, 0 to 1.
    extra
        Share of the mask where other photos say that there is nothing, 0 to 1.
    missing
        Share of the hull that the mask lacks, though nothing seems to stand before it, 0 to 1.
    outlines
        The hull's edge on this photo: closed outlines in px of the photo, each x0, y0, x1, y1, ...
    """

    frame: int
    key: str
    overlap: float
    extra: float
    missing: float
    outlines: tuple[tuple[float, ...], ...] = ()


class Agreement(msgspec.Struct, frozen=True):
    """How the masks of one object agree.

    Attributes
    ----------
    cameras
        One sentence: which cameras were used.
    hull
        Key of the hull (`engine/agreement/kept_hull.py`).
    frames
        The photos with a camera and a mask.
    limit
        The share of votes from which on a voxel of the hull counts as the subject.
    others
        Number of things that stand apart, have no click, and were left out of the hull. Then most masks
        have too much.
    """

    cameras: str
    hull: str
    frames: tuple[FrameAgreement, ...]
    limit: float = 0.8
    others: int = 0

    def by_frame(self) -> dict[int, FrameAgreement]:
        """Return frame -> its agreement."""
        return {one.frame: one for one in self.frames}


def read_agreement(store: MatteStore, object_id: int) -> Agreement | None:
    """Return what is known of an object; None if nothing is known, or the file is damaged."""
    path = store.state_folder(object_id) / AGREEMENT_NAME
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        return msgspec.json.decode(read_plain(path), type=Agreement)
    except (OSError, *UNREADABLE):
        return None


def write_agreement(store: MatteStore, object_id: int, agreement: Agreement) -> Path:
    """Write it, whole or not at all, and return the file; raises StoreError."""
    return store.write_state(object_id, AGREEMENT_NAME, msgspec.json.encode(agreement))
