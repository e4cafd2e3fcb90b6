# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the photo lies in a Clip Editor's region, exactly; imports bpy.

Blender's own ``view_to_region`` rounds to whole pixels; the way back does not, and the view is an
even scaling, so two corners of the region give all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class FrameView:
    """The even map between a region's px (origin bottom left) and the footage's px (top left).

    Attributes
    ----------
    scale, offset
        From region px to (u, v), which is (0, 0) at the photo's bottom left corner and (1, 1) at its
        top right one.
    width, height
        The footage's size, px.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    width: int
    height: int

    @classmethod
    def of(cls, region: bpy.types.Region, clip: bpy.types.MovieClip) -> FrameView:
        """The view of a drawn region."""
        # Far apart, so that float32 costs nothing.
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
        """How many px of the screen a px of the photo is wide."""
        return 1.0 / (abs(self.scale[0]) * self.width)

    def to_pixel(self, x: float, y: float) -> tuple[float, float]:
        """Region px to footage px."""
        u, v = x * self.scale[0] + self.offset[0], y * self.scale[1] + self.offset[1]
        return u * self.width, (1.0 - v) * self.height

    def to_region(self, x: float, y: float) -> tuple[float, float]:
        """Footage px to region px."""
        u, v = x / self.width, 1.0 - y / self.height
        return (u - self.offset[0]) / self.scale[0], (v - self.offset[1]) / self.scale[1]
