# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the zips of the extension, one for each platform and Python, with Blender's own tool.

    python tools/build_extension.py                          # all of them, into dist/
    python tools/build_extension.py --platform linux-x64 --python 3.11

Blender needs `__init__.py` beside the manifest. So manifest, package and wheels are copied together
first. Each zip has the wheels of only one platform and one Python. Blender 4.2 chooses wheels by
platform, not by Python: from a common zip it would load those of another Python.

The same files give the same zip, byte for byte, at any time and on any machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.fetch_wheels import PLATFORMS, PYTHONS, LockedWheel, fetch, read_lock
from tools.guide_page import write_guide
from tools.setup_env import ensure_environment

PACKAGE = ROOT / "sam2_splat_addon"
MANIFEST = ROOT / "blender_manifest.toml"
DIST = ROOT / "dist"

# Python -> (first Blender, first Blender that is too new; "" if none is yet).
BLENDERS = {"3.11": ("4.2.0", "5.1.0"), "3.13": ("5.1.0", "")}
# The earliest time that a zip can store.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_NOT_PACKAGED = shutil.ignore_patterns("__pycache__", "*.py[cod]", ".*", "*.tmp")


def blender_ext() -> Path:
    """Return the path of Blender's extension tool, a plain Python script inside the bpy package."""
    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        raise SystemExit("bpy is missing here: run this with .venv's Python.")
    tools = Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    return next(tools)


def staged_manifest(
    wheels: list[LockedWheel], platform: str, python: str, website: str = ""
) -> dict[str, Any]:
    """Return the manifest of one zip: that of the repository, limited to one platform and Python.

    ``website`` is the address that Blender offers beside the add-on. Only a release knows one.
    """
    manifest = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    first, too_new = BLENDERS[python]
    narrowed = {
        "platforms": [platform],
        "blender_version_min": first,
        **({"blender_version_max": too_new} if too_new else {}),
        "wheels": [f"./wheels/{wheel.file}" for wheel in wheels],
        **({"website": website} if website else {}),
    }
    # Keys after a TOML table would belong to it: so the permissions stay last.
    return {k: v for k, v in (manifest | narrowed).items() if k != "permissions"} | {
        "permissions": manifest["permissions"]
    }


def stage(folder: Path, platform: str, python: str, website: str = "") -> None:
    """Copy the contents of one zip into an empty folder."""
    import tomli_w

    wheels = [w for w in read_lock() if (w.platform, w.python) == (platform, python)]
    fetch(tuple(wheels))
    shutil.copytree(PACKAGE, folder, ignore=_NOT_PACKAGED, dirs_exist_ok=True)
    shutil.copy2(ROOT / "LICENSE", folder / "LICENSE")
    write_guide(folder / "guide")
    (folder / "wheels").mkdir()
    for wheel in wheels:
        shutil.copy2(wheel.path, folder / "wheels" / wheel.file)
    manifest = tomli_w.dumps(staged_manifest(wheels, platform, python, website))
    (folder / "blender_manifest.toml").write_text(manifest, encoding="utf-8")


def zip_name(platform: str, python: str) -> str:
    """Return the file name of one zip; it tells the versions of Blender."""
    manifest = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    first = BLENDERS[python][0].removesuffix(".0")
    return f"{manifest['id']}-{manifest['version']}-{platform}-blender{first}.zip"


def build(platform: str, python: str, folder: Path = DIST, website: str = "") -> Path:
    """Copy, build and check one zip; return its path. ``website`` as in `staged_manifest`."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / zip_name(platform, python)
    with tempfile.TemporaryDirectory() as place:
        staged = Path(place) / "stage"
        staged.mkdir()
        stage(staged, platform, python, website)
        finished = Path(place) / target.name
        run_blender_ext("build", "--source-dir", str(staged), "--output-filepath", str(finished))
        even = Path(place) / "even.zip"
        _even_out(finished, even)
        run_blender_ext("validate", str(even))
        shutil.move(even, target)
    return target


def _even_out(archive: Path, target: Path) -> None:
    """Copy a zip without the facts of this machine: the order of its files, their times and permissions."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in sorted(source.infolist(), key=lambda entry: entry.filename):
            even = zipfile.ZipInfo(entry.filename, _MOMENT)
            even.compress_type = entry.compress_type
            even.create_system = 3  # Unix, with permissions
            even.external_attr = 0o644 << 16
            copy.writestr(even, source.read(entry), compresslevel=9)


def run_blender_ext(*arguments: str) -> None:
    """Run Blender's extension tool.

    Raises
    ------
    SystemExit
        The tool failed; the text is its output.
    """
    ran = subprocess.run(
        [sys.executable, str(blender_ext()), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise SystemExit(f"Blender's {arguments[0]} refused:\n{ran.stdout}{ran.stderr}")


def main() -> int:
    """Build the zips that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--platform", choices=sorted(PLATFORMS), action="append")
    parser.add_argument("--python", choices=PYTHONS, action="append")
    parser.add_argument("--output", type=Path, default=DIST, help="folder for the zips")
    options = parser.parse_args()
    ensure_environment()
    for platform in options.platform or sorted(PLATFORMS):
        for python in options.python or PYTHONS:
            print(build(platform, python, options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
