# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's life seen from outside; imports core only, neither bpy nor torch."""
