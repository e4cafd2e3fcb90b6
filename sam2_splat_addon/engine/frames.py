# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos as model input, one at a time, ahead of use; imports core, torch, numpy and Pillow.

The result equals that of sam2's own frame loader bit for bit for every photo which that loader
reads: squashed to a square by Pillow's default filter, divided by 255, normalised in float32.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..core.errors import FootageError
from ..core.headers import read_header
from .pixels import decode, to_8_bit

# Normalisation that SAM 2 was trained with (ImageNet's mean and deviation per channel, RGB in
# 0..1).
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

REDUCING_GAP = 2
"""How much larger than wanted the decoder's own shrinking leaves a picture at least.

It is what Pillow's own `Image.thumbnail` leaves. At half of that, and with the decoder's shrinking
alone, fine structure would show.
"""

Decoded = dict[tuple[int, int], Image.Image]
"""A photo as decoded at several scales, by size (width, height), px."""

_Item = tuple[int, Tensor] | Exception | None


class FrameSource:
    """Frames as normalised squares, by index; holds no frame itself.

    Parameters
    ----------
    paths
        Source files in frame order; index 0 is frame 1.
    image_size
        Side of the model's input, px.
    prefetch
        Frames that `stream` decodes ahead of use.
    exact
        True gives the same bits as sam2's loader. False decodes JPEGs at a reduced scale: several
        times faster on large photos, values differ by about a level of 255.
    """

    def __init__(
        self, paths: Sequence[Path], image_size: int, *, prefetch: int = 2, exact: bool = True
    ) -> None:
        self._paths = tuple(paths)
        self._image_size = image_size
        self._prefetch = max(prefetch, 1)
        self._exact = exact

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        """Decode one frame.

        Returns
        -------
        Tensor
            (3, image_size, image_size) float32 on the CPU.

        Raises
        ------
        FootageError
            The photo is missing or damaged; names the file.
        IndexError
            No such frame.
        """
        return normalised(self._square(self._paths[index]))

    def stream(self, order: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (index, frame) in the given order while one background thread decodes ahead.

        At most `prefetch` decoded frames wait; closing the iterator early stops the thread.

        Raises
        ------
        FootageError
            At the frame concerned, after every frame before it was yielded.
        """
        waiting: queue.Queue[_Item] = queue.Queue(maxsize=self._prefetch)
        stop = threading.Event()
        thread = threading.Thread(
            target=self._decode_ahead,
            args=(tuple(order), waiting, stop),
            name="frames",
            daemon=True,
        )
        thread.start()
        try:
            while (item := waiting.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()
            while thread.is_alive():  # a decoder that waits for room must be let go
                try:
                    waiting.get(timeout=0.01)
                except queue.Empty:
                    continue
            thread.join()

    def _decode_ahead(
        self, order: tuple[int, ...], waiting: queue.Queue[_Item], stop: threading.Event
    ) -> None:
        for index in order:
            if stop.is_set():
                return
            try:
                waiting.put((index, self[index]))
            except Exception as problem:  # noqa: BLE001 - raised again where the frame is due
                waiting.put(problem)
                return
        waiting.put(None)

    def _square(self, path: Path) -> NDArray[np.uint8]:
        """The photo squashed to the model's square, (S, S, 3) uint8."""
        size = (self._image_size, self._image_size)
        if not self._exact and read_header(path).format == "jpeg":
            margin = REDUCING_GAP * self._image_size
            photo, taken = jpeg_at_least(path, (margin, margin), {})
            return np.array(photo.resize(size, box=(0, 0, *taken), reducing_gap=REDUCING_GAP))
        return np.array(Image.fromarray(to_8_bit(decode(path).array)).resize(size))


def normalised(square: NDArray[np.uint8]) -> Tensor:
    """Model input, (3, S, S) float32 on the CPU, from an RGB picture (S, S, 3)."""
    # Divided in float64 and only then rounded, as sam2's loader does.
    frame = torch.from_numpy(square / 255.0).permute(2, 0, 1).to(torch.float32)  # (3, S, S)
    frame = frame.contiguous()
    frame -= torch.tensor(MEAN, dtype=torch.float32)[:, None, None]  # (3, 1, 1)
    frame /= torch.tensor(STD, dtype=torch.float32)[:, None, None]  # (3, 1, 1)
    return frame


def jpeg_at_least(
    path: Path, wanted: tuple[int, int], decoded: Decoded
) -> tuple[Image.Image, tuple[float, float]]:
    """A JPEG at the smallest of its own scales that is as large as wanted, (width, height), px.

    Taken from `decoded`, or put there.

    Returns
    -------
    tuple
        The picture in RGB, and how much of it the photo takes up, (width, height), px: a reduced
        scale rounds its size up.

    Raises
    ------
    FootageError
        The photo is missing or damaged; names the file.
    """
    try:
        with Image.open(path) as image:
            drafted = image.draft("RGB", wanted)
            taken = image.size if drafted is None else drafted[1][2:]
            scale = image.size
            if scale not in decoded:
                image.load()
                # Converting copies, even what is RGB already.
                decoded[scale] = image if image.mode == "RGB" else image.convert("RGB")
            return decoded[scale], taken
    except (OSError, SyntaxError, ValueError) as problem:
        raise FootageError(
            f"{path.name} can't be decoded: {str(problem).rstrip('.')}.",
            "Copy or export this photo again, or remove it.",
        ) from problem
