# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that counts what has come of it, for tests."""

from __future__ import annotations

from sam2_splat_addon.client.worker.job import Job
from sam2_splat_addon.core.protocol import Event, FrameDone


class CountedJob(Job):
    """Counts the finished mattes or images, whoever takes them."""

    frames_done = 0

    def _take(self, event: Event) -> None:
        self.frames_done += isinstance(event, FrameDone)
        super()._take(event)
