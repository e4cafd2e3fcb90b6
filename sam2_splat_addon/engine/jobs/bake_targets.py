# SPDX-License-Identifier: GPL-3.0-or-later
"""Write one frame of a bake for all its trainers: images, masks and smaller copies."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.bake_plan import BakeItem, BakeOptions, BakeOutput
from ...core.errors import BakeError, FootageError
from ...core.geometry.orientation import AS_STORED, back
from ...core.protocol import BakeRequest
from ...core.system.atomic_file import FolderSync
from ...core.targets import targets_named
from ..images.alpha import Layers, mask_values
from ..images.decode import ImagePixels
from ..images.orientation_tag import exif_with
from ..images.png import ColorWriting, write_grey, write_rgb, write_rgba
from ..images.raw import read_header
from ..images.smaller import halved_mask, write_smaller
from ..images.upright import upright

_STRIPE_ROWS = 256
# The extensions of photos that every trainer reads. The first one is given to photos with another one.
_EXTENSIONS = {"jpeg": (".jpg", ".jpeg"), "png": (".png",)}


def linkable(options: BakeOptions, sources: Collection[Path]) -> dict[int, str]:
    """Return the frames whose photo every trainer reads as it is, with its extension.

    These are JPEGs and PNGs in RGB with 8 bits and without transparency. Trainers read other photos in
    different ways, or not at all. A photo that is to be turned is none of them.
    """
    if not any(target.images == "photos" for target in targets_named(options.targets)):
        return {}
    found = {}
    for frame, path in enumerate(sources, start=1):
        try:
            header = read_header(path)
        except FootageError:
            continue  # the decoder reports it
        plain = header.color == "rgb" and header.bit_depth == 8 and not header.has_alpha
        plain = plain and not (options.upright and header.orientation != AS_STORED)
        extensions = _EXTENSIONS.get(header.format, ())
        if plain and extensions:
            own = path.suffix
            found[frame] = own if own.lower() in extensions else extensions[0]
    return found


class TargetWriter:
    """Writes frames for the targets of one bake. For any thread.

    Parameters
    ----------
    request
        The bake.
    go_on
        Called several times while writing. If it raises, writing stops.

    Attributes
    ----------
    folders
        Collects the folders of what is written, until `flush`.
    """

    def __init__(self, request: BakeRequest, go_on: Callable[[], None]) -> None:
        self._request = request
        self._go_on = go_on
        self.folders = FolderSync()
        self._always_ignored: NDArray[np.bool_] | None = None
        self._lock = threading.Lock()

    @property
    def always_ignored(self) -> NDArray[np.bool_] | None:
        """Where all frames so far are ignored, (height, width). None: no frame has been asked."""
        return self._always_ignored

    @contextlib.contextmanager
    def synced(self) -> Iterator[None]:
        """Make sure that everything is on the disk when this ends, even after an error."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to report
                self.folders.flush()
            raise
        self.flush()

    def flush(self) -> None:
        """Make sure that all images so far are on the disk with their names; raises BakeError."""
        with said_as_bake_error(Path(self._request.output_folder)):
            self.folders.flush()

    def write(self, item: BakeItem, pixels: ImagePixels | None, layers: Layers) -> None:
        """Write the images and masks of one frame. If one can't be written, none of them stays.

        Parameters
        ----------
        pixels
            The photo; None if none of its images is made from pixels.
        layers
            What is kept and ignored, of the same orientation as the images.

        Raises
        ------
        BakeError
            A file can't be written.
        """
        has_camera_mask = any(one.target.has_camera_mask for one in item.outputs)
        if self._request.options.ignored and has_camera_mask:
            self._note_ignored(layers)
        written: list[Path] = []
        try:
            for output in item.outputs:
                self._write(output, pixels, layers, self._over_photo(item, output), written)
        except BaseException:
            for path in written:  # a mask is useless without its image
                path.unlink(missing_ok=True)
            raise

    def _over_photo(self, item: BakeItem, output: BakeOutput) -> int:
        """Return the orientation that brings a mask from the images to the photos that it lies over."""
        options = self._request.options
        is_sidecar = not output.target.has_masks
        if options.upright and is_sidecar and options.sidecar_masks == "colmap_photos":
            return back(self._request.footage.sizes.shape(item.frame).orientation)
        return AS_STORED

    def _note_ignored(self, layers: Layers) -> None:
        """Keep what is ignored on this frame and on all before it."""
        here = layers.ignored
        if here is None:
            here = np.zeros(layers.kept.shape, dtype=np.bool_)
        self.hear_ignored(here)

    def hear_ignored(self, here: NDArray[np.bool_]) -> None:
        """Take into account what is ignored on other frames, (height, width)."""
        with self._lock:
            before = self._always_ignored
            if before is None:
                self._always_ignored = here.copy()
            elif before.shape == here.shape:
                np.logical_and(before, here, out=before)
            else:
                before[:] = False  # photos of other sizes share no mask

    def _write(
        self,
        output: BakeOutput,
        pixels: ImagePixels | None,
        layers: Layers,
        mask_turn: int,
        written: list[Path],
    ) -> None:
        """Write one frame for one target; add what is written to a list."""
        target = output.target
        if output.mask is not None:
            # The option *Mask Files* gives a target masks that its row does not have.
            hard = target.is_hard and target.has_masks
            values = upright(mask_values(layers, target.bands, hard=hard), mask_turn)
            with said_as_bake_error(output.mask):
                write_grey(output.mask, values, go_on=self._go_on, folders=self.folders)
            written.append(output.mask)
            for one in output.smaller:
                values = halved_mask(values)
                with said_as_bake_error(one.mask):
                    write_grey(one.mask, values, go_on=self._go_on, folders=self.folders)
                written.append(one.mask)
        if pixels is None:
            return
        if not output.is_photo:
            with said_as_bake_error(output.image):
                self._write_image(output, pixels, layers)
            written.append(output.image)
        rgb = pixels.array
        for one in output.smaller:
            self._go_on()
            with said_as_bake_error(one.image):
                rgb = write_smaller(one.image, rgb, pixels.icc, folders=self.folders)
            written.append(one.image)

    def _write_image(self, output: BakeOutput, pixels: ImagePixels, layers: Layers) -> None:
        images, rgb, alpha = output.target.images, pixels.array, layers.kept
        if images in ("rgba_black", "black") or (
            images == "rgba" and self._request.options.black_rgb
        ):
            rgb = _premultiplied(rgb, alpha)
        orientation = AS_STORED if output.target.turns_by_tag else pixels.orientation
        how: ColorWriting = {
            "icc": pixels.icc,
            "exif": exif_with(pixels.exif, orientation),
            "xmp": pixels.xmp,
            "chunks": pixels.chunks,
            "go_on": self._go_on,
            "folders": self.folders,
        }
        if images in ("rgba", "rgba_black"):
            write_rgba(output.image, rgb, alpha, **how)
        else:
            write_rgb(output.image, rgb, **how)


def _premultiplied(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Multiply the colours by alpha, rounded to the nearest value."""
    out = np.empty_like(rgb)
    full = int(np.iinfo(rgb.dtype).max)
    for top in range(0, rgb.shape[0], _STRIPE_ROWS):
        rows = slice(top, top + _STRIPE_ROWS)
        product = rgb[rows].astype(np.uint32) * alpha[rows, :, None]
        out[rows] = (product + full // 2) // full
    return out


@contextlib.contextmanager
def said_as_bake_error(path: Path) -> Iterator[None]:
    """Raise a BakeError in place of an OSError about a file that is written."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message = f"The disk is full: {path.name} could not be written."
            fix = f"Free some space on the disk of {path.parent}, then bake again."
        elif problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = f"The folder {path.parent} can't be written to."
            fix = "Allow writing there, or copy the photos to a folder of your own."
        elif problem.errno == errno.ENOENT:
            message = f"The folder {path.parent} is gone."
            fix = "Put it back, or load the footage from where it is now."
        else:
            message = f"{path} could not be written: {problem.strerror or problem}."
            fix = "Check the disk, then bake again."
        raise BakeError(message, fix) from problem
