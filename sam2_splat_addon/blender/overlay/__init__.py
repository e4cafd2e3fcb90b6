# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks and clicks, drawn over the photo."""
