# SPDX-License-Identifier: GPL-3.0-or-later
"""Data and rules of SAM2 Splat."""
