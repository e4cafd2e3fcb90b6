# SPDX-License-Identifier: GPL-3.0-or-later
"""The part that runs in Blender: registration, operators, panels, clips and masks."""

from __future__ import annotations

# The add-on's package name. It is never a literal, because Blender's extension repository chooses it.
ADDON_PACKAGE = __package__.rpartition(".")[0]
