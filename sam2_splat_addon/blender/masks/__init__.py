# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers and their keys; knows no clip."""
