# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask layers and their keys, without their clip."""
