# SPDX-License-Identifier: GPL-3.0-or-later
"""Finer masks: a second look at a crop, and edges at the photo's own size."""
