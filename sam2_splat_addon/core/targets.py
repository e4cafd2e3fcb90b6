# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainers that a bake writes for, as one table.

A row says where a trainer looks for images and masks, what they are called, and what their values mean.
The plan (`bake_plan.py`), the bake (`engine/jobs/bake.py`), Blender's panel, the overlay and the command
line read this table and know no trainer by name. A new trainer is a new row at the end, and a section of
docs/trainers.md.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from .errors import BakeError

Images = Literal["photos", "rgba", "rgba_black", "black"]
"""How the images of a target are made.

``photos``: the photos themselves, linked or copied. ``rgba``: the mask is the alpha. ``rgba_black``: also
the colours are multiplied by it. ``black``: only the colours, black where nothing is kept.
"""
Cameras = Literal["colmap", "nerfstudio"]
Masked = Literal["empty", "ignored"]
"""What a trainer makes of the part that is not kept: nothing may be there, or it is not looked at."""

KEPT: Final = 255
NOT_KEPT: Final = 0
DEFAULT: Final = "postshot"
SEVERAL: Final = "bake"
"""The name of a bake for several targets."""


@dataclass(frozen=True)
class Bands:
    """The values of a mask file where the photo is kept, removed, and ignored."""

    keep: int = KEPT
    remove: int = NOT_KEPT
    ignore: int = NOT_KEPT


WHITE_KEPT: Final = Bands()
WHITE_MASKED: Final = Bands(keep=NOT_KEPT, remove=KEPT, ignore=KEPT)


@dataclass(frozen=True)
class Target:
    """One trainer, or one way to use it.

    Attributes
    ----------
    name
        On the command line, in manifests and in the names of folders.
    label, text
        Name and tooltip in Blender.
    source
        Where its rule is written down.
    images
        See `Images`.
    images_folder
        Below the target's own folder; empty means there.
    mask
        The name of a photo's mask. ``{name}`` is the image's file name, ``{stem}`` is that without its
        extension. Empty: no masks. Subfolders of the photos are the same for images and masks.
    masks_folder
        As ``images_folder``. If both are the same, the masks lie beside the images.
    bands
        What the values mean.
    masked
        What becomes of the part that is not kept. If the bands of *remove* and *ignore* differ, only
        what is ignored is not looked at.
    is_hard
        Whether masks have only these values. Trainers that treat each grey as kept need it, and masks
        with three bands: a soft edge between two bands would cross the third one.
    pyramid
        Smaller copies of images and masks, such as half: folders ``images_2`` and ``masks_2``.
    has_camera_mask
        Whether one more mask, ``camera_mask.png``, has what is ignored on all photos.
    cameras
        The format of its camera files.
    cameras_folder
        Where COLMAP's files go, below the target's folder.
    turns_by_tag
        Whether the trainer turns images by their EXIF orientation. Its images then have no such tag,
        because cameras are for stored pixels. Others read stored pixels, whatever the tag says.
    """

    name: str
    label: str
    text: str
    source: str
    images: Images = "photos"
    images_folder: str = "images"
    mask: str = ""
    masks_folder: str = "masks"
    bands: Bands = WHITE_KEPT
    masked: Masked = "ignored"
    is_hard: bool = True
    pyramid: tuple[int, ...] = ()
    has_camera_mask: bool = False
    cameras: Cameras = "colmap"
    cameras_folder: str = "sparse/0"
    turns_by_tag: bool = False

    @property
    def has_masks(self) -> bool:
        """Whether it reads mask files."""
        return bool(self.mask)

    @property
    def has_three_bands(self) -> bool:
        """Whether its masks tell what is removed from what is ignored."""
        return self.has_masks and self.bands.ignore != self.bands.remove

    @property
    def can_ignore(self) -> bool:
        """Whether it can leave a part of a photo out of the training."""
        return self.has_three_bands or self.masked == "ignored"

    def mask_of(self, image: str) -> str:
        """Return the mask of an image. Both are paths below the target's folder, with "/"."""
        path = PurePosixPath(image)
        below = path.relative_to(self.images_folder) if self.images_folder else path
        name = self.mask.format(name=path.name, stem=path.stem)
        return str(PurePosixPath(self.masks_folder, *below.parts[:-1], name))


_DOCS: Final = "https://www.jawset.com/docs/d/Postshot+User+Guide"
_GITHUB: Final = "https://github.com"

