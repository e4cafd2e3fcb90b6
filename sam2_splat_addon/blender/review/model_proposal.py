# SPDX-License-Identifier: GPL-3.0-or-later
"""Propose SAM 2.1 when the bundled model is lost on many photos."""

from __future__ import annotations

from typing import Final

import bpy

from ...core.checkpoint_catalogue import CHECKPOINTS, Checkpoint
from ...core.review.judge import is_lost
from ...core.settings import BUNDLED
from ..context import preferences, properties
from ..translations.catalogue import translated
from .review_builder import ClipReview

PROPOSED: Final = "sam2.1_hiera_tiny"
"""The smallest SAM 2.1 model. It is right where the bundled model is lost, and usable on a processor."""


def is_due(clip: bpy.types.MovieClip, found: ClipReview) -> bool:
    """Whether to propose: the bundled model made the masks, many are lost, and the user wants to know."""
    return (
        properties.of_clip(clip).model == BUNDLED
        and found.model == BUNDLED
        and is_lost(found.lost, found.counts[1])
        and preferences.proposes_sam2()
    )


def missing() -> Checkpoint | None:
    """Return the proposed model's checkpoint if it must be downloaded first."""
    entry = CHECKPOINTS[PROPOSED]
    return None if (preferences.model_folder() / entry.file_name).is_file() else entry


def draw(layout: bpy.types.UILayout, clip: bpy.types.MovieClip, found: ClipReview) -> None:
    """Draw a line that says it, a button that does it, and a cross that ends proposals."""
    if not is_due(clip, found):
        return
    box = layout.box().column(align=True)
    row = box.row()
    row.label(text=translated(f"Lost on {found.lost} of {found.counts[1]} photos"), icon="INFO")
    row.operator("sam2_splat.dismiss_proposal", text="", icon="X", emboss=False)
    entry = missing()
    size = f" ({entry.bytes / 1e6:.0f} MB)" if entry is not None else ""
    box.operator("sam2_splat.use_sam2", text=translated(f"Use SAM 2.1{size}"), icon="SHADERFX")
