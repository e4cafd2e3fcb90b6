# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake mattes and edited mask layers to PNGs."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.bake_plan import BakeOptions, bake_name, next_output_folder
from ...core.errors import BakeError
from ...core.printable import with_warnings
from ...core.protocol import BakeRequest, FootageFiles
from ...core.settings import BakeSettings
from ...core.targets import TARGETS
from ..clip import clear_results, markers, matte_run, user_masks
from ..clip.user_masks import Drawn
from ..context import properties
from ..context.properties import SAM2SPLAT_PG_clip
from ..context.requests import cameras_place, chosen
from .job_task import JobTask, Steps


class BakeTask(JobTask):
    """Write images and masks for the chosen trainers into a new folder.

    Parameters
    ----------
    clip
        A clip after propagation.
    device, threads
        Where edges are refined, and how many photos are baked at once. 0 lets the machine decide.
    output_folder
        A folder that does not exist yet. None means the next version beside the photos,
        such as ``postshot_v001``.
    strict
        Fail at the first damaged photo, instead of leaving it out.
    cameras
        The file or folder of the photos' cameras. None takes what the clip's settings name, or what
        lies beside and above the photos.

    Raises (when made)
    ------------------
    SplatError
        No object is baked, or the packages are missing.
    """

    title = "Baking"

    def __init__(
        self,
        clip: bpy.types.MovieClip,
        *,
        device: str,
        threads: int,
        output_folder: Path | None = None,
        strict: bool = False,
        cameras: Path | None = None,
    ) -> None:
        super().__init__(clip)
        self._cameras = cameras
        self._strict = strict
        self._device, self._threads = device, threads
        self._options = _options(clip)
        self._wanted_folder = output_folder
        self.output_folder = output_folder or Path()

    def request(self, footage: FootageFiles, edited: Drawn) -> BakeRequest:
        """Return the request: all mattes, replaced by what the user drew."""
        clip, photos = self.clip(), Path(footage.folder)
        store = matte_run.own_store(clip, photos)
        clear_results.reconcile(clip)
        self.output_folder = self._wanted_folder or next_output_folder(
            bake_folder(clip, photos), bake_name(self._options.targets)
        )
        return BakeRequest(
            footage=footage,
            store=str(store.folder),
            output_folder=str(self.output_folder),
            options=self._options,
            edited=user_masks.as_mattes(clip, edited),
            threads=self._threads,
            device=self._device,
            strict=self._strict,
            cameras=str(self._cameras or cameras_place(properties.of_clip(clip))),
            raw_photos=properties.of_clip(clip).raw_photos,
        )

    def follow_up(self) -> Steps:
        """Store the folder of the images in the clip."""
        assert self._job is not None  # it has just ended
        if self.cancelled:
            self.summary = f"Cancelled. The finished images are in {self.output_folder}"
            return
        assert self._job.result is not None
        self.fraction = 1.0
        self.summary = with_warnings(self._job.result.summary, self.warnings)
        properties.of_clip(self.clip()).output_folder = str(self.output_folder)
        yield None


def bake_folder(clip: bpy.types.MovieClip, footage_folder: Path) -> Path:
    """Return the folder in which the next bake makes its own folder."""
    chosen = properties.of_clip(clip).bake_folder
    return Path(bpy.path.abspath(chosen)) if chosen else footage_folder


def chosen_targets(settings: SAM2SPLAT_PG_clip) -> tuple[str, ...]:
    """Return the names of the chosen trainers, in the order of their table."""
    return tuple(target.name for target in TARGETS if target.name in settings.targets)


def _options(clip: bpy.types.MovieClip) -> BakeOptions:
    settings: SAM2SPLAT_PG_clip = properties.of_clip(clip)
    ids = markers.sync_objects(clip)
    used = {
        ids[entry.name]: entry.role
        for entry in settings.objects
        if entry.use_in_bake and entry.name in ids
    }
    if ids and not used:
        raise BakeError(
            "No subject takes part in the bake.", "Switch one on in the list of subjects."
        )
    return BakeOptions(
        objects=tuple(sorted(used)),
        removed=tuple(sorted(i for i, role in used.items() if role == "remove")),
        ignored=tuple(sorted(i for i, role in used.items() if role == "ignore")),
        targets=chosen_targets(settings),
        **chosen(settings, BakeSettings),
    )
