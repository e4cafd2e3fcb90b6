# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the photos, read their headers, make the folder of links, find the same photos again."""
