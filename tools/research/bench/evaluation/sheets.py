# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact sheets of tracked clips, for a person's eye."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from sam2_splat_addon.core.footage.headers import read_header
from tools.contact_sheet import contact_sheet
from tools.research.bench.evaluation.tracking import Tracked

_SIDE: Final = 660  # px, three times what a sheet shows of a frame


def write_sheet(photos: Sequence[Path], object_id: int, tracked: Tracked, target: Path) -> None:
    """Write one object's frames as one JPEG."""
    header = read_header(photos[0])
    scale = min(1.0, _SIDE / max(header.width, header.height))
    width, height = round(header.width * scale), round(header.height * scale)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        pairs = []
        for index, photo in enumerate(photos):
            matte = tracked.mattes.get((object_id, index + 1))
            if matte is None:
                continue
            rgba = np.zeros((height, width, 4), dtype=np.uint8)
            rgba[..., 3] = matte.mask(width, height) * np.uint8(255)
            file = Path(scratch) / f"{index:06d}.png"
            Image.fromarray(rgba).save(file, compress_level=1)
            pairs.append((photo, file))
        contact_sheet(pairs, target)
