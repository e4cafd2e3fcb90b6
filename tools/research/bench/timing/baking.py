# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the stages of a bake on one large photo, and compare its PNG with other encoders'.

As a program: one `Case` on standard input, `Row`s on standard output. pyvips and imagecodecs take
part if they can be imported. They are not part of the extension.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.system.process_memory import peak_memory_mb
from sam2_splat_addon.engine.images.alpha import combine
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.images.png import write_rgba

from .rows import OURS, Row, Stopwatch, in_process_of_its_own

_GRAIN = 6.0  # of 255: about the noise of a camera at a low ISO, before its JPEG encoder
_TILE = 1000  # px


class Case(msgspec.Struct, frozen=True):
    """A photo to bake. ``slow`` includes Pillow's default, half a minute at 54 megapixels."""

    photo: str
    slow: bool


def enlarged(photo: Path, target: Path, width: int, height: int) -> Path:
    """Make a large photo from a small one: interpolated, with grain like a sensor's."""
    small = cv2.imread(str(photo))
    if small is None:
        raise SystemExit(f"{photo} can't be read.")
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    random = np.random.default_rng(0)
    noise = random.normal(0.0, _GRAIN, (_TILE, _TILE, 3)).astype(np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), 0.7)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            part = large[top : top + _TILE, left : left + _TILE]
            turn = (int(random.integers(_TILE)), int(random.integers(_TILE)))
            moved = np.roll(grain, turn, (0, 1))[: part.shape[0], : part.shape[1]]
            part[:] = np.clip(part + moved, 0, 255).astype(np.uint8)
    cv2.imwrite(str(target), large, [cv2.IMWRITE_JPEG_QUALITY, 93])
    return target


def measure(case: Case) -> list[Row]:
    """Rows of the stages and of the encoders, on one thread."""
    return in_process_of_its_own(__spec__.name, case, list[Row], 1)


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    cv2.setNumThreads(1)
    Image.MAX_IMAGE_PIXELS = None
    decode(Path(case.photo))  # after this the system has the file in memory
    watch = Stopwatch()
    rgb = decode(Path(case.photo)).array
    height, width = rgb.shape[:2]
    megapixels = f"{width * height / 1e6:.0f} megapixels"
    rows = [watch.row(f"decode {megapixels}", OURS)]
    watch = Stopwatch()
    alpha = combine([blob()], [], width, height, BakeOptions())
    rows.append(watch.row(f"alpha of {megapixels}", OURS))
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "out.png"
        task = f"RGBA PNG of {megapixels}"
        rows.append(_write(task, OURS, target, lambda: write_rgba(target, rgb, alpha)))
        rows[-1] = msgspec.structs.replace(rows[-1], memory_mb=peak_memory_mb())
        rgba = np.dstack([rgb, alpha])
        rows += [
            _write(task, program, target, write)
            for program, write in _encoders(target, rgba, slow=case.slow).items()
        ]
    print(msgspec.json.encode(rows).decode())
    return 0


def _write(task: str, program: str, target: Path, write: Callable[[], object]) -> Row:
    watch = Stopwatch()
    write()
    return watch.row(task, program, size_mb=target.stat().st_size / 1e6)


def _encoders(
    target: Path, rgba: NDArray[np.uint8], *, slow: bool
) -> dict[str, Callable[[], object]]:
    picture = Image.fromarray(rgba)
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    # The order of the channels does not change the cost.
    encoders: dict[str, Callable[[], object]] = {
        "OpenCV": lambda: cv2.imwrite(str(target), rgba),
        "OpenCV, level 1": lambda: cv2.imwrite(str(target), rgba, quick),
        "Pillow, level 1": lambda: picture.save(target, compress_level=1),
    }
    vips = _optional("pyvips")
    if vips is not None:
        height, width = rgba.shape[:2]
        image = vips.Image.new_from_memory(rgba.data, width, height, 4, "uchar")
        image = image.copy(interpretation="srgb")
        encoders["pyvips, level 1"] = lambda: image.pngsave(str(target), compression=1)
        encoders["pyvips, level 1, up"] = lambda: image.pngsave(
            str(target), compression=1, filter="up"
        )
    codecs = _optional("imagecodecs")
    if codecs is not None:
        encoders["imagecodecs, level 1"] = lambda: target.write_bytes(
            codecs.png_encode(rgba, level=1)
        )
    if slow:
        encoders["Pillow"] = lambda: picture.save(target)
    return encoders


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def blob() -> NDArray[np.float16]:
    """Logits of a subject with a wavy outline, (256, 256)."""
    y, x = np.mgrid[-128:128, -128:128]
    logits: NDArray[np.float64] = 80 - np.hypot(x, y) + 8 * np.sin(9 * np.arctan2(y, x))
    return logits.astype(np.float16)


if __name__ == "__main__":
    sys.exit(main())
