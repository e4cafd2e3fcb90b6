# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user's preferences say, and where the add-on's files lie.

The class that Blender draws is in `ui/preferences.py`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import bpy

from .. import ADDON_PACKAGE
from .present import present

if TYPE_CHECKING:
    from ..ui.preferences import SAM2SPLAT_AP_preferences

DEVICE_ITEMS = (
    ("auto", "Automatic", "The graphics card when there is one that can, else the processor"),
    ("cpu", "Processor", ""),
    ("cuda", "NVIDIA (CUDA)", ""),
    ("mps", "Apple (MPS)", ""),
)

CONSOLE_ITEMS = (
    ("INFO", "Everything", "What each run does, on which device, and what went wrong"),
    ("WARNING", "Problems Only", "Only what went wrong"),
)

TORCH_ITEMS = (
    ("auto", "Automatic", "For the NVIDIA card that is there, else for the processor"),
    ("cpu", "Processor", "The smallest download; leaves graphics cards alone"),
    ("cu126", "CUDA 12.6", "NVIDIA cards up to the RTX 40 series; older drivers"),
    ("cu130", "CUDA 13.0", "NVIDIA cards from the RTX 20 series on; driver 580 or newer"),
)

# Overrides for scripts, tests and machines without preferences.
CACHE_VARIABLE = "SAM2_SPLAT_CACHE"
MODELS_VARIABLE = "SAM2_SPLAT_MODELS"


# Colours that can be told apart, also by the colour-blind, and none of them red: Blender draws
# disabled markers in red.
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
    """The preferences, or None where the package runs without being enabled as an add-on."""
    addon: bpy.types.Addon | None = present(bpy.context.preferences).addons.get(ADDON_PACKAGE)
    return cast("SAM2SPLAT_AP_preferences", addon.preferences) if addon else None


def _folder(attribute: str, name: str, variable: str = "") -> Path:
    chosen = getattr(_preferences(), attribute, "") or os.environ.get(variable, "")
    if chosen:
        return Path(bpy.path.abspath(chosen))
    return user_folder() / name


def user_folder() -> Path:
    """The one folder the add-on may write to without being asked."""
    if ADDON_PACKAGE.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(ADDON_PACKAGE, create=True))
    # Run from the source tree: there is no extension folder.
    return Path(bpy.utils.user_resource("DATAFILES", path="sam2_splat", create=True))


def cache_folder() -> Path:
    """Where staged links to photos are kept."""
    return _folder("cache_folder", "cache", CACHE_VARIABLE)


def staging_folder(photos: Path, cache: Path | None = None) -> Path:
    """The folder in the cache for the photos of a folder; it need not be there."""
    digest = hashlib.sha256(os.fsencode(photos)).hexdigest()[:16]
    return (cache or cache_folder()) / "footage" / digest


def model_folder() -> Path:
    """Where downloaded checkpoints are looked for."""
    return _folder("model_folder", "models", MODELS_VARIABLE)


def packages_folder() -> Path:
    """Where the worker's packages are installed."""
    return _folder("packages_folder", "packages")


def torch_build() -> str:
    """The build of PyTorch the user chose: auto, or a name in `client.torch_build.BUILDS`."""
    preferences = _preferences()
    return preferences.torch_build if preferences else "auto"


def device() -> str:
    """The device the user chose: auto, cpu, cuda or mps."""
    preferences = _preferences()
    return preferences.device if preferences else "auto"


def threads() -> int:
    """Processor threads of the worker; 0 is as many as there are cores."""
    preferences = _preferences()
    return preferences.threads if preferences else 0


def console_level() -> str:
    """From which level on the console shows the add-on's log, as the standard library names it."""
    preferences = _preferences()
    return preferences.console_level if preferences else "INFO"


def proposes_sam2() -> bool:
    """Whether the user may be told of SAM 2.1; not where there are no preferences to keep a no in."""
    preferences = _preferences()
    return preferences is not None and bool(preferences.propose_sam2)


def stop_proposing_sam2() -> None:
    """The user has said no, once and for all."""
    preferences = _preferences()
    if preferences is not None:
        preferences.propose_sam2 = False
        present(
            bpy.context.preferences
        ).is_dirty = True  # else Blender would not save it at its end


def object_color(object_id: int) -> Color:
    """The colour that an object of that id begins with."""
    index = (object_id - 1) % len(OBJECT_COLORS)
    preferences = _preferences()
    if preferences is None:
        return OBJECT_COLORS[index]
    red, green, blue = getattr(preferences, f"color_{index + 1}")
    return red, green, blue


def exclude_color() -> Color:
    """The colour of clicks that exclude."""
    preferences = _preferences()
    if preferences is None:
        return EXCLUDE_COLOR
    red, green, blue = preferences.exclude_color
    return red, green, blue
