# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m sam2_splat_addon`` is the command `sam2-splat`.

``python PATH/OF/THE/EXTENSION`` is too, with the Python of Blender: so it works with nothing but the
extension and what *Install SAM 2* has made.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def _find_packages() -> None:
    """Let this Python find msgspec and numpy where Blender's extensions have them."""
    repository = _FOLDER.parent
    name = "python{}.{}".format(*sys.version_info)
    places = [
        repository.parent / ".local" / "lib" / name / "site-packages",
        repository.parent / ".local" / "lib" / "site-packages",
        repository.parent / ".user" / repository.name / _FOLDER.name / "packages",
    ]
    named = os.environ.get("SAM2_SPLAT_SITE", "").split(os.pathsep)
    places += [Path(place) for place in named if place]
    for package in ("msgspec", "numpy"):
        if importlib.util.find_spec(package) is None:
            sys.path += [str(place) for place in places if place.is_dir()]
            return


def main() -> int:
    """Run the command and return its exit code."""
    _find_packages()
    sys.path.insert(0, str(_FOLDER.parent))  # the folder was started, and not the package
    module = importlib.import_module(f"{_FOLDER.name}.client.command.main")
    return int(module.main())


if __name__ == "__main__":
    sys.exit(main())
