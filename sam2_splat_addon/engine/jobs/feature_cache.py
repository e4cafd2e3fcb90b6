# SPDX-License-Identifier: GPL-3.0-or-later
"""Image features of the last photos, kept for previews."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ...core.errors import Cancelled, FootageError
from ...core.settings import RawSource
from ..images.frame_source import FrameSource
from ..tracking.panorama import View, Views, seen
from ..tracking.sam2_adapter import ImageFeatures, Sam2Adapter

PhotoKey = tuple[str, int, int, int, RawSource, View]
"""Path, size and time of a file; width of its frame and what a RAW gives (see `FrameSource`); the
view."""


class FeatureCache:
    """Keep the features of the last photos. Position encodings are kept only once.

    Parameters
    ----------
    limit
        Most bytes that the features may take. The last photo is always kept.
    exact
        How photos are read, as in `FrameSource`.
    """

    def __init__(self, limit: int, *, exact: bool) -> None:
        self._limit = limit
        self._exact = exact
        self._maps: OrderedDict[PhotoKey, tuple[list[Tensor], list[tuple[int, int]]]] = (
            OrderedDict()
        )
        self._positions: list[Tensor] = []

    def views(
        self,
        photo: str,
        wide: int,
        raw: RawSource,
        steps: Sam2Adapter,
        dropped: Callable[[], bool],
    ) -> Views:
        """Return a photo in all its views. Each view is read and encoded on demand, unless it is kept.

        Raises FootageError. Raises Cancelled when ``dropped`` returns True between reading and
        encoding. Both also apply when a view is taken from the result.
        """
        key = photo_key(photo, wide, raw)
        return Views(lambda view: self.of((*key[:5], view), steps, dropped))

    def of(self, photo: PhotoKey, steps: Sam2Adapter, dropped: Callable[[], bool]) -> ImageFeatures:
        """Return the features of one view of a photo. Otherwise as `views`."""
        image = self.get(photo)
        if image is None:
            side, wide = steps.model.image_size, photo[3]
            source = FrameSource([Path(photo[0])], side, wide=wide, exact=self._exact, raw=photo[4])
            frame = source[0]  # (3, S, wide * S)
            if dropped():
                raise Cancelled
            image = steps.encode(seen(frame, photo[5]))
            self.keep(photo, image)
        return image

    def get(self, key: PhotoKey) -> ImageFeatures | None:
        """Return the kept features of a photo, or None."""
        if key not in self._maps:
            return None
        self._maps.move_to_end(key)
        maps, sizes = self._maps[key]
        return ImageFeatures(maps, self._positions, sizes)

    def keep(self, key: PhotoKey, image: ImageFeatures) -> None:
        """Keep these features, and remove the oldest others if they need too much room."""
        # Position encodings are larger than the maps, and depend only on the model's input size.
        self._positions = image.positions
        self._maps[key] = (image.maps, image.sizes)
        while len(self._maps) > 1 and self._bytes() > self._limit:
            self._maps.popitem(last=False)

    def _bytes(self) -> int:
        return sum(entry.nbytes for maps, _ in self._maps.values() for entry in maps)


def photo_key(photo: str, wide: int = 1, raw: RawSource = "developed") -> PhotoKey:
    """Return the key of the unrolled photo. A photo that changes gets a new key, so it is read again."""
    try:
        status = Path(photo).stat()
    except OSError as error:
        raise FootageError(
            f"{Path(photo).name} can't be read: {error.strerror}.",
            "Put the photo back, or load the footage again.",
        ) from error
    return (photo, status.st_size, status.st_mtime_ns, wide, raw, View())
