# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports go one way between houses and between their rooms, and no circle of files exists.

The houses are blender -> client -> core <- engine. Within a house a room imports only rooms below it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = "sam2_splat_addon"
ROOT = Path(__file__).resolve().parents[1]

# House -> houses that it may import.
MAY_IMPORT = {
    "core": {"core"},
    "engine": {"engine", "core"},
    "client": {"client", "core"},
    "blender": {"blender", "client", "core"},
    "__main__": set[str](),  # it finds packages first, and imports `client` by its name
}
# House -> third-party packages that it may import; None means any that is not forbidden below.
THIRD_PARTY: dict[str, set[str] | None] = {
    "core": {"numpy", "msgspec"},
    "client": {
        "numpy",
        "msgspec",
        "ray",
    },  # Ray only in `farm_ray.the_ray`, where it may be missing
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
    # Blender's Python has no packages of the worker.
    "blender": {
        "torch",
        "sam2",
        "cv2",
        "PIL",
        "OpenEXR",
        "tifffile",
        "simplejpeg",
        "av",
        "isal",
        "zlib_ng",
    },
}
# House -> its rooms on floors, lowest first. Rooms on one floor do not import each other. A file that is
# not in a room has a floor by its own name.
FLOORS: dict[str, list[set[str]]] = {
    "blender": [
        {"translations"},
        {"context"},
        {"masks"},
        {"clip"},
        {"overlay", "review"},
        {"tasks"},
        {"ui"},
        {"cli"},
        {"registration"},
    ],
    "engine": [
        {"images", "accel", "agreement"},
        {"models", "cameras"},
        {"tracking"},
        {"refine"},
        {"jobs"},
        {"worker"},
    ],
    "client": [{"packages"}, {"worker"}, {"command"}],
    # Files directly in core, such as errors and prompts, are for all of its rooms.
    "core": [{"system", "geometry"}, {"footage"}, {"mattes", "cameras"}, {"review"}],
}


