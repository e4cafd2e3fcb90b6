# SPDX-License-Identifier: GPL-3.0-or-later
"""Propose clicks on the subject, from the cameras alone (`agreement.subject`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...core.errors import Cancelled, DamagedPhoto
from ...core.footage.scan import shorten
from ...core.printable import counted
from ...core.prompts import FramePrompts, ObjectPrompts, PromptSet
from ...core.protocol import (
    FindSubjectRequest,
    FootageFiles,
    Log,
    ModelChoice,
    PreviewRequest,
    Progress,
)
from ...core.settings import RunSettings
from ..agreement.subject import find_subject
from . import preview
from .compare import cameras_for

_STEPS: Final = 120
"""About how many steps it takes, for the progress bar."""


@dataclass(frozen=True)
class FindReport:
    """What was found.

    Attributes
    ----------
    summary
        One sentence for the user.
    prompts
        Clicks of one subject, with the id 1.
    warnings
        What the user should check.
    """

    summary: str
    prompts: PromptSet
    warnings: tuple[str, ...] = ()


def run(
    request: FindSubjectRequest,
    on_progress: Callable[[Progress], None],
    on_log: Callable[[Log], None],
    cancelled: Callable[[], bool],
    image_size: int = 0,
) -> FindReport:
    """Propose clicks on the subject.

    Raises
    ------
    CameraError
        There are no cameras of these photos, they look at no one place, or nothing stands there.
    SplatError
        The model, the device or a photo are wrong.
    Cancelled
        ``cancelled`` returned True.
    """
    footage = request.footage
    cameras = cameras_for(footage, request.cameras, request.store)
    on_log(Log("info", cameras.summary()))
    damaged: list[str] = []
    done = 0

    def go_on() -> None:
        nonlocal done
        if cancelled():
            raise Cancelled
        done = min(done + 1, _STEPS - 1)
        on_progress(Progress("finding", done, _STEPS))

    def segment(prompts: FramePrompts) -> NDArray[np.float16] | None:
        name = footage.name_of(prompts.frame)
        if name in damaged:
            return None
        try:
            return mask_of(footage, prompts, request.model, request.settings, cancelled, image_size)
        except DamagedPhoto:
            damaged.append(name)
            return None

    found = find_subject(cameras, segment, go_on)
    prompts = PromptSet((ObjectPrompts(1, request.name, found.prompts),))
    warnings = list(cameras.warnings)
    if damaged:
        warnings.append(f"Damaged photos were left out: {shorten(damaged)}.")
    photos = counted(len(found.prompts), "photo")
    return FindReport(
        f"Clicks on {photos} are proposed. Masks from them agree by {found.agreement:.0%} in space.",
        prompts.checked(footage.sizes, len(footage.paths)),
        tuple(warnings),
    )


def mask_of(
    footage: FootageFiles,
    prompts: FramePrompts,
    model: ModelChoice,
    settings: RunSettings,
    cancelled: Callable[[], bool],
    image_size: int = 0,
) -> NDArray[np.float16]:
    """Return the mask of prompts on one photo, as logits on the grid of a matte; errors as in `preview`."""
    asked = PreviewRequest(
        photo=footage.paths[prompts.frame - 1],
        width=footage.width,
        height=footage.height,
        frame=prompts.frame,
        prompts=PromptSet((ObjectPrompts(1, "", (prompts,)),)),
        model=model,
        settings=settings,
        odd_sizes=footage.odd_sizes,
        orientation=footage.orientation,
        turns=footage.turns,
    )
    (matte,) = preview.run(asked, cancelled, image_size)
    return matte.array()
