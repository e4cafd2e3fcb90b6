# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake one frame: decode the photo, make what is kept of it from the mattes, and have it written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.bake_plan import BakeItem, BakePlan
from ...core.errors import BakeError, DamagedPhoto, FootageError, StoreError
from ...core.footage.damaged_photos import DamagedFrame, read_damaged
from ...core.footage.file_stamps import Stamp, stamp_of
from ...core.footage.scan import hash_photos
from ...core.geometry.orientation import PhotoShape, back
from ...core.geometry.rasterize import fill
from ...core.mattes.store import MatteMark, MatteStore
from ...core.mattes.unfinished_run import void_keys
from ...core.protocol import BakeRequest, EditedMatte
from ..images.alpha import Depth, Layers, Mattes, combine_roles
from ..images.decode import ImagePixels, decode
from .bake_targets import TargetWriter
from .dataset import Dataset

if TYPE_CHECKING:
    from ..refine.edge_model import EdgeModel
    from .compare import ClipHull


class BakedMattes:
    """The mattes at the start of a bake. The bake uses exactly these, or fails.

    Attributes
    ----------
    marks
        (object id, frame) -> mark that identifies the matte. Only of objects that take part.
    unfinished
        Frames with a matte that is older than the last, unfinished run.
    damaged
        Frames with a damaged matte.
    """

    def __init__(
        self, request: BakeRequest, store: MatteStore, drawn: Collection[tuple[int, int]]
    ) -> None:
        self.marks: dict[tuple[int, int], MatteMark] = {}
        self.unfinished: set[int] = set()
        self.damaged: set[int] = set()
        chosen, void = request.options.objects, void_keys(store)
        for object_id in store.objects():
            if chosen and object_id not in chosen:
                continue
            for frame in store.frames(object_id):
                if (object_id, frame) in drawn:
                    continue  # the user's drawn matte replaces it
                mark = store.mark(object_id, frame)
                if mark is None:
                    self.damaged.add(frame)
                    continue
                self.marks[object_id, frame] = mark
                if void.get(object_id, {}).get(frame) == mark.key:
                    self.unfinished.add(frame)
        if self.damaged and not self.marks and not drawn:
            raise StoreError(
                f"All masks in {store.folder} are damaged.",
                "Press Propagate. It makes them again.",
            )

    def usable(self) -> dict[int, set[int]]:
        """Return, for every object, the frames that can be baked from its mattes."""
        usable: dict[int, set[int]] = {}
        for object_id, frame in self.marks:
            usable.setdefault(object_id, set())
            if frame not in self.unfinished:
                usable[object_id].add(frame)
        return usable


