# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what the installed add-on says in each language, then without it. Run inside Blender.

blender -b -P translations.py -- RESULT.json
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import bpy

module = next(name for name in bpy.context.preferences.addons.keys() if "sam2_splat" in name)
catalogue: Any = importlib.import_module(f"{module}.blender.translations.catalogue")
told: Any = bpy.app.translations  # its stub says that nothing is returned


def said() -> dict[str, str]:
    """Return a label, a tooltip, a button, a text with a value, and the report of a real error."""
    bake = bpy.ops.sam2_splat.bake.get_rna_type()
    panel = bpy.types.SAM2SPLAT_PT_propagate
    clip = bpy.types.MovieClip.bl_rna.properties["sam2_splat"].fixed_type.properties
    try:
        bpy.ops.sam2_splat.load(filepath="/no/such/folder")
        report = ""
    except RuntimeError as error:
        report = str(error)
    return {
        "label": told.pgettext_iface(panel.bl_label, panel.bl_translation_context),
        "own word": told.pgettext_iface(
            clip["use_range"].name, clip["use_range"].translation_context
        ),
        "button": told.pgettext_iface(bake.name, bake.translation_context),
        "tooltip": told.pgettext_tip(bake.description),
        "Blender's button": told.pgettext_iface("Open Folder", "Operator"),
        "value": catalogue.translated("3 left out, damaged"),
        "report": report,
    }


view = bpy.context.preferences.view
found = {}
for language in ("en_US", "de_DE", "ja_JP", "fr_FR", "zh_HANS"):
    view.language = language
    found[language] = said()
view.language = "de_DE"
view.use_translate_interface = view.use_translate_reports = False
found["switched off"] = said()
view.use_translate_interface = view.use_translate_reports = True
bpy.ops.preferences.addon_disable(module=module)
found["disabled"] = {"button": told.pgettext_iface("Bake PNGs", catalogue.CONTEXT)}
Path(sys.argv[-1]).write_text(json.dumps(found), encoding="utf-8")
