# SPDX-License-Identifier: GPL-3.0-or-later
"""What all other rooms here ask for: properties, preferences, the active clip, the task."""
