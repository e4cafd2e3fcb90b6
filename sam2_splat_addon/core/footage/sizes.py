# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of the photos of one capture. Most have the same; portrait photos or another camera's differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

Size = tuple[int, int]
"""(width, height), px."""


class PhotoSizes(msgspec.Struct, frozen=True):
    """Sizes of photos in stored pixel order, px.

    Attributes
    ----------
    width, height
        Size of every photo that is not among the odd ones.
    odd
        Frame, from 1 -> (width, height) of each photo with another size.
    """

    width: int
    height: int
    odd: dict[int, Size] = {}

    @classmethod
    def among(cls, sizes: Iterable[Size]) -> PhotoSizes:
        """Make it from the size of every photo, frame 1 first. There is at least one.

        The most common size is the usual one. If two are as common, it is the one that comes first.
        """
        every = list(sizes)
        usual = Counter(every).most_common(1)[0][0]
        return cls(*usual, {at: size for at, size in enumerate(every, start=1) if size != usual})

    def of(self, frame: int) -> Size:
        """Return the (width, height) of the photo on a frame."""
        return self.odd.get(frame, (self.width, self.height))

    @property
    def most_pixels(self) -> int:
        """The number of pixels of the largest photo."""
        return max(
            width * height for width, height in ((self.width, self.height), *self.odd.values())
        )
