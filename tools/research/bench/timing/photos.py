# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the ways from photos on a disk to pixels and back: ours, Pillow's and OpenCV's.

As a program: one `Case` on standard input, `Row`s of all three on standard output.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.footage.headers import read_header
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.geometry.resample import upsample_binary
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.protocol import BakeRequest, FootageFiles
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.images.jpeg import decode_jpeg
from sam2_splat_addon.engine.jobs.bake import bake

from .baking import blob
from .rows import OURS, Row, Stopwatch, in_process_of_its_own

Task = Literal["headers", "shrink", "bake"]
SIZES = (512, 1024)  # the models' inputs, px
PILLOW, OPENCV = "Pillow", "OpenCV"
_GRAIN = 5.0  # of 255
_TRIES = 3  # the quickest counts
_DIFFERENT = 50  # photos of a long folder; the others are more names of these
_SMALL = (1200, 800)  # px, of these photos


class Case(msgspec.Struct, frozen=True):
    """A task for all programs.

    Attributes
    ----------
    photos
        A folder of photos, or one photo.
    size
        Of the model's input, px, for ``shrink``.
    """

    task: Task
    photos: str
    size: int = 0


def headers(photo: Path, count: int, scratch: Path) -> list[Row]:
    """Return the rows of reading the headers of many JPEGs like a photo."""
    folder = scratch / "many"
    folder.mkdir()
    with Image.open(photo) as image:
        picture = image.convert("RGB").resize(_SMALL)
    exif = Image.Exif()
    exif[271], exif[272] = "A maker of cameras", "Its camera"
    for number in range(count):
        path = folder / f"IMG_{number:05d}.JPG"
        if number < _DIFFERENT:
            exif[306] = f"2024:05:01 10:00:{number:02d}"
            picture.save(path, "JPEG", quality=90, exif=exif, icc_profile=_profile())
        else:
            os.link(folder / f"IMG_{number - _DIFFERENT:05d}.JPG", path)
    return _rows(Case("headers", str(folder)))


def shrinking(photo: Path) -> list[Row]:
    """Return the rows of making a large photo the models' input."""
    return [row for size in SIZES for row in _rows(Case("shrink", str(photo), size))]


def bakes(photo: Path) -> list[Row]:
    """Return the rows of making an RGBA PNG of a large photo and its matte."""
    return _rows(Case("bake", str(photo)))


def large_photos(
    photos: Sequence[Path], scratch: Path, width: int, height: int
) -> tuple[Path, ...]:
    """Make two large JPEGs of small ones.

    One is smooth: a single photo, enlarged. The other has the detail and the grain of a camera: photos
    side by side with noise, which makes it seven times as many bytes.
    """
    smooth, detailed = scratch / "smooth.jpg", scratch / "detailed.jpg"
    with Image.open(photos[0]) as image:
        image.resize((width, height), Image.Resampling.BICUBIC).save(smooth, quality=90)
    whole = np.zeros((height, width, 3), np.uint8)
    random, tiles = np.random.default_rng(0), itertools.cycle(photos)
    top = 0
    while top < height:
        left = 0
        while left < width:
            tile = np.asarray(decode(next(tiles)).array, np.uint8)
            part = whole[top : top + tile.shape[0], left : left + tile.shape[1]]
            tile = tile[: part.shape[0], : part.shape[1]]
            noise = random.normal(0, _GRAIN, (*tile.shape[:2], 1))
            noise = noise + random.normal(0, _GRAIN / 2, tile.shape)
            part[:] = np.clip(tile + noise, 0, 255).astype(np.uint8)
            left += tile.shape[1]
        top += tile.shape[0]
    Image.fromarray(whole).save(detailed, quality=95, subsampling=2)
    return smooth, detailed


def _rows(case: Case) -> list[Row]:
    return in_process_of_its_own(__spec__.name, case, list[Row], 1)


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def main() -> int:
    """Run the case from standard input."""
    case = msgspec.json.decode(sys.stdin.buffer.read(), type=Case)
    cv2.setNumThreads(1)
    Image.MAX_IMAGE_PIXELS = None
    ways = {"headers": _headers, "shrink": _shrink, "bake": _bake}
    print(msgspec.json.encode(ways[case.task](case)).decode())
    return 0


def _quickest(task: str, program: str, run: Callable[[], Any], **more: float | str) -> Row:
    run()  # after this the system has the files in memory, and the libraries their tables
    rows = []
    for _ in range(_TRIES):
        watch = Stopwatch()
        run()
        rows.append(watch.row(task, program, **more))
    return min(rows, key=lambda row: row.cpu_s)


def _headers(case: Case) -> list[Row]:
    folder = Path(case.photos)
    paths = sorted(folder.iterdir())

    def pillow(path: Path) -> object:
        with Image.open(path) as image:
            return image.size, image.mode, image.getexif().get(274)

    def opencv(path: Path) -> object:
        return cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)

    def with_each(reader: Callable[[Path], object]) -> Callable[[], object]:
        return lambda: [reader(path) for path in paths]

    task = f"headers of {len(paths):,} JPEGs"
    return [
        _quickest(task, OURS, with_each(read_header)),
        _quickest(task, f"{OURS}, all of loading", lambda: scan(folder)),
        _quickest(task, PILLOW, with_each(pillow)),
        # It can't read a header alone. This is its quickest way to know a size.
        _quickest(task, OPENCV, with_each(opencv), note="decoded at an eighth"),
    ]


