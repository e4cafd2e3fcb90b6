# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of the photos of one capture, and how each is turned upright.

Most photos have the same size; portrait photos or another camera's differ. And a camera that is held
in another way stores the same size with another EXIF orientation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

import msgspec

from ..geometry.orientation import AS_STORED, PhotoShape, turned_size

Size = tuple[int, int]
"""(width, height), px."""

_Kind = TypeVar("_Kind", bound=Hashable)


class PhotoSizes(msgspec.Struct, frozen=True):
    """Sizes of photos in stored pixel order, px.

    Attributes
    ----------
    width, height
        Size of every photo that is not among the odd ones.
    odd
        Frame, from 1 -> (width, height) of each photo with another size.
    orientation
        EXIF orientation of every photo that has no own turn.
    turns
        Frame -> EXIF orientation of each photo with another one.
    """

    width: int
    height: int
    odd: dict[int, Size] = {}
    orientation: int = AS_STORED
    turns: dict[int, int] = {}

    @classmethod
    def among(cls, shapes: Iterable[PhotoShape]) -> PhotoSizes:
        """Make it from the shape of every photo, frame 1 first. There is at least one.

        The most common size is the usual one. If two are as common, it is the one that comes first.
        The usual orientation is one that makes most photos of this size equally large.
        """
        every = list(shapes)
        sizes = [(shape.width, shape.height) for shape in every]
        usual = _most_common(sizes)
        of_size = [shape for shape in every if (shape.width, shape.height) == usual]
        upright = _most_common([shape.upright for shape in of_size])
        orientation = _most_common(
            [shape.orientation for shape in of_size if shape.upright == upright]
        )
        return cls(
            *usual,
            {at: size for at, size in enumerate(sizes, start=1) if size != usual},
            orientation,
            {
                at: shape.orientation
                for at, shape in enumerate(every, start=1)
                if shape.orientation != orientation
            },
        )

    def of(self, frame: int) -> Size:
        """Return the (width, height) of the photo on a frame."""
        return self.odd.get(frame, (self.width, self.height))

    def shape(self, frame: int) -> PhotoShape:
        """Return the size of the photo on a frame, and how it is turned upright."""
        return PhotoShape(*self.of(frame), self.turns.get(frame, self.orientation))

    @property
    def upright(self) -> PhotoSizes:
        """The sizes of the photos after they are turned upright."""
        usual = turned_size(self.width, self.height, self.orientation)
        every = {frame: self.shape(frame).upright for frame in {*self.odd, *self.turns}}
        return PhotoSizes(*usual, {at: size for at, size in every.items() if size != usual})

    @property
    def are_as_stored(self) -> bool:
        """Whether all photos are stored upright."""
        return self.orientation == AS_STORED and not self.turns

    @property
    def are_possible(self) -> bool:
        """Whether these can be sizes and orientations of photos. A file may be damaged."""
        sides = [self.width, self.height, *(side for size in self.odd.values() for side in size)]
        return min(sides) > 0 and {self.orientation, *self.turns.values()} <= {*range(1, 9)}

    @property
    def most_pixels(self) -> int:
        """The number of pixels of the largest photo."""
        return max(
            width * height for width, height in ((self.width, self.height), *self.odd.values())
        )


def _most_common(those: list[_Kind]) -> _Kind:
    return Counter(those).most_common(1)[0][0]
