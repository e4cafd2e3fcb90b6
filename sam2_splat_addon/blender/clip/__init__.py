# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to one clip: photos, clicks, drawn masks, its mattes and its cache."""
