# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other folders here need: properties, preferences, the active clip, the running task."""
