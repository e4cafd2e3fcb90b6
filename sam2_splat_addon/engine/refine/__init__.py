# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks made finer: a second look at a crop, edges at the photo's own size."""
