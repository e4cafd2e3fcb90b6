# SPDX-License-Identifier: GPL-3.0-or-later
"""In the Blender room, what changes has an owner: nothing is kept in modules, bar what is listed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

BLENDER = Path(__file__).resolve().parents[1] / "sam2_splat_addon" / "blender"

# Statements `global` that there may be, each with its reason: none.
GLOBALS: dict[str, str] = {}
# Names at module level that begin empty and are filled later, each with its reason.
KEPT = {
    ("context/clip_state.py", "_kinds"): "the classes of parts, known once their modules are",
    ("context/clip_state.py", "_states"): "the owner itself",
    ("context/session_state.py", "_kinds"): "the classes of parts, known once their modules are",
    ("context/session_state.py", "_parts"): "the owner itself",
}
_CONTAINERS = {"dict", "list", "set", "OrderedDict", "defaultdict", "deque", "Lru"}


def global_names(source: str) -> list[str]:
    """Return the names that functions declare `global`."""
    nodes = ast.walk(ast.parse(source))
    return [name for node in nodes if isinstance(node, ast.Global) for name in node.names]


def kept_names(source: str) -> list[str]:
    """Return the names at module level that begin empty, as a container or None."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and _begins_empty(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [target.id for target in targets if isinstance(target, ast.Name)]
    return found


def _begins_empty(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    if isinstance(value, ast.Call):
        made = value.func.value if isinstance(value.func, ast.Subscript) else value.func
        return isinstance(made, ast.Name) and made.id in _CONTAINERS and not value.keywords
    return isinstance(value, ast.Constant) and value.value is None


def files() -> list[tuple[str, str]]:
    return [
        (path.relative_to(BLENDER).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(BLENDER.rglob("*.py"))
    ]


def test_no_function_changes_a_name_of_its_module() -> None:
    found = {f"{name}:{one}" for name, source in files() for one in global_names(source)}
    assert found == set(GLOBALS)


def test_no_module_keeps_what_has_an_owner() -> None:
    found = {(name, one) for name, source in files() for one in kept_names(source)}
    assert found == set(KEPT)


@pytest.mark.parametrize(
    "source",
    [
        "_x: dict[int, int] = {}",
        "_x = []",
        "_x: set[int] = set()",
        "_x: OrderedDict[int, int] = OrderedDict()",
        "_x = Lru[int, int](4)",
        "_x: Any = None",
    ],
)
def test_planted_state_is_found(source: str) -> None:
    assert kept_names(source) == ["_x"]
    assert global_names("def f():\n    global _x\n    _x = 1") == ["_x"]


@pytest.mark.parametrize("source", ["X = {1: 2}", "X = (1,)", "X = frozenset({1})", "X: int"])
def test_constants_are_no_state(source: str) -> None:
    assert kept_names(source) == []
