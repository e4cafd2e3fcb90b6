# SPDX-License-Identifier: GPL-3.0-or-later
"""Make orbit captures of procedural scenes with ground truth."""
