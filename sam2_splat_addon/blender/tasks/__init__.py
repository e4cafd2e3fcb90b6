# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work, one task at a time: load, propagate, bake and report, previews, mask layers."""
