# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of one clip: photos, clicks, drawn masks, mattes and cache."""
