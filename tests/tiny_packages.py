# SPDX-License-Identifier: GPL-3.0-or-later
"""Make wheels with a few lines, so that the real pip can install them at once."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

VERSION = "1.5"


def make_wheel(folder: Path, name: str, code: str = "", *, local: str = "") -> Path:
    """Write a pure-Python wheel of one package with one module and a version with a local part."""
    version = VERSION + local
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": code or f"NAME = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel
