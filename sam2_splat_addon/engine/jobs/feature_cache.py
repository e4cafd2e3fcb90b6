# SPDX-License-Identifier: GPL-3.0-or-later
"""Image features of the last photos, kept for previews."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ...core.errors import Cancelled, FootageError
from ...core.settings import RawSource
from ..images.frame_source import FrameSource, normalised
from ..refine.crops import CropReader, Part
from ..tracking.panorama import View, Views, seen
from ..tracking.sam2_adapter import ImageFeatures, Sam2Adapter

PhotoKey = tuple[str, int, int, int, RawSource, View | Part]
"""Path, size and time of a file; width of its frame and what a RAW gives (see `FrameSource`); the
view, or the part that is seen close up."""


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
        # Holds the photo that was last looked at close up, so that its parts are decoded once.
        self._reader: tuple[tuple[object, ...], CropReader] | None = None

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
        return Views(lambda view: self._seen(key, view, steps, dropped))

    def _seen(
        self, photo: PhotoKey, view: View, steps: Sam2Adapter, dropped: Callable[[], bool]
    ) -> ImageFeatures:
        key: PhotoKey = (*photo[:5], view)
        image = self.get(key)
        if image is None:
            path, _, _, wide, raw, _ = key
            side = steps.model.image_size
            source = FrameSource([Path(path)], side, wide=wide, exact=self._exact, raw=raw)
            frame = source[0]  # (3, S, wide * S)
            if dropped():
                raise Cancelled
            image = steps.encode(seen(frame, view))
            self.keep(key, image)
        return image

    def close_up(self, photo: str, part: Part, raw: RawSource, steps: Sam2Adapter) -> ImageFeatures:
        """Return the features of a part of an upright photo, not mirrored. Raises FootageError."""
        key = (*photo_key(photo, raw=raw)[:5], part)
        image = self.get(key)
        if image is None:
            if self._reader is None or self._reader[0] != key[:5]:
                self._reader = key[:5], CropReader([Path(photo)], steps.model.image_size, raw)
            image = steps.encode(normalised(self._reader[1].at(0, part)))
            self.keep(key, image)
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
