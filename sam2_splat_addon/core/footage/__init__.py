# SPDX-License-Identifier: GPL-3.0-or-later
"""Which photos there are: scan, headers, staging folders, the same photos found again."""
