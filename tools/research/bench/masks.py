# SPDX-License-Identifier: GPL-3.0-or-later
"""Time a bake of masks alone, and compare its PNG encoder with Pillow's and OpenCV's.

    python tools/research/bench/masks.py                            # 300 masks of 54 megapixels of one core
    python tools/research/bench/masks.py --masks 20 --photo-size 400x600

The photos are links to one photo, so nothing but masks takes time, and linking. The masks are blobs
with rough edges, from a grid of 256 x 256 as the model's. Everything runs on one thread, and the times
are of the processor: other programs and a slow disk do not count.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tools.research.bench import command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_GRID = 256
_KINDS = 10  # different mattes; the others are the same again
_TRIES = 3


def blob(seed: int) -> NDArray[np.float16]:
    """Return the logits of one large subject with a rough edge and some holes."""
    import cv2
    import numpy as np

    random = np.random.default_rng(seed)
    noise = random.normal(size=(_GRID, _GRID)).astype(np.float32)
    rough = cv2.GaussianBlur(noise, (0, 0), 6) * 40 + cv2.GaussianBlur(noise, (0, 0), 2) * 4
    y, x = np.mgrid[-1 : 1 : _GRID * 1j, -1 : 1 : _GRID * 1j]
    return np.asarray((0.6 - np.hypot(x, y)) * 20 + rough, dtype=np.float16)


def measure(options: argparse.Namespace) -> None:
    """Bake, encode with each encoder, print the times, and write them as JSON."""
    import cv2

    from tools.research.bench.timing.long_footage import parsed_size

    cv2.setNumThreads(1)
    width, height = parsed_size(options.photo_size)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        figures: dict[str, Any] = {"photo_size": [width, height], "masks": options.masks}
        figures["bake_s"] = _bake(Path(scratch), width, height, options.masks)
        figures["encoders"] = _encoders(Path(scratch), width, height)
    each = figures["bake_s"] / options.masks
    print(f"{options.masks} masks of {width} x {height} px: {figures['bake_s']:.1f} s of one core")
    print(f"each {each * 1000:.0f} ms, with enlarging it")
    ours = figures["encoders"]["ours"]["ms"]
    for name, row in figures["encoders"].items():
        ratio = row["ms"] / ours
        print(f"{name:24} {row['ms']:8.1f} ms {row['bytes'] / 1000:8.0f} kB {ratio:6.1f} x ours")
    command.write_json(options.json, figures)


def _bake(scratch: Path, width: int, height: int, masks: int) -> float:
    """Return the processor time of a bake for COLMAP, s."""
    import cv2
    import numpy as np

    from sam2_splat_addon.core.bake_plan import BakeOptions
    from sam2_splat_addon.core.footage.scan import scan
    from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
    from sam2_splat_addon.core.protocol import BakeRequest, FootageFiles
    from sam2_splat_addon.engine.jobs.bake import bake

    photos = scratch / "photos"
    photos.mkdir()
    first = photos / "0001.jpg"
    cv2.imwrite(str(first), np.full((height, width, 3), 120, np.uint8))
    store = MatteStore.open(scratch / "store", create=True)
    mattes = [blob(seed) for seed in range(_KINDS)]
    for frame in range(1, masks + 1):
        if frame > 1:
            shutil.copyfile(first, photos / f"{frame:04d}.jpg")
        matte = mattes[frame % _KINDS]
        store.write(MatteRecord(1, frame, width, height, matte, MatteScores(1.0, 0.9, 0.2)))
    request = BakeRequest(
        FootageFiles.of(scan(photos)),
        str(store.folder),
        str(scratch / "baked"),
        BakeOptions(targets=("colmap",)),
    )
    began = time.process_time()
    report = bake(request, store, lambda _: None, lambda: False, threads=1)
    took = time.process_time() - began
    assert len(report.frames) == masks
    return took


def _encoders(scratch: Path, width: int, height: int) -> dict[str, dict[str, float]]:
    """Return milliseconds of the processor and bytes of a mask, by encoder. All write the same pixels."""
    import cv2
    import numpy as np
    from PIL import Image

    from sam2_splat_addon.core.bake_plan import BakeOptions
    from sam2_splat_addon.engine.images.alpha import combine
    from sam2_splat_addon.engine.images.png import write_grey

    Image.MAX_IMAGE_PIXELS = None
    mask = combine([blob(0)], [], width, height, BakeOptions())
    ways: dict[str, Callable[[Path], object]] = {
        "ours": lambda path: write_grey(path, mask),
        "OpenCV": lambda path: cv2.imwrite(str(path), mask),
        "OpenCV, quickest": lambda path: cv2.imwrite(
            str(path), mask, [cv2.IMWRITE_PNG_COMPRESSION, 1]
        ),
        "OpenCV, 1 bit": lambda path: cv2.imwrite(str(path), mask, [cv2.IMWRITE_PNG_BILEVEL, 1]),
        "Pillow": lambda path: Image.fromarray(mask).save(path),
        "Pillow, quickest": lambda path: Image.fromarray(mask).save(path, compress_level=1),
        "Pillow, 1 bit": lambda path: Image.fromarray(mask).convert("1").save(path),
    }
    rows = {}
    for name, way in ways.items():
        path = scratch / "mask.png"
        times = []
        for _ in range(_TRIES):
            began = time.process_time()
            way(path)
            times.append(time.process_time() - began)
        with Image.open(path) as written:
            assert np.array_equal(np.asarray(written.convert("L")), mask), name
        rows[name] = {"ms": min(times) * 1000, "bytes": float(path.stat().st_size)}
    return rows


def main() -> int:
    """Measure what the command line asks for."""
    own = argparse.ArgumentParser(description="Time a bake of masks alone.")
    own.add_argument("--masks", type=int, default=300)
    own.add_argument("--photo-size", default="9000x6000", metavar="WxH")
    own.add_argument("--scratch", type=Path, help="where temporary files go")
    own.add_argument("--json", type=Path, help="write the figures here too")
    return command.run(measure, own.parse_args())


if __name__ == "__main__":
    sys.exit(main())
