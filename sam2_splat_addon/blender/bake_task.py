# SPDX-License-Identifier: GPL-3.0-or-later
"""The bake from mattes and edited mask layers to PNGs; imports bpy, core and client."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..core.bake_plan import BakeOptions, next_output_folder
from ..core.errors import BakeError
from ..core.protocol import BakeRequest, EditedMatte, FootageFiles
from . import clip_prompts
from .footage_clip import footage_of, store_folder
from .job_task import JobTask, with_warnings
from .properties import SAM2SPLAT_PG_clip
from .result_layers import drawn_frames


class BakeTask(JobTask):
    """Writes one RGBA PNG a photo into a new folder.

    Parameters
    ----------
    clip
        A propagated clip.
    output_folder
        A folder that does not exist yet; None is the next ``postshot_vNNN`` beside the photos.

    Raises (when made)
    ------------------
    SplatError
        Nothing to bake, footage gone, output folder there already.
    """

    title = "Baking"

    def __init__(self, clip: bpy.types.MovieClip, output_folder: Path | None = None) -> None:
        footage = footage_of(clip)
        self.output_folder = output_folder or next_output_folder(bake_folder(clip, footage.folder))
        request = BakeRequest(
            footage=FootageFiles.of(footage),
            store=str(store_folder(clip, footage)),
            output_folder=str(self.output_folder),
            options=_options(clip),
            edited=edited_mattes(clip),
        )
        super().__init__(clip, request)

    def step(self, deadline: float) -> bool:
        if not super().step(deadline):
            return False
        if self.cancelled:
            self.summary = f"Cancelled; the images that were finished are in {self.output_folder}"
            return True
        assert self._job.result is not None
        self.fraction = 1.0
        self.summary = with_warnings(self._job.result.summary, self.warnings)
        self.clip().sam2_splat.output_folder = str(self.output_folder)
        return True


def bake_folder(clip: bpy.types.MovieClip, footage_folder: Path) -> Path:
    """The folder that the next bake's own folder will be in."""
    chosen = clip.sam2_splat.bake_folder
    return Path(bpy.path.abspath(chosen)) if chosen else footage_folder


def _options(clip: bpy.types.MovieClip) -> BakeOptions:
    settings: SAM2SPLAT_PG_clip = clip.sam2_splat
    ids = clip_prompts.sync_objects(clip)
    chosen = [ids[e.name] for e in settings.objects if e.use_in_bake and e.name in ids]
    if ids and not chosen:
        raise BakeError(
            "No object takes part in the bake.", "Switch one on in the list of objects."
        )
    return BakeOptions(
        alpha=settings.alpha,
        invert=settings.invert,
        grow_px=settings.grow_px,
        feather_px=settings.feather_px,
        fill_holes_px=settings.fill_holes_px,
        drop_specks_px=settings.drop_specks_px,
        objects=tuple(sorted(chosen)),
        black_rgb=settings.black_rgb,
        sidecar_masks=settings.sidecar_masks,
        exposure=settings.exposure,
    )


def edited_mattes(clip: bpy.types.MovieClip) -> tuple[EditedMatte, ...]:
    """What the user drew on any frame: it wins over the model."""
    mask = clip.sam2_splat.mask
    if mask is None:
        return ()
    found = []
    for name, object_id in clip_prompts.sync_objects(clip).items():
        for frame, outlines in drawn_frames(clip, mask, name).items():
            flat = tuple(tuple(outline.ravel().tolist()) for outline in outlines)
            found.append(EditedMatte(object_id, frame, flat))
    return tuple(found)
