# SPDX-License-Identifier: GPL-3.0-or-later
"""Models and their weights: built, checked, loaded, kept, put on a device."""
