# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2 from photo to photo: plan, memories, session."""
