# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the cameras of photos with pycolmap. Nothing here imports torch."""
