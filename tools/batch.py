# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the whole job in Blender without a window. Runs inside Blender.

    blender -b --python-exit-code 1 -P tools/batch.py -- --footage DIR --prompts FILE --bake

Everything after ``--`` goes to SAM2 Splat; ``-- --help`` lists the options. If a .blend file is open, its
clip, clicks and settings are used, unless an option says otherwise. The installed extension is used if
it is enabled, else the source tree of this file. Exit codes are those of
``blender --command sam2_splat``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import bpy


def _package() -> str:
    """Return the package of the enabled extension, or that of the source tree, registered."""
    import addon_utils  # only available after bpy is imported

    preferences = bpy.context.preferences
    assert preferences is not None
    for addon in preferences.addons:
        name = addon.module
        ours = name.startswith("bl_ext.") and name.endswith(".sam2_splat")
        if ours and addon_utils.check(name)[1]:
            return str(name)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    importlib.import_module("sam2_splat_addon").register()
    return "sam2_splat_addon"


def main() -> int:
    """Run the job with the arguments of this process; returns the exit code."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    package = _package()
    try:
        batch = importlib.import_module(f"{package}.blender.cli.batch")
        return int(batch.main(arguments, "batch.py"))
    finally:
        if package == "sam2_splat_addon":
            importlib.import_module(package).unregister()


if __name__ == "__main__":
    sys.exit(main())
