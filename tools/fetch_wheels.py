# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the wheels of the extension into wheels/ with pip, and check their hashes.

    python tools/fetch_wheels.py          # fetch the wheels in wheels/wheels.lock.toml
    python tools/fetch_wheels.py --lock   # write that file again, after a change of version

Each zip has only the wheel for its platform and Python.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.setup_env import ensure_environment

WHEELS = ROOT / "wheels"
LOCK = WHEELS / "wheels.lock.toml"
REQUIREMENTS = WHEELS / "wheels.txt"

# Blender's name of a platform -> pip's names: the newest systems that all supported Blenders run on.
PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "macos-arm64": ("macosx_11_0_arm64",),
    "windows-x64": ("win_amd64",),
}
# Blender 4.2 to 5.0 has Python 3.11, and from 5.1 on it has 3.13.
PYTHONS = ("3.11", "3.13")

_HEADER = "# Written by tools/fetch_wheels.py --lock; the hashes come from wheels.txt.\n\n"


@dataclass(frozen=True)
class LockedWheel:
    """One wheel, and the versions of Blender that it is for."""

    file: str
    sha256: str
    platform: str
    python: str

    @property
    def path(self) -> Path:
        """Path of the fetched wheel."""
        return WHEELS / self.file


def read_lock() -> tuple[LockedWheel, ...]:
    """Return all wheels in wheels.lock.toml."""
    entries = tomllib.loads(LOCK.read_text(encoding="utf-8"))["wheel"]
    return tuple(LockedWheel(**entry) for entry in entries)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(platform: str, python: str, folder: Path) -> list[Path]:
    """Let pip fetch the wheels of one platform and Python, by hash, into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += ["--abi", "cp" + python.replace(".", ""), "--dest", str(folder)]
    for name in PLATFORMS[platform]:
        command += ["--platform", name]
    command += ["--requirement", str(REQUIREMENTS)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(
            f"pip could not fetch the wheels of {platform}, Python {python}:\n{ran.stderr}"
        )
    return sorted(folder.glob("*.whl"))


def fetch(wanted: tuple[LockedWheel, ...]) -> None:
    """Fetch the locked wheels that are missing in wheels/; a wrong file is fetched again."""
    for wheel in wanted:
        if wheel.path.exists() and sha256(wheel.path) == wheel.sha256:
            continue
        with tempfile.TemporaryDirectory(dir=WHEELS) as folder:
            for path in download(wheel.platform, wheel.python, Path(folder)):
                if path.name == wheel.file and sha256(path) == wheel.sha256:
                    path.replace(wheel.path)
                    break
            else:
                raise SystemExit(f"{wheel.file} is not what the index gives: run with --lock.")
        print(f"fetched {wheel.file}")


def write_lock() -> None:
    """Fetch the wheels of every platform, and write their names and hashes."""
    import tomli_w

    entries = []
    with tempfile.TemporaryDirectory(dir=WHEELS) as folder:
        for platform in sorted(PLATFORMS):
            for python in PYTHONS:
                place = Path(folder) / f"{platform}-{python}"
                for path in download(platform, python, place):
                    digest = sha256(path)
                    entries.append(
                        {
                            "file": path.name,
                            "sha256": digest,
                            "platform": platform,
                            "python": python,
                        }
                    )
    LOCK.write_text(_HEADER + tomli_w.dumps({"wheel": entries}), encoding="utf-8")


def main() -> int:
    """Fetch, or lock and fetch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", action="store_true", help="write wheels.lock.toml again first")
    options = parser.parse_args()
    ensure_environment()
    if options.lock:
        write_lock()
    fetch(read_lock())
    return 0


if __name__ == "__main__":
    sys.exit(main())
