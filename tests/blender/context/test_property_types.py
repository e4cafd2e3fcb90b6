# SPDX-License-Identifier: GPL-3.0-or-later
"""The types in our classes, which mypy reads, are the types of the properties in Blender.

No ``from __future__ import annotations`` here, because a test declares a class as the add-on does.
"""

import ast
import inspect
import textwrap
from typing import Annotated, Any, get_type_hints

import bpy
import pytest

from sam2_splat_addon.blender import ADDON_PACKAGE
from sam2_splat_addon.core import settings

pytestmark = pytest.mark.usefixtures("addon")

PLAIN = {"BOOLEAN": "bool", "INT": "int", "FLOAT": "float", "STRING": "str", "ENUM": "str"}


def body_of(cls: type) -> list[ast.stmt]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    return tree.body


def written_types(cls: type) -> dict[str, str]:
    """Return the type beside each property that a class declares."""
    found = {}
    for line in body_of(cls):
        note = line.annotation if isinstance(line, ast.AnnAssign) else None
        if isinstance(note, ast.Subscript) and ast.unparse(note.value) == "Annotated":
            assert isinstance(line, ast.AnnAssign) and isinstance(note.slice, ast.Tuple)
            found[ast.unparse(line.target)] = ast.unparse(note.slice.elts[0]).strip("'")
    return found


def registered_types(cls: Any) -> dict[str, str]:
    """Return the types in Blender of a class's own properties, without those of its bases."""
    base = {"rna_type"}
    for one in cls.__mro__:  # such as Blender's own class for operators that save presets
        if not one.__module__.startswith(ADDON_PACKAGE):
            base |= get_type_hints(one).keys()
    if issubclass(cls, bpy.types.Operator):
        group, name = cls.bl_idname.split(".")
        properties = getattr(getattr(bpy.ops, group), name).get_rna_type().properties
    else:
        properties = cls.bl_rna.properties
        base |= set(cls.bl_rna.base.properties.keys())
    return {one.identifier: type_of(one) for one in properties if one.identifier not in base}


def type_of(rna: Any) -> str:
    if rna.type == "COLLECTION":
        return f"Rows[{rna.fixed_type.identifier}]"
    if rna.type == "POINTER":
        return f"bpy.types.{rna.fixed_type.identifier} | None"
    if rna.type == "ENUM" and rna.is_enum_flag:
        return "set[str]"
    return f"Sequence[{PLAIN[rna.type]}]" if getattr(rna, "is_array", False) else PLAIN[rna.type]


def declared_of(cls: type) -> dict[str, Any]:
    """Return the types of the settings that `declare` adds to a class."""
    kinds: dict[str, tuple[type[settings.Settings], ...]] = {
        "SAM2SPLAT_PG_clip": settings.CLIP_SETTINGS,
        "SAM2SPLAT_PG_window": (settings.VideoSettings,),
    }
    found: dict[str, Any] = {}
    for kind in kinds.get(cls.__name__, ()):
        hints = get_type_hints(kind, include_extras=True)
        found |= {one.name: hints[one.name].__origin__ for one in settings.declared(kind)}
    return found


def test_every_property_has_the_type_that_is_written_beside_it() -> None:
    from sam2_splat_addon.blender.registration import CLASSES

    seen = 0
    for cls in CLASSES:
        written, found = written_types(cls), registered_types(cls)
        for one in declared_of(cls):  # `declare` makes them
            del found[one]
        assert found == written, cls.__name__
        seen += len(written)
    assert seen > 60


@pytest.mark.parametrize("name", ["SAM2SPLAT_PG_clip", "SAM2SPLAT_PG_window"])
def test_settings_read_by_name_have_the_type_of_their_declaration(name: str) -> None:
    from sam2_splat_addon.blender.context import properties

    cls = getattr(properties, name)
    declared = declared_of(cls)
    (typed,) = [line for line in body_of(cls) if isinstance(line, ast.If)]
    assert ast.unparse(typed.test) == "TYPE_CHECKING"
    for line in typed.body:
        assert isinstance(line, ast.AnnAssign)
        meant = eval(ast.unparse(line.annotation), vars(settings))
        assert meant == declared[ast.unparse(line.target)], ast.unparse(line)


def test_only_the_property_is_left_of_an_annotation() -> None:
    from sam2_splat_addon.blender.context.properties import take_properties

    class Base:
        one: Annotated[int, "first"]

    class Mixed(Base):
        two: Annotated[str, "second"]
        three: int

    for _ in range(2):  # the user may enable an add-on twice in one Blender
        take_properties(Mixed)
        assert Base.__annotations__ == {"one": "first"}
        assert Mixed.__annotations__ == {"two": "second", "three": int}
