# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python and the packages that the SAM 2 process runs with, and how they are installed."""
