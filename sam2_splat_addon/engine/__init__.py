# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2 and pixels, run in the worker process; imports core, torch, sam2 and image libraries, never bpy."""
