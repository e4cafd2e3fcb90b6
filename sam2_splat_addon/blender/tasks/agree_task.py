# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the clip's masks in 3D, and let photos that disagree be prompted by the others."""

from __future__ import annotations

import bpy

from ...core.printable import with_warnings
from ...core.protocol import AgreeRequest, FootageFiles
from ..clip import markers
from ..clip.user_masks import Drawn
from .job_task import Steps
from .propagate_task import PropagateTask


class AgreeTask(PropagateTask):
    """Propagate if need be, compare, and with ``rounds`` improve the masks.

    Parameters
    ----------
    clip
        A clip with clicks.
    device, threads, strict
        As for a propagation.
    rounds
        See `core.protocol.AgreeRequest`.

    Raises (when made)
    ------------------
    SplatError
        There are no prompts, or the checkpoint or the packages are missing.
    """

    title = "Comparing in 3D"

    def __init__(
        self,
        clip: bpy.types.MovieClip,
        *,
        device: str,
        threads: int,
        strict: bool = False,
        rounds: int = 0,
    ) -> None:
        super().__init__(clip, device=device, threads=threads, strict=strict)
        self._rounds = rounds
        if rounds:
            self.title = "Agreeing in 3D"

    def request(self, footage: FootageFiles, edited: Drawn) -> AgreeRequest:  # type: ignore[override]
        """Return the request: that of a propagation, with the cameras."""
        wish = super().request(footage, edited)
        return AgreeRequest(wish, wish.cameras, self._rounds)

    def follow_up(self) -> Steps:
        """Add the new prompts to the clip as clicks and boxes, then make the mask layers."""
        assert self._job is not None  # it has just ended
        result = self._job.result
        if not self.cancelled and result is not None and result.prompts is not None:
            markers.add(self.clip(), result.prompts)
        yield from super().follow_up()

    def _summary(self) -> str:
        if self.cancelled or self._job is None or self._job.result is None:
            return super()._summary()
        return with_warnings(self._job.result.summary, self.warnings)
