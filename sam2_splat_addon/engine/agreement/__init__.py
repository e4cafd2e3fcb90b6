# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks of all photos compared in 3D: the hull that they agree on, and the photos that disagree with it."""
