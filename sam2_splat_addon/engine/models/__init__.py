# SPDX-License-Identifier: GPL-3.0-or-later
"""Models and their weights: build, check, load, keep, and put on a device."""
