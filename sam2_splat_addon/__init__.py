# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM2 Splat: mask a capture with SAM 2 in Blender's Clip Editor, for Gaussian-splat training."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from .blender import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from .blender import registration

    registration.unregister()
