# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's keys in the Clip Editor. The user can change them in the preferences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bpy

from ..context import session_state
from ..context.present import present
from ..context.session_state import SessionPart

# Blender's own keymap of the Clip Editor's main region.
_NAME = "Clip Editor"


@dataclass(frozen=True)
class _Key:
    """One keymap item.

    Attributes
    ----------
    operator
        The operator that the key calls.
    type, value
        The event, in Blender's names.
    properties
        Properties that the operator gets.
    listed
        Whether the preferences list the key. They do not list moves of the mouse.
    """

    operator: str
    type: str
    value: str = "PRESS"
    shift: bool = False
    ctrl: bool = False
    alt: bool = False
    properties: tuple[tuple[str, object], ...] = ()
    listed: bool = True


_DIGITS = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")

_KEYS = (
    _Key("sam2_splat.tool", "K"),
    _Key("sam2_splat.brush", "J"),
    _Key("sam2_splat.brush_stroke", "LEFTMOUSE"),
    _Key("sam2_splat.brush_stroke", "LEFTMOUSE", ctrl=True, properties=(("switch", True),)),
    _Key("sam2_splat.brush_size", "F"),
    _Key("sam2_splat.brush_size_step", "LEFT_BRACKET", properties=(("larger", False),)),
    _Key("sam2_splat.brush_size_step", "RIGHT_BRACKET", properties=(("larger", True),)),
    _Key("sam2_splat.click", "LEFTMOUSE"),
    _Key("sam2_splat.click", "LEFTMOUSE", alt=True, properties=(("include", False),)),
    _Key("sam2_splat.click", "LEFTMOUSE", shift=True, properties=(("use_stroke", True),)),
    _Key(
        "sam2_splat.click",
        "LEFTMOUSE",
        shift=True,
        alt=True,
        properties=(("include", False), ("use_stroke", True)),
    ),
    _Key("sam2_splat.switch", "V"),
    _Key("sam2_splat.hover_preview", "U"),
    _Key("sam2_splat.show_before", "O"),
    *(
        _Key("sam2_splat.choose_subject", key, properties=(("number", number),))
        for number, key in enumerate(_DIGITS, start=1)
    ),
    _Key("sam2_splat.click_delete", "X"),
    _Key("sam2_splat.remove_contour", "X", shift=True),
    _Key("sam2_splat.review_step", "PAGE_DOWN", properties=(("direction", "NEXT"),)),
    _Key("sam2_splat.review_step", "PAGE_UP", properties=(("direction", "PREVIOUS"),)),
    _Key("sam2_splat.looks_fine", "Y"),
    _Key("sam2_splat.click_hover", "MOUSEMOVE", "ANY", listed=False),
    _Key("sam2_splat.next_view", "Z"),
    # Not Shift+Alt+Z, which is Blender's own "Show Overlays" in 5.2.
    _Key("sam2_splat.toggle_masks", "Z", shift=True),
)


@dataclass
class _Keys(SessionPart):
    """The keys that we added."""

    made: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = field(default_factory=list)

    def closes(self) -> None:
        """Remove the keys."""
        for keymap, item in self.made:
            keymap.keymap_items.remove(item)
        self.made.clear()


def register() -> None:
    """Add the keys. Blender without a window has none."""
    configuration = present(bpy.context.window_manager).keyconfigs.addon
    if configuration is None or bpy.app.background:
        return
    keymap = configuration.keymaps.new(name=_NAME, space_type="CLIP_EDITOR", region_type="WINDOW")
    items: Any = keymap.keymap_items
    for key in _KEYS:
        item = items.new(
            key.operator, key.type, key.value, shift=key.shift, ctrl=key.ctrl, alt=key.alt
        )
        for name, value in key.properties:
            setattr(item.properties, name, value)
        session_state.part(_Keys).made.append((keymap, item))


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw the keys as the user has set them, so that they can be changed."""
    import rna_keymap_ui

    user: Any = present(context.window_manager).keyconfigs.user
    keymap = user.keymaps.get(_NAME)
    for item in _user_items(keymap) if keymap is not None else ():
        layout.context_pointer_set("keymap", keymap)
        rna_keymap_ui.draw_kmi([], user, keymap, item, layout, 0)


def _user_items(keymap: bpy.types.KeyMap) -> Iterator[Any]:
    """Yield the listed keys as the user has set them."""
    wanted = {(key.operator, key.properties) for key in _KEYS if key.listed}
    for item in keymap.keymap_items:
        for operator, properties in wanted:
            if item.idname == operator and all(
                getattr(item.properties, name, None) == value for name, value in properties
            ):
                yield item
                break
