# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of the user's preferences, and the folders of the add-on's files.

The class that Blender draws is in `ui/preferences.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import bpy

from ...client.command.workplace import CACHE_VARIABLE, MODELS_VARIABLE
from ...core.footage.staging import folder_in_cache
from .. import ADDON_PACKAGE
from .present import present

if TYPE_CHECKING:
    from ..ui.preferences import SAM2SPLAT_AP_preferences

DEVICE_ITEMS = (
    ("auto", "Automatic", "Use the graphics card if it is supported, else the processor"),
    ("cpu", "Processor", ""),
    ("cuda", "NVIDIA (CUDA)", ""),
    ("mps", "Apple (MPS)", ""),
)

CONSOLE_ITEMS = (
    ("INFO", "Everything", "Print what each run does, on which device, and what went wrong"),
    ("WARNING", "Problems Only", "Print only what went wrong"),
)

TORCH_ITEMS = (
    ("auto", "Automatic", "Choose the build for your NVIDIA card, else for the processor"),
    ("cpu", "Processor", "The smallest download, which does not use graphics cards"),
    ("cu126", "CUDA 12.6", "For NVIDIA cards up to the RTX 40 series, also with older drivers"),
    ("cu130", "CUDA 13.0", "For NVIDIA cards from the RTX 20 series on, with driver 580 or newer"),
)


# Colours that colour-blind people can tell apart too. None is red, because Blender draws disabled
# markers in red.
OBJECT_COLORS = (
    (0.00, 0.62, 0.90),
    (0.95, 0.65, 0.00),
    (0.00, 0.70, 0.45),
    (0.80, 0.45, 0.75),
    (0.95, 0.90, 0.25),
    (0.35, 0.40, 0.95),
)
EXCLUDE_COLOR = (0.75, 0.25, 0.9)

Color = tuple[float, float, float]


def _preferences() -> SAM2SPLAT_AP_preferences | None:
    """Return the preferences, or None if the package runs without being enabled as an add-on."""
    addon: bpy.types.Addon | None = present(bpy.context.preferences).addons.get(ADDON_PACKAGE)
    return cast("SAM2SPLAT_AP_preferences", addon.preferences) if addon else None


def _folder(attribute: str, name: str, variable: str = "") -> Path:
    chosen = getattr(_preferences(), attribute, "") or os.environ.get(variable, "")
    if chosen:
        return Path(bpy.path.abspath(chosen))
    return user_folder() / name


def user_folder() -> Path:
    """Return the only folder that the add-on may write to without being asked."""
    if ADDON_PACKAGE.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(ADDON_PACKAGE, create=True))
    # There is no extension folder when the add-on runs from the source tree.
    return Path(bpy.utils.user_resource("DATAFILES", path="sam2_splat", create=True))


def cache_folder() -> Path:
    """Return the folder for links to photos and small copies."""
    return _folder("cache_folder", "cache", CACHE_VARIABLE)


def staging_folder(photos: Path, cache: Path | None = None) -> Path:
    """Return the folder in the cache for the photos of a folder. It may not exist yet."""
    return folder_in_cache(photos, cache or cache_folder())


def model_folder() -> Path:
    """Return the folder of downloaded checkpoints."""
    return _folder("model_folder", "models", MODELS_VARIABLE)


def packages_folder() -> Path:
    """Return the folder in which the worker's packages are installed."""
    return _folder("packages_folder", "packages")


def torch_build() -> str:
    """Return the chosen build of PyTorch: auto, or a name in `client.torch_build.BUILDS`."""
    preferences = _preferences()
    return preferences.torch_build if preferences else "auto"


def device() -> str:
    """Return the chosen device: auto, cpu, cuda or mps."""
    preferences = _preferences()
    return preferences.device if preferences else "auto"


def threads() -> int:
    """Return the number of processor threads of the worker. 0 means all cores."""
    preferences = _preferences()
    return preferences.threads if preferences else 0


def console_level() -> str:
    """Return the lowest level that the console shows, as the standard library names it."""
    preferences = _preferences()
    return preferences.console_level if preferences else "INFO"


def proposes_sam2() -> bool:
    """Whether the review may propose SAM 2.1. False without preferences, which could not keep a refusal."""
    preferences = _preferences()
    return preferences is not None and bool(preferences.propose_sam2)


def stop_proposing_sam2() -> None:
    """Never propose SAM 2.1 again, because the user has refused."""
    preferences = _preferences()
    if preferences is not None:
        preferences.propose_sam2 = False
        present(
            bpy.context.preferences
        ).is_dirty = True  # else Blender does not save it when it quits


def offers_workspace() -> bool:
    """Whether the top bar still offers the Masking workspace. False without preferences."""
    preferences = _preferences()
    return preferences is not None and bool(preferences.offer_workspace)


def stop_offering_workspace() -> None:
    """Never offer the Masking workspace again: the user has opened or refused it."""
    preferences = _preferences()
    if preferences is not None and preferences.offer_workspace:
        preferences.offer_workspace = False
        present(
            bpy.context.preferences
        ).is_dirty = True  # else Blender does not save it when it quits


def object_color(object_id: int) -> Color:
    """Return the first colour of an object with an id."""
    index = (object_id - 1) % len(OBJECT_COLORS)
    preferences = _preferences()
    if preferences is None:
        return OBJECT_COLORS[index]
    red, green, blue = getattr(preferences, f"color_{index + 1}")
    return red, green, blue


def exclude_color() -> Color:
    """Return the colour of exclude clicks."""
    preferences = _preferences()
    if preferences is None:
        return EXCLUDE_COLOR
    red, green, blue = preferences.exclude_color
    return red, green, blue
