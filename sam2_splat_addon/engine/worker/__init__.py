# SPDX-License-Identifier: GPL-3.0-or-later
"""The SAM 2 process from inside: its start, and its loop over requests."""
