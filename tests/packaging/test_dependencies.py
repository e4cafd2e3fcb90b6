# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds that everything the code imports is locked, and documented; standard library only."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from sam2_splat_addon.client.packages.requirements import (
    CAMERAS_LOCK,
    LOCKS,
    read_pins,
    wanted_pins,
)

ROOT = Path(__file__).resolve().parents[2]
OWN = {"sam2_splat_addon", "tools", "tests"}
# Come with Blender, under names that no distribution lists.
BLENDER = {
    "addon_utils", "bl_ext", "bl_operators", "bl_ui", "blf", "bmesh", "bpy_extras", "gpu", "gpu_extras",
    "mathutils", "rna_keymap_ui",
}  # fmt: skip
# Comes with the Debian that the window's tests run in, and is imported there alone.
DEBIAN = {"Xlib"}
# Only tools/lock_requirements.py starts uv, as a program. Ray is for farms, and has a lock of its own.
OPTIONAL = {"uv", "ray"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the top-level name of every third-party import below a folder, with its file."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names | OWN | BLENDER | DEBIAN | OPTIONAL:
                    yield top, path


def unlocked(folder: Path, locked: set[str]) -> list[str]:
    distributions = packages_distributions()
    return sorted(
        {
            f"{path.relative_to(ROOT)} imports {top}"
            for top, path in imported(folder)
            if not {normal(name) for name in distributions.get(top, [top])} & locked
        }
    )


def developer_pins() -> set[str]:
    files = [ROOT / "requirements" / "dev.txt", *sorted(LOCKS.glob("*.txt"))]
    # packages.txt is the worker's; only what dev.txt repeats of it is in .venv.
    return {normal(p.name) for f in files if f.name != "packages.txt" for p in read_pins(f)}


@pytest.mark.parametrize("folder", ["sam2_splat_addon", "tools", "tests"])
def test_everything_imported_is_in_the_developers_lock(folder: str) -> None:
    assert unlocked(ROOT / folder, developer_pins()) == []


@pytest.mark.parametrize("room", ["core", "engine"])
def test_everything_the_worker_imports_is_in_its_own_locks(room: str) -> None:
    optional = read_pins(LOCKS / CAMERAS_LOCK)  # installed on request
    locked = {normal(pin.name) for pin in (*wanted_pins(), *optional)}
    assert unlocked(ROOT / "sam2_splat_addon" / room, locked) == []


def test_versions_of_what_both_environments_hold_differ_only_where_blender_pins_numpy() -> None:
    developers = {p.name: p.version for p in read_pins(ROOT / "requirements" / "dev.txt")}
    differing = {
        pin.name for pin in wanted_pins() if developers.get(pin.name, pin.version) != pin.version
    }
    # Blender 4.5's module wants numpy 1, and this OpenCV is the last that goes with it.
    assert differing == {"numpy", "opencv-python-headless"}


def test_every_direct_dependency_is_documented() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    groups = pyproject.split("[dependency-groups]")[1].split("[tool.")[0]
    direct = {normal(m) for m in re.findall(r'"([A-Za-z][\w.-]*)(?:[=<>"])', groups)}
    assert "msgspec" in direct
    known = direct - {"build", "torch-needs", "cameras"} | {"torch", "sam2"}
    assert {name for name in known if f"| {name} |" not in text} == set()
