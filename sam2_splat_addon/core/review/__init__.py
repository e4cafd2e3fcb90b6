# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the photos to look at, and say why: measures, checks, a verdict per frame, a report."""