TARGETS: Final[tuple[Target, ...]] = (
    Target(
        "postshot",
        "Postshot",
        "PNGs with the mask as their alpha, to import in place of the photos",
        f"{_DOCS}/Importing+Images",
        images="rgba",
        images_folder="",
        masked="empty",
    ),
    Target(
        "postshot_background",
        "Postshot (Remove Background)",
        "The photos with masks, for Postshot's mask mode Remove Background",
        f"{_DOCS}/Interface/Training+Configuration",
        mask="{stem}.png",
        is_hard=False,
        masked="empty",
    ),
    Target(
        "postshot_occluders",
        "Postshot (Remove Occluders)",
        "The photos with masks, for Postshot's mask mode Remove Occluders: white is not trained",
        f"{_DOCS}/Interface/Training+Configuration",
        mask="{stem}.png",
        bands=WHITE_MASKED,
        is_hard=False,
    ),
    Target(
        "lichtfeld",
        "LichtFeld Studio",
        "The photos with masks in three greys, for its mask mode Segment and Ignore",
        f"{_GITHUB}/MrNeRF/LichtFeld-Studio/pull/1314",
        mask="{stem}.png",
        # Up to 128 ignored, up to 250 removed, above that kept. The middle of each band.
        bands=Bands(keep=255, remove=190, ignore=0),
        masked="empty",
    ),
    Target(
        "brush",
        "Brush",
        "PNGs with the mask as their alpha: what is removed is learned as transparent",
        f"{_GITHUB}/ArthurBrussee/brush",
        images="rgba",
        masked="empty",
    ),
    Target(
        "brush_masks",
        "Brush (Masks)",
        "The photos with masks: what is black is not trained",
        f"{_GITHUB}/ArthurBrussee/brush",
        mask="{stem}.png",
        is_hard=False,
    ),
    Target(
        "colmap",
        "COLMAP",
        "The photos with masks for feature extraction, where the mask of a.jpg is a.jpg.png",
        "https://colmap.github.io/faq.html#mask-image-regions",
        mask="{name}.png",
        has_camera_mask=True,
    ),
    Target(
        "nerfstudio",
        "nerfstudio",
        "The photos with masks, and both smaller, for Splatfacto and Nerfacto",
        "https://docs.nerf.studio/quickstart/data_conventions.html",
        mask="{stem}.png",
        pyramid=(2, 4, 8),
        cameras="nerfstudio",
    ),
    Target(
        "3dgrut",
        "3DGRUT",
        "The photos with masks beside them, for 3DGRUT and ncore",
        f"{_GITHUB}/nv-tlabs/3dgrut",
        mask="{stem}_mask.png",
        masks_folder="images",
    ),
    Target(
        "fvdb",
        "fVDB Reality Capture",
        "The photos with masks in the same folders",
        f"{_GITHUB}/openvdb/fvdb-reality-capture/issues/206",
        mask="{stem}.png",
    ),
    Target(
        "realityscan",
        "RealityScan",
        "The photos with masks beside them, where the mask of a.jpg is a.jpg.mask.png",
        "https://rshelp.capturingreality.com/en-US/tools/layers.htm",
        images_folder="",
        mask="{name}.mask.png",
        masks_folder="",
    ),
    Target(
        "metashape",
        "Metashape",
        "The photos with masks, for Import Masks with the template {filename}_mask.png",
        "https://agisoft.freshdesk.com/support/solutions/articles/31000153479",
        mask="{stem}_mask.png",
    ),
    Target(
        "openmvs",
        "OpenMVS",
        "The photos with masks beside them, where the mask of a.jpg is a.mask.png",
        f"{_GITHUB}/cdcseacave/openMVS/issues/918",
        mask="{stem}.mask.png",
        masks_folder="images",
    ),
    Target(
        "instant_ngp",
        "instant-ngp",
        "The photos with masks beside them, where white is not trained",
        f"{_GITHUB}/NVlabs/instant-ngp/blob/master/docs/nerf_dataset_tips.md",
        mask="dynamic_mask_{stem}.png",
        masks_folder="images",
        bands=WHITE_MASKED,
        cameras="nerfstudio",
    ),
    Target(
        "gsplat",
        "gsplat",
        "PNGs with a black background, since its simple trainer reads no masks",
        f"{_GITHUB}/nerfstudio-project/gsplat",
        images="black",
        masked="empty",
    ),
    Target(
        "opensplat",
        "OpenSplat",
        "PNGs with a black background, since it reads no masks",
        f"{_GITHUB}/pierotofy/OpenSplat",
        images="black",
        turns_by_tag=True,
        masked="empty",
    ),
    Target(
        "inria",
        "3D Gaussian Splatting (INRIA)",
        "PNGs with the mask as their alpha and a black background",
        f"{_GITHUB}/graphdeco-inria/gaussian-splatting/issues/127",
        images="rgba_black",
        masked="empty",
    ),
)
"""All targets. A .blend file stores places in this table, so a new row goes to the end."""

TARGETS_BY_NAME: Final = {target.name: target for target in TARGETS}


def target_named(name: str) -> Target:
    """Return the target with this name; raises BakeError if there is none."""
    try:
        return TARGETS_BY_NAME[name]
    except KeyError:
        raise BakeError(
            f"There is no trainer called {name!r}.", f"Choose from {', '.join(TARGETS_BY_NAME)}."
        ) from None


def targets_named(names: Collection[str]) -> tuple[Target, ...]:
    """Return the targets with these names, each once, in the order of the table.

    Raises
    ------
    BakeError
        A name is not in the table, or there are none.
    """
    found = {target_named(name) for name in names}
    if not found:
        raise BakeError("No trainer is chosen.", "Choose one under Trainers.")
    return tuple(target for target in TARGETS if target in found)
