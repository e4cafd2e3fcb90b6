# SPDX-License-Identifier: GPL-3.0-or-later
"""What saves time or memory and changes no result."""
