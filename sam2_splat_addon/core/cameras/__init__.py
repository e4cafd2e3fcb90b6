# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras of photos: lenses, the files of other programs, and which camera belongs to which photo."""
