# SPDX-License-Identifier: GPL-3.0-or-later
"""The exact place of the photo in a Clip Editor's region.

Blender's ``view_to_region`` rounds to whole pixels, but ``region_to_view`` does not. The view scales
evenly, so two corners of the region are enough to know it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class FrameView:
    """The linear map between px of a region (from its bottom left) and px of the photo (from its top left).

    Attributes
    ----------
    scale, offset
        From region px to (u, v), which is (0, 0) at the photo's bottom left corner and (1, 1) at the top
        right corner.
    width, height
        The photo's size, px.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    width: int
    height: int

    @classmethod
    def of(cls, region: bpy.types.Region, clip: bpy.types.MovieClip) -> FrameView:
        """Measure the view of a region that was drawn."""
        # Two points far apart, so that the rounding of float32 does not matter.
        left, low = region.view2d.region_to_view(0.0, 0.0)
        right, high = region.view2d.region_to_view(region.width, region.height)
        return cls(
            ((right - left) / region.width, (high - low) / region.height),
            (left, low),
            int(clip.size[0]),
            int(clip.size[1]),
        )

    @property
    def zoom(self) -> float:
        """Width of one px of the photo, in px of the screen."""
        return 1.0 / (abs(self.scale[0]) * self.width)

    def seen(self, region: bpy.types.Region) -> tuple[int, int, int, int] | None:
        """Return left, top, right and bottom of what a region shows, whole px of the photo.

        None if it shows nothing of the photo.
        """
        left, top = self.to_pixel(0.0, float(region.height))
        right, bottom = self.to_pixel(float(region.width), 0.0)
        x0, x1 = max(math.floor(left), 0), min(math.ceil(right), self.width)
        y0, y1 = max(math.floor(top), 0), min(math.ceil(bottom), self.height)
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def of_part(
        self, part: tuple[int, int, int, int], size: tuple[int, int] | None = None
    ) -> FrameView:
        """Return the same view of a part of the photo, as if the part was the photo.

        Parameters
        ----------
        part
            Left, top, right and bottom, px.
        size
            Its width and height, px, if it is measured in other px.
        """
        left, top, right, bottom = part
        across, down = (right - left) / self.width, (bottom - top) / self.height
        begin = (left / self.width, 1.0 - bottom / self.height)
        return FrameView(
            (self.scale[0] / across, self.scale[1] / down),
            ((self.offset[0] - begin[0]) / across, (self.offset[1] - begin[1]) / down),
            *(size or (right - left, bottom - top)),
        )

    def to_pixel(self, x: float, y: float) -> tuple[float, float]:
        """Convert region px to px of the photo."""
        u, v = x * self.scale[0] + self.offset[0], y * self.scale[1] + self.offset[1]
        return u * self.width, (1.0 - v) * self.height

    def to_region(self, x: float, y: float) -> tuple[float, float]:
        """Convert px of the photo to region px."""
        u, v = x / self.width, 1.0 - y / self.height
        return (u - self.offset[0]) / self.scale[0], (v - self.offset[1]) / self.scale[1]
