# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the hash locks again from the groups in pyproject.toml, with uv.

    python tools/lock_requirements.py             # keep the pinned versions that still fit
    python tools/lock_requirements.py --upgrade   # take the newest that fit

The locks have the hashes for every platform, so one lock works on Linux, macOS and Windows.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Lock file -> (dependency group, lowest Python that it must support).
LOCKS = {
    "sam2_splat_addon/client/requirements/build.txt": ("build", "3.11"),
    "requirements/dev.txt": ("dev", "3.11"),
    "sam2_splat_addon/client/requirements/packages.txt": ("worker", "3.11"),
    "sam2_splat_addon/client/requirements/cameras.txt": ("cameras", "3.11"),
    "requirements/docs.txt": ("docs", "3.11"),
    "requirements/farm.txt": ("farm", "3.11"),
    "wheels/wheels.txt": ("addon", "3.11"),
}


# What these need is in another lock already.
ALONE = ("cameras",)


# These are installed beside the packages of the worker, so what both need has the same version.
BESIDE_WORKER = ("farm",)
WORKER_LOCK = "sam2_splat_addon/client/requirements/packages.txt"


def lock(target: Path, group: str, python: str, *, upgrade: bool) -> None:
    """Resolve one dependency group for every platform and write it with hashes to `target`."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
    command += ["--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--python-version", python, "--group", f"pyproject.toml:{group}"]
    command += ["--output-file", str(target.relative_to(ROOT))]
    if group in BESIDE_WORKER:
        command += ["--constraint", WORKER_LOCK]
    if group in ALONE:
        command.append("--no-deps")
    if upgrade:
        command.append("--upgrade")
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    """Write every lock again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    options = parser.parse_args()
    if importlib.util.find_spec("uv") is None:
        print("uv is missing: run python -m pip install uv, then run this again.")
        return 1
    for name, (group, python) in LOCKS.items():
        lock(ROOT / name, group, python, upgrade=options.upgrade)
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
