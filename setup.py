# SPDX-License-Identifier: GPL-3.0-or-later
"""What `pip install .[engine]` needs beside pyproject.toml: facts that have their place elsewhere.

The version is in blender_manifest.toml. The engine's packages are those that *Install SAM 2* installs, from
the same locks: so masks have the same bytes.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
LOCKS = ROOT / "sam2_splat_addon" / "client" / "requirements"
_PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)\s*(;[^\\]*)?", re.M)


def pins(*locks: str) -> list[str]:
    """Return the packages of some locks, with their versions and markers."""
    texts = [(LOCKS / lock).read_text(encoding="utf-8") for lock in locks]
    return ["".join(pin).strip() for text in texts for pin in _PIN.findall(text)]


manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
setup(
    version=manifest["version"],
    install_requires=[
        pin for pin in pins("packages.txt") if pin.startswith(("msgspec==", "numpy=="))
    ],
    extras_require={
        "engine": pins("packages.txt", "torch.txt", "sam2.txt"),
        "farm": project["dependency-groups"]["farm"],
    },
)
