# SPDX-License-Identifier: GPL-3.0-or-later
"""Which photos to look at, and why: measures, checks, a verdict a frame, a report."""
