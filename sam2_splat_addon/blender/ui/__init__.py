# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels, preferences, keys and buttons."""
