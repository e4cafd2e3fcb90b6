# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of frames to look at, kept up to date, and the strip of frames."""
