# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and install the Python and the packages that the SAM 2 process needs."""
