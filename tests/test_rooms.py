# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds the direction of imports between the rooms: blender -> client -> core <- engine."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "sam2_splat_addon"
ROOT = Path(__file__).resolve().parents[1]

# Room -> rooms of this package it may import.
MAY_IMPORT = {
    "core": {"core"},
    "engine": {"engine", "core"},
    "client": {"client", "core"},
    "blender": {"blender", "client", "core"},
}
# Room -> third-party packages it may import; None stands for any but those forbidden below.
THIRD_PARTY: dict[str, set[str] | None] = {
    "core": {"numpy", "msgspec"},
    "client": {"numpy", "msgspec"},
    "engine": None,
    "blender": None,
}
BLENDER_MODULES = {
    *("addon_utils", "aud", "bgl", "bl_math", "bl_ui", "blf", "bmesh", "bpy", "bpy_extras"),
    *("bpy_types", "freestyle", "gpu", "gpu_extras", "idprop", "imbuf", "mathutils"),
}
FORBIDDEN = {
    "core": set[str](),
    "client": BLENDER_MODULES | {"torch", "sam2"},
    "engine": BLENDER_MODULES,
    # Blender's Python has none of the worker's packages.
    "blender": {
        "torch",
        "sam2",
        "cv2",
        "PIL",
        "OpenEXR",
        "tifffile",
        "simplejpeg",
        "isal",
        "zlib_ng",
    },
}


def imported_names(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of every import, wherever in the file it stands.

    Parameters
    ----------
    source
        The file's text.
    module
        The file's own dotted name, from which relative imports are resolved.
    is_package
        Whether the file is an `__init__.py`.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                # `from .. import engine` names a room only together with what it takes.
                yield node.lineno, f"{prefix}.{alias.name}"


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return one sentence for each import that the rooms do not allow."""
    room = module.split(".")[1] if module.count(".") >= 1 else ""
    found = []
    for line, name in imported_names(source, module, is_package=is_package):
        first, *rest = name.split(".")
        if first == PACKAGE:
            target = rest[0] if rest else ""
            if room and target not in MAY_IMPORT[room]:
                found.append(f"{module}:{line}: {room} must not import {name}")
        elif first in FORBIDDEN.get(room, set()):
            found.append(f"{module}:{line}: {room} must not import {name}")
        elif first not in sys.stdlib_module_names:
            allowed = THIRD_PARTY.get(room)
            if allowed is not None and first not in allowed:
                found.append(f"{module}:{line}: {room} must not import {name}")
    return found


def module_level_imports(source: str) -> list[int]:
    """Return the lines of imports that run when the module is imported, `__future__` aside."""
    pending: list[ast.AST] = list(ast.parse(source).body)
    lines = []
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        is_future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if isinstance(node, ast.Import | ast.ImportFrom) and not is_future:
            lines.append(node.lineno)
        pending.extend(ast.iter_child_nodes(node))
    return sorted(lines)


def package_files() -> list[Path]:
    return sorted((ROOT / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("path", package_files(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_file_imports_only_what_its_room_may(path: Path) -> None:
    relative = path.relative_to(ROOT).with_suffix("")
    is_package = relative.name == "__init__"
    parts = relative.parent.parts if is_package else relative.parts
    found = violations(path.read_text(encoding="utf-8"), ".".join(parts), is_package=is_package)
    assert not found, "\n".join(found)


def test_every_room_is_known_and_has_files() -> None:
    rooms = {path.relative_to(ROOT / PACKAGE).parts[0] for path in package_files()}
    assert rooms - {"__init__.py"} == set(MAY_IMPORT)


def test_addon_imports_nothing_at_module_level() -> None:
    source = (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert module_level_imports(source) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sam2_splat_addon.core.footage.scan", "import torch"),
        ("sam2_splat_addon.core.footage.scan", "import PIL.Image"),
        ("sam2_splat_addon.core.footage.scan", "from sam2_splat_addon.client import job"),
        ("sam2_splat_addon.core.footage.scan", "def f():\n    from ...engine import session"),
        ("sam2_splat_addon.core.footage.scan", "from ... import blender"),
        ("sam2_splat_addon.client.worker.job", "import bpy"),
        ("sam2_splat_addon.client.worker.job", "if True:\n    import torch.nn as nn"),
        ("sam2_splat_addon.client.worker.job", "from ...engine.worker import loop"),
        ("sam2_splat_addon.engine.worker.loop", "from bpy import data"),
        ("sam2_splat_addon.engine.worker.loop", "from ...client.worker.job import Job"),
        ("sam2_splat_addon.engine.worker.loop", "import gpu"),
        ("sam2_splat_addon.blender.ui.panel_footage", "from ...engine import worker"),
        ("sam2_splat_addon.blender.ui.panel_footage", "import torch"),
    ],
)
def test_planted_violation_is_caught(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "sam2_splat_addon.core.footage.scan",
            "import os, numpy\nfrom ..errors import FootageError",
        ),
        (
            "sam2_splat_addon.client.worker.job",
            "from ...core import protocol\nfrom . import process",
        ),
        ("sam2_splat_addon.engine.worker.loop", "import torch, cv2\nfrom ...core import protocol"),
        (
            "sam2_splat_addon.blender.ui.panel_footage",
            "import bpy\nfrom ...client.worker.job import Job",
        ),
    ],
)
def test_allowed_imports_pass(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_relative_import_in_a_package_file_resolves_from_the_package_itself() -> None:
    names = list(imported_names("from . import job", "sam2_splat_addon.client", is_package=True))
    assert names == [(1, "sam2_splat_addon.client.job")]


def test_import_at_module_level_is_caught_and_one_in_a_function_is_not() -> None:
    assert module_level_imports("from __future__ import annotations\nimport bpy\n") == [2]
    assert module_level_imports("try:\n    import bpy\nexcept ImportError:\n    pass\n") == [2]
    assert module_level_imports("def register():\n    from .blender import registration\n") == []
