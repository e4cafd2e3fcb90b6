# SPDX-License-Identifier: GPL-3.0-or-later
"""Outlines, coordinates and mattes as numbers; numpy only."""
