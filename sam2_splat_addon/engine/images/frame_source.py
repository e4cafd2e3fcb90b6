# SPDX-License-Identifier: GPL-3.0-or-later
"""Read photos as model input, upright, in order and ahead of use.

The result equals that of sam2's own frame loader, bit for bit, for every photo which that loader
can read and which is stored upright. The photo is resized to a square with Pillow's default filter,
divided by 255, and normalised in float32.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ...core.errors import DamagedPhoto
from ...core.geometry.orientation import back, turned_size
from ...core.settings import RawSource
from .colors import to_8_bit
from .decode import decode
from .raw import read_header
from .reduced import REDUCING_GAP, stored_jpeg_at_least
from .upright import upright

# SAM 2 was trained with this normalisation (ImageNet's mean and deviation, RGB in 0..1).
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class FrameSource:
    """Frames as normalised model input, by index. It holds no frame itself.

    Parameters
    ----------
    paths
        Photos in frame order. Index 0 is frame 1.
    image_size
        Side of the model's input, px.
    wide
        Width of a frame in units of its height: see `panorama.WIDE`.
    decoders
        Number of threads in which `stream` decodes ahead. Each holds a photo.
    exact
        True gives the same bits as sam2's loader. False decodes JPEGs at a reduced scale. This is
        several times faster on large photos, and values differ by about one level of 255.
    raw
        What is taken from a camera RAW.
    on_damaged
        Called for each frame that `stream` leaves out because its photo does not decode whole. It
        is called in the stream's order, in the thread that reads the stream. None leaves out no
        frame: the error is raised.

    Examples
    --------
    >>> source = FrameSource(sorted(Path("photos").glob("*.JPG")), 1024)
    >>> source[0].shape
    torch.Size([3, 1024, 1024])
    >>> for index, frame in source.stream(range(len(source))):
    ...     print(f"frame {index + 1}: {tuple(frame.shape)}")
    frame 1: (3, 1024, 1024)
    frame 2: (3, 1024, 1024)
    """

    def __init__(
        self,
        paths: Sequence[Path],
        image_size: int,
        *,
        wide: int = 1,
        decoders: int = 1,
        exact: bool = True,
        raw: RawSource = "developed",
        on_damaged: Callable[[int, DamagedPhoto], None] | None = None,
    ) -> None:
        self._paths = tuple(paths)
        self._size = (wide * image_size, image_size)
        self._decoders = decoders
        self._exact = exact
        self._raw = raw
        self._on_damaged = on_damaged

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        """Decode one frame.

        Returns
        -------
        Tensor
            (3, image_size, wide * image_size) float32 on the CPU.

        Raises
        ------
        FootageError
            The photo is missing or damaged. The message names the file.
        IndexError
            There is no such frame.
        """
        return normalised(self.squashed(index))

    def stream(self, order: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (index, frame) in the given order, while background threads decode ahead.

        Besides the frame in use, at most two frames for each thread are decoded or being decoded.
        Closing the iterator early stops the threads.

        Raises
        ------
        FootageError
            When the stream reaches a bad frame, after all frames before it. Damaged photos are only
            left out if there is ``on_damaged``.
        """
        rest = iter(order)
        waiting: deque[tuple[int, Future[Tensor]]] = deque()
        pool = ThreadPoolExecutor(self._decoders, thread_name_prefix="frames")

        def decode_ahead() -> None:
            for index in itertools.islice(rest, 2 * self._decoders - len(waiting)):
                waiting.append((index, pool.submit(self.__getitem__, index)))

        try:
            decode_ahead()
            while waiting:
                index, frame = waiting.popleft()
                decode_ahead()
                try:
                    tensor = frame.result()
                except DamagedPhoto as problem:
                    if self._on_damaged is None:
                        raise
                    self._on_damaged(index, problem)
                    continue
                yield index, tensor
        finally:
            pool.shutdown(cancel_futures=True)

    def squashed(self, index: int) -> NDArray[np.uint8]:
        """Return the photo resized to the model's input, (S, wide * S, 3). Raises FootageError."""
        path = self._paths[index]
        if not self._exact:
            header = read_header(path)
            if header.format == "jpeg":
                wanted = (REDUCING_GAP * self._size[0], REDUCING_GAP * self._size[1])
                to_stored = back(header.orientation)
                photo, filled = stored_jpeg_at_least(path, turned_size(*wanted, to_stored))
                small = _shrunk(photo, filled, turned_size(*self._size, to_stored))
                return upright(small, header.orientation)
        return np.array(
            Image.fromarray(to_8_bit(decode(path, raw=self._raw).upright)).resize(self._size)
        )


def _shrunk(
    photo: NDArray[np.uint8], filled: tuple[float, float], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Resize a picture, (H, W, 3), as Pillow does by default, in a fifth of its time.

    Parameters
    ----------
    filled
        Width and height of the part of it that counts, from its top-left corner, px.
    size
        Width and height of the result, px.
    """
    # A little more, since the size of the result is rounded down.
    scale = [wanted / had * (1 + 1e-9) for wanted, had in zip(size, filled, strict=True)]
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None]  # (1, 3, H, W)
    small = functional.interpolate(
        pixels, scale_factor=(scale[1], scale[0]), mode="bicubic", antialias=True
    )
    found: NDArray[np.uint8] = small[0, :, : size[1], : size[0]].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(found)


def normalised(square: NDArray[np.uint8]) -> Tensor:
    """Turn an RGB picture (H, W, 3) into model input, (3, H, W) float32 on the CPU."""
    # Divide in float64 and round afterwards, as sam2's loader does.
    frame = torch.from_numpy(square / 255.0).permute(2, 0, 1).to(torch.float32)  # (3, H, W)
    frame = frame.contiguous()
    frame -= torch.tensor(MEAN, dtype=torch.float32)[:, None, None]  # (3, 1, 1)
    frame /= torch.tensor(STD, dtype=torch.float32)[:, None, None]  # (3, 1, 1)
    return frame
