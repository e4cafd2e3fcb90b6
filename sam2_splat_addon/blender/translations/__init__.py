# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in other languages than English: one catalogue (JSON) for each language."""
