# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole requests: propagate, preview, bake, report."""