@dataclass(frozen=True)
class FrameBaker:
    """What all frames of one bake share, and what is done with each.

    Attributes
    ----------
    marks, edited
        (object id, frame) -> the matte in the store, or the matte that the user drew.
    seen
        See `looks`.
    writer
        Writes what was made of a frame.
    go_on
        Called several times for a frame. If it raises, the frame stops.
    net
        The model that refines edges, if they are refined.
    hulls
        Object id -> its hull, if masks are clipped to it.
    dataset
        The cameras of the photos, if there are any.
    """

    request: BakeRequest
    store: MatteStore
    marks: dict[tuple[int, int], MatteMark]
    edited: dict[tuple[int, int], EditedMatte]
    seen: dict[Path, Stamp | None]
    writer: TargetWriter
    go_on: Callable[[], None]
    net: EdgeModel | None
    hulls: Mapping[int, ClipHull]
    dataset: Dataset | None = None

    def bake(self, item: BakeItem) -> None:
        """Make the alpha of one frame, and write its images and masks. Runs in a thread of the pool."""
        pixels = self._decode(item) if self._needs_pixels(item) else None
        self.go_on()
        shape = self.request.footage.sizes.shape(item.frame)
        layers = self._layers(item, shape, pixels)
        if self.request.options.upright:
            pixels = None if pixels is None else pixels.turned()
        else:
            layers = layers.turned(back(shape.orientation))
        if pixels is not None and pixels.alpha is not None:
            # Transparent parts of the photo stay transparent.
            np.minimum(layers.kept, pixels.alpha, out=layers.kept)
        self.go_on()
        if self.dataset is not None:
            self.dataset.look(item.frame, layers, None if pixels is None else pixels.array)
        self.writer.write(item, pixels, layers)

    def _needs_pixels(self, item: BakeItem) -> bool:
        """Whether a photo must be decoded.

        A photo that is only linked need not be, if the propagation has found it whole.
        """
        if self.net is not None:
            return True
        if any(not one.is_photo or one.smaller for one in item.outputs):
            return True
        return not any((i, item.frame) in self.marks for i in item.objects)

    def known_damaged(self) -> dict[int, DamagedFrame]:
        """Return the damaged photos that the propagation found, among the frames asked for."""
        known = read_damaged(self.store.folder, self.request.footage.fingerprint)
        asked = self.request.options.frames
        return {frame: found for frame, found in known.items() if not asked or frame in asked}

    def _decode(self, item: BakeItem) -> ImagePixels:
        source, before = item.source, self.request.footage.sizes.of(item.frame)
        try:
            pixels = decode(
                source,
                exposure=self.request.options.exposure,
                raw=self.request.raw_photos,
            )
        except DamagedPhoto:
            raise
        except FootageError as problem:
            raise BakeError(
                problem.message,
                f"Put the photo back into {source.parent} or load the footage again, then bake.",
            ) from problem
        height, width = pixels.array.shape[:2]
        if (width, height) != before:
            raise BakeError(
                f"{item.name} is now {width}x{height}, but was {before[0]}x{before[1]} when the footage"
                " was loaded.",
                "Put that photo back, or load the footage again and propagate.",
            )
        self.require_same(source)
        return pixels

    def require_same(self, source: Path) -> None:
        """Raise BakeError if a photo has changed since the bake was started."""
        if _look(source) != self.seen[source]:
            raise BakeError(
                f"{source.name} changed after the bake was started. Its mask may not fit any more.",
                "Load the footage again and propagate, then bake.",
            )

    def _layers(self, item: BakeItem, shape: PhotoShape, pixels: ImagePixels | None) -> Layers:
        """Return what is kept and what is ignored. Without the photo, edges are not refined.

        Both are of the upright photo: so photos with a tag give the same as turned photos.
        """
        options = self.request.options
        kept = options.kept(item.objects)
        depth: Depth = 8 if pixels is None or pixels.array.dtype == np.uint8 else 16
        photo = None if pixels is None or self.net is None else pixels.upright
        return combine_roles(
            self._mattes(item, kept, shape, photo) if self._keeps_subjects else None,
            self._mattes(item, options.removed, shape, photo),
            self._mattes(item, options.ignored, shape, photo),
            *shape.upright,
            options,
            depth,
        )

    @property
    def _keeps_subjects(self) -> bool:
        """Whether some object is kept. If none is, the whole scene is."""
        options = self.request.options
        taking_part = options.objects or {i for i, _ in (*self.marks, *self.edited)}
        return bool(options.kept(taking_part))

    def _mattes(
        self,
        item: BakeItem,
        objects: Collection[int],
        shape: PhotoShape,
        photo: NDArray[Any] | None,
    ) -> Mattes:
        options = self.request.options
        logits, drawn, refined, limits = [], [], [], []
        for object_id in item.objects:
            if object_id not in objects:
                continue
            edited = self.edited.get((object_id, item.frame))
            if edited is None:
                mark = self.marks[object_id, item.frame]
                record = self.store.read(object_id, item.frame, mark)
                matte, hull = record.logits, self.hulls.get(object_id)
                # The user's own prompts win.
                limit = None if hull is None or record.prompted else hull.kept(item.frame)
                limits.append(None if limit is None else shape.mask_to_upright(limit))
                matte = np.ascontiguousarray(shape.mask_to_upright(matte))
                if self.net is not None and photo is not None:
                    from ..refine.edge_refine import refine

                    fine = refine(
                        photo,
                        matte,
                        soft=options.alpha == "soft",
                        model=self.net,
                        go_on=self.go_on,
                    )
                    refined.append(fine.alpha)
                else:
                    logits.append(matte)
                continue
            outlines = [
                shape.points_to_upright(np.array(flat).reshape(-1, 2)) for flat in edited.outlines
            ]
            drawn.append(fill(outlines, *shape.upright))
        return Mattes(logits, drawn, refined, limits)


def looks(request: BakeRequest, plan: BakePlan) -> dict[Path, Stamp | None]:
    """Return how the photos look outside, as they were for the fingerprint. None for a changed photo."""
    footage = request.footage
    photos = [Path(path) for path in footage.paths]
    looks = [_look(photo) for photo in photos]
    seen = dict(zip(photos, looks, strict=True))
    changed = {
        photo
        for photo, look, stamp in zip(photos, looks, footage.stamps, strict=False)
        if look is not None and look[1:] != stamp
    }
    # A copy or a backup changes a file's times, but not its contents.
    if changed and _fingerprint(Path(footage.folder), photos) != footage.fingerprint:
        seen |= dict.fromkeys(changed)
    return {item.source: seen[item.source] for item in plan.items}


def _fingerprint(folder: Path, photos: Collection[Path]) -> str:
    """Return the fingerprint of the photos in the folder as they are now.

    Empty if one can't be read. The decoder then reports it.
    """
    try:
        return hash_photos(folder, photos)
    except FootageError:
        return ""


def _look(photo: Path) -> Stamp | None:
    """Return how a photo looks from outside: size and times. None if it is gone; the decoder reports it."""
    try:
        return stamp_of(photo)
    except OSError:
        return None
