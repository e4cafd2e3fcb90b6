# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mask needs and does not have yet: SAM 2's packages, or the chosen model. With the buttons for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.types import UILayout

from ...client.packages import installer
from ...core.checkpoint_catalogue import CHECKPOINTS, Checkpoint
from ...core.settings import BUNDLED
from ..context import preferences, task_runner, worker_session
from ..context.properties import SAM2SPLAT_PG_clip
from ..translations.catalogue import translated

# If this folder beside the add-on has the packages, they are used. This is how to install without a
# network.
WHEELS = Path(__file__).parents[2] / "wheels"


def has_local_packages() -> bool:
    """Whether SAM 2 can be installed without a network. The add-on's own zip brings msgspec alone."""
    return any(WHEELS.glob("torch-*.whl"))


def has_local_cameras() -> bool:
    """Whether the package that finds cameras can be installed without a network."""
    return any(WHEELS.glob("pycolmap-*.whl"))


def sentence(settings: SAM2SPLAT_PG_clip | None) -> str:
    """Say in one sentence what the masks of a clip need, quickly. Empty if nothing is missing."""
    if not worker_session.packages_ready():
        task = task_runner.current()
        if task is not None and task.title == "Installing":
            return f"Installing SAM 2 ... {task.fraction:.0%}"
        return "SAM 2 is not installed yet"
    if settings is not None and model_to_download(settings) is not None:
        choice: Any = settings.bl_rna.properties["model"]
        return f"{choice.enum_items[settings.model].name} is not downloaded yet"
    return ""


def model_to_download(settings: SAM2SPLAT_PG_clip) -> Checkpoint | None:
    """Return the chosen model's file if it is to be downloaded first, else None."""
    if settings.model == BUNDLED or settings.checkpoint:
        return None
    entry = CHECKPOINTS[settings.model]
    return None if (preferences.model_folder() / entry.file_name).is_file() else entry


def draw(layout: UILayout, settings: SAM2SPLAT_PG_clip | None) -> bool:
    """Draw what is missing, with its buttons. Return False if nothing is."""
    if not worker_session.packages_ready():
        draw_packages(layout)
        return True
    entry = model_to_download(settings) if settings is not None else None
    if entry is None or settings is None:
        return False
    column = layout.column()
    column.label(text=translated(sentence(settings)), icon="ERROR")
    row = column.row(align=True)
    draw_download(row, entry)
    row.prop_enum(settings, "model", BUNDLED, text="Use the Bundled Model")
    return True


def draw_packages(layout: UILayout) -> None:
    """Draw that SAM 2 is not installed, with the button that installs it."""
    column = layout.column()
    column.label(text="SAM 2 is not installed yet", icon="ERROR")
    task = task_runner.current()
    if task is not None:
        return  # its progress is drawn where it began
    if worker_session.online() or has_local_packages():
        row = column.row()
        row.scale_y = 1.5
        row.operator("sam2_splat.install_packages", icon="IMPORT")
        column.label(text=translated(f"Downloads {installer.DOWNLOAD_SIZE}"))
    else:
        draw_offline(column)


def draw_download(layout: UILayout, entry: Checkpoint) -> None:
    """Draw the button that downloads a model, or what allows it."""
    if worker_session.online():
        size = f"{entry.bytes / 1e6:.0f} MB"
        text = translated(f"Download ({size})")
        layout.operator("sam2_splat.download_model", text=text, icon="IMPORT")
    else:
        draw_offline(layout)


def draw_offline(layout: UILayout) -> None:
    """Draw Blender's own button that lets add-ons use the network, or why it can't."""
    if bpy.app.online_access_override:
        layout.label(text="Blender was started offline", icon="INTERNET_OFFLINE")
        layout.label(text="Start it without --offline-mode")
        return
    layout.label(text="This needs a download", icon="INTERNET_OFFLINE")
    # Blender's own button. It does nothing else, so the next redraw shows the download.
    layout.operator(
        "extensions.userpref_allow_online", text="Allow Online Access", icon="CHECKMARK"
    )
