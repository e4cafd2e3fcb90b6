# SPDX-License-Identifier: GPL-3.0-or-later
"""Calculate with outlines, coordinates and mattes. Only numpy is used."""
