# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a run is for how much quality: the modes and what each leaves out; core only.

What each mode costs is measured in docs/performance.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PromptError

_STEP = 32  # px; a model's input is a multiple of it


@dataclass(frozen=True)
class Speed:
    """One mode.

    Attributes
    ----------
    name
        As settings and manifests have it.
    side
        Of the model's square input, of its own (1.0).
    pooled
        Whether a frame attends to a quarter of each memory's cells.
    """

    name: str
    side: float
    pooled: bool

    def input_size(self, own: int) -> int:
        """Side of the input in px, for a model whose own is ``own``: a multiple of 32."""
        return max(round(own * self.side / _STEP), 1) * _STEP


QUALITY = Speed("quality", 1.0, pooled=False)
BALANCED = Speed("balanced", 0.75, pooled=True)
FAST = Speed("fast", 0.5, pooled=True)
SPEEDS = (QUALITY, BALANCED, FAST)


def speed_named(name: str) -> Speed:
    """The mode of this name; raises PromptError when there is none."""
    for speed in SPEEDS:
        if speed.name == name:
            return speed
    raise PromptError(
        f"There is no speed called {name!r}.",
        f"Choose one of {', '.join(speed.name for speed in SPEEDS)}.",
    )