def imported_names(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of every import in the file.

    Parameters
    ----------
    source
        The file's text.
    module
        The dotted name of the file itself; relative imports start from it.
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
                # `from .. import engine` names a house only together with the imported name.
                yield node.lineno, f"{prefix}.{alias.name}"


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return one sentence for each import that the houses do not allow."""
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


def floor_of(module: str) -> tuple[str, int | None]:
    """Return house and floor of a dotted name; no floor for a file that is for all rooms."""
    _, room, *rest = [*module.split("."), ""]
    name = rest[0] if rest else ""
    floors = enumerate(FLOORS.get(room, ()))
    return room, next((number for number, names in floors if name in names), None)


def upward_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return one sentence for each import of a room that is not below the file's own room."""
    room, floor = floor_of(module)
    found = []
    for line, name in imported_names(_without_types(source), module, is_package=is_package):
        if floor is None or not name.startswith(f"{PACKAGE}.{room}."):
            continue
        _, other = floor_of(name)
        is_own = name.split(".")[2] == module.split(".")[2]
        if not is_own and other is not None and other >= floor:
            found.append(f"{module}:{line}: must not import {name}, which is not below it")
    return found


def _without_types(source: str) -> str:
    """Return the source without the code under `if TYPE_CHECKING`, which never runs."""
    dropped = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = source.split("\n")
    return "\n".join("" if number in dropped else line for number, line in enumerate(lines, 1))


def circles(imports: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return the groups of files that import each other in a circle.

    Parameters
    ----------
    imports
        Module -> the modules of the package that it imports anywhere in the file.
    """

    def reached(start: str) -> set[str]:
        known: set[str] = set()
        pending = [start]
        while pending:
            for name in imports.get(pending.pop(), ()):
                if name not in known:
                    known.add(name)
                    pending.append(name)
        return known

    ways = {module: reached(module) for module in imports}
    groups = {
        tuple(sorted(other for other in ways if other in ways[module] and module in ways[other]))
        for module in imports
        if module in ways[module]
    }
    return [list(group) for group in sorted(groups)]


def imports_of_files(sources: Mapping[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """Return module -> modules that it imports, from files given as (source, is a package).

    Imports for types do not count. A name from a package itself (`from ..blender import ADDON_PACKAGE`)
    counts as its `__init__.py`.
    """
    found: dict[str, set[str]] = {}
    for module, (source, is_package) in sources.items():
        names = imported_names(_without_types(source), module, is_package=is_package)
        own = set()
        for _, name in names:
            parent = name.rpartition(".")[0]
            own |= {name} & sources.keys() or {parent} & sources.keys()
        found[module] = own - {module}
    return found


def module_level_imports(source: str) -> list[int]:
    """Return the lines of imports that run when the module is imported, without `__future__`."""
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
    """Return the modules. Presets are data that Blender runs, and no module imports them."""
    return [
        path
        for path in sorted((ROOT / PACKAGE).rglob("*.py"))
        if path.relative_to(ROOT / PACKAGE).parts[0] != "presets"
    ]


@pytest.mark.parametrize("path", package_files(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_file_imports_only_what_its_room_may(path: Path) -> None:
    relative = path.relative_to(ROOT).with_suffix("")
    is_package = relative.name == "__init__"
    parts = relative.parent.parts if is_package else relative.parts
    found = violations(path.read_text(encoding="utf-8"), ".".join(parts), is_package=is_package)
    assert not found, "\n".join(found)


def module_of(path: Path) -> tuple[str, bool]:
    """Return the dotted name of a file, and whether it is the `__init__.py` of a package."""
    relative = path.relative_to(ROOT).with_suffix("")
    is_package = relative.name == "__init__"
    return ".".join(relative.parent.parts if is_package else relative.parts), is_package


def sources_of_package() -> dict[str, tuple[str, bool]]:
    found = {}
    for path in package_files():
        module, is_package = module_of(path)
        found[module] = (path.read_text(encoding="utf-8"), is_package)
    return found


def test_folders_import_only_folders_below_them() -> None:
    sources = sources_of_package()
    found = [
        one
        for module, (text, is_package) in sources.items()
        for one in upward_imports(text, module, is_package=is_package)
    ]
    assert not found, "\n".join(found)


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(imports_of_files(sources_of_package())) == []


def test_every_folder_stands_on_a_floor() -> None:
    for room, floors in FLOORS.items():
        folders = {path.parent.name for path in (ROOT / PACKAGE / room).glob("*/__init__.py")}
        named = {name for floor in floors for name in floor}
        assert folders <= named
        assert all((ROOT / PACKAGE / room / name).is_dir() for name in named - {"registration"})


def test_every_room_is_known_and_has_files() -> None:
    rooms = {path.relative_to(ROOT / PACKAGE).parts[0] for path in package_files()}
    assert rooms - {"__init__.py", "__main__.py"} == set(MAY_IMPORT) - {"__main__"}


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


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("blender.context.preferences", "from ..clip import cache_usage"),
        ("blender.context.preferences", "def draw():\n    from ..ui.widgets import wrapped"),
        ("blender.overlay.draw", "from ..review import live_review"),
        ("blender.clip.footage", "from ..tasks.live_preview import look_now"),
        ("blender.ui.panel_run", "from .. import registration"),
        ("engine.images.decode", "from ..accel import allocator"),
        ("engine.models.device", "from ..jobs.bake import bake"),
        ("client.packages.environment", "from ..worker.process import Worker"),
        ("core.footage.scan", "from ..mattes import store"),
        ("core.system.links", "from ..geometry import trace"),
    ],
)
def test_planted_import_of_a_folder_that_is_not_below_is_caught(module: str, source: str) -> None:
    assert upward_imports(source, f"{PACKAGE}.{module}")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("blender.context.preferences", "if TYPE_CHECKING:\n    from ..ui import preferences"),
        ("blender.ui.operators.click", "from ...overlay import draw\nfrom .polls import own_clip"),
        ("blender.ui.widgets", "from .. import ADDON_PACKAGE\nfrom . import error_panel"),
        ("engine.jobs.bake", "from ..models import device\nfrom ...core.footage import scan"),
        ("core.mattes.store", "from ..errors import StoreError\nfrom ..system import links"),
        ("core.bake_plan", "from .footage.scan import scan"),
    ],
)
def test_imports_of_folders_below_pass(module: str, source: str) -> None:
    assert upward_imports(source, f"{PACKAGE}.{module}") == []


def test_planted_circle_is_found_wherever_the_imports_stand() -> None:
    files = {
        "p.a": ("from . import b", False),
        "p.b": ("def f():\n    from .c import g", False),
        "p.c": ("import p.a", False),
        "p.d": ("from . import a", False),
    }
    assert circles(imports_of_files(files)) == [["p.a", "p.b", "p.c"]]
    files["p.c"] = ("if TYPE_CHECKING:\n    from .a import T", False)
    assert circles(imports_of_files(files)) == []


def test_relative_import_in_a_package_file_resolves_from_the_package_itself() -> None:
    names = list(imported_names("from . import job", "sam2_splat_addon.client", is_package=True))
    assert names == [(1, "sam2_splat_addon.client.job")]


def test_import_at_module_level_is_caught_and_one_in_a_function_is_not() -> None:
    assert module_level_imports("from __future__ import annotations\nimport bpy\n") == [2]
    assert module_level_imports("try:\n    import bpy\nexcept ImportError:\n    pass\n") == [2]
    assert module_level_imports("def register():\n    from .blender import registration\n") == []