def _shrink(case: Case) -> list[Row]:
    from sam2_splat_addon.engine.images.frame_source import FrameSource  # with torch

    photo, size = Path(case.photos), case.size
    ways: dict[str, Callable[[], NDArray[np.uint8]]] = {
        OURS: lambda: FrameSource([photo], size, exact=False).squashed(0),
        PILLOW: lambda: _pillow_small(photo, size),
        OPENCV: lambda: _opencv_small(photo, size),
        f"{OURS}, exact": lambda: FrameSource([photo], size).squashed(0),
    }
    exact = ways[f"{OURS}, exact"]().astype(np.float32)
    task = f"{photo.stem}, {photo.stat().st_size / 1e6:.0f} MB, to {size} px"
    rows = []
    for program, way in ways.items():
        apart = np.abs(way().astype(np.float32) - exact)
        note = f"{apart.mean():.2f} levels from exact, {apart.max():.0f} at most"
        rows.append(_quickest(task, program, way, note=note))
    # Nothing can be quicker: this decodes one value of each block.
    least = _quickest(task, "decoding an eighth alone", lambda: _eighth(photo))
    return [*rows, least]


def _eighth(photo: Path) -> NDArray[np.uint8]:
    header = read_header(photo)
    size = (-(-header.width // 8), -(-header.height // 8))
    return decode_jpeg(photo.read_bytes(), size=size, factor=8)


def _pillow_small(photo: Path, size: int) -> NDArray[np.uint8]:
    with Image.open(photo) as image:
        image.draft("RGB", (2 * size, 2 * size))
        return np.asarray(image.convert("RGB").resize((size, size), reducing_gap=2.0))


def _opencv_small(photo: Path, size: int) -> NDArray[np.uint8]:
    header = read_header(photo)
    reduced = {
        8: cv2.IMREAD_REDUCED_COLOR_8,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        2: cv2.IMREAD_REDUCED_COLOR_2,
    }
    short = min(header.width, header.height)
    flag = next((flag for by, flag in reduced.items() if short // by >= 2 * size), 1)
    small = cv2.imread(str(photo), flag)
    assert small is not None
    shrunk = cv2.resize(small, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(shrunk, cv2.COLOR_BGR2RGB), np.uint8)


def _bake(case: Case) -> list[Row]:
    photo = Path(case.photos)
    header = read_header(photo)
    width, height = header.width, header.height
    task = f"{photo.stem}: PNG of {width * height / 1e6:.0f} megapixels"
    logits = blob()
    rows = []
    with tempfile.TemporaryDirectory(dir=photo.parent) as scratch:
        target = Path(scratch) / "out.png"

        def pillow(level: int) -> None:
            with Image.open(photo) as image:
                picture = image.convert("RGB")
            picture.putalpha(Image.fromarray(_mask(logits, width, height)))
            picture.save(target, compress_level=level)

        def opencv(*options: int) -> None:
            bgra = np.dstack([cv2.imread(str(photo)), _mask(logits, width, height)])
            cv2.imwrite(str(target), bgra, options)

        ours, our_target = _our_bake(photo, Path(scratch), logits)
        ways: dict[str, tuple[Callable[[], object], Path]] = {
            OURS: (ours, our_target),
            f"{PILLOW}, level 1": (lambda: pillow(1), target),
            PILLOW: (lambda: pillow(6), target),
            f"{OPENCV}, level 1": (lambda: opencv(cv2.IMWRITE_PNG_COMPRESSION, 1), target),
            OPENCV: (opencv, target),
        }
        for program, (way, written) in ways.items():
            row = _quickest(task, program, way)
            _require_same_pixels(written, photo, _mask(logits, width, height))
            size, rate = written.stat().st_size / 1e6, f"{1 / row.cpu_s:.2f} photos a CPU second"
            rows.append(msgspec.structs.replace(row, size_mb=size, note=rate))
    return rows


def _our_bake(
    photo: Path, scratch: Path, logits: NDArray[np.float16]
) -> tuple[Callable[[], None], Path]:
    """Return a whole bake of one photo, with all that it checks and writes, and where its PNG is last."""
    folder = scratch / "photos"
    folder.mkdir()
    os.link(photo, folder / photo.name)
    footage = FootageFiles.of(scan(folder))
    store = MatteStore.open(scratch / "store", create=True)
    scores = MatteScores(1.0, 0.9, 0.2)
    store.write(MatteRecord(1, 1, footage.width, footage.height, logits, scores))
    last = scratch / "baked" / f"{photo.stem}.png"
    numbers = itertools.count()

    def run() -> None:
        out = scratch / f"baked{next(numbers)}"
        request = BakeRequest(footage, str(store.folder), str(out), BakeOptions())
        bake(request, store, lambda _: None, lambda: False, threads=1)
        last.parent.mkdir(exist_ok=True)
        (out / last.name).replace(last)

    return run, last


def _require_same_pixels(png: Path, photo: Path, alpha: NDArray[np.uint8]) -> None:
    """Raise ValueError if an image has not the photo's colours and this alpha."""
    rgba = cv2.cvtColor(_read(png), cv2.COLOR_BGRA2RGBA)
    if not np.array_equal(rgba[:, :, :3], decode(photo).array):
        raise ValueError(f"{png.name} has other colours than {photo.name}.")
    if not np.array_equal(rgba[:, :, 3], alpha):
        raise ValueError(f"{png.name} has another mask.")


def _read(png: Path) -> NDArray[Any]:
    found = cv2.imread(str(png), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError(f"{png.name} can't be read.")
    return found


def _mask(logits: NDArray[np.float16], width: int, height: int) -> NDArray[np.uint8]:
    return upsample_binary(logits, width, height).view(np.uint8) * np.uint8(255)


if __name__ == "__main__":
    sys.exit(main())
