# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `sam2-splat`: read a job and run it, without Blender."""
