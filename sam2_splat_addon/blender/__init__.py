# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that imports bpy: registration, operators, panels, clip and mask conversions."""

from __future__ import annotations

# The add-on's own package name, whatever Blender's extension repository calls it: never a literal.
ADDON_PACKAGE = __package__.rpartition(".")[0]
