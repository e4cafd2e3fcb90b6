# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a run is for how much quality: the modes and what each leaves out; core only.

What each mode costs is measured in tools/research/notes/performance.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import PromptError


@dataclass(frozen=True)
class Speed:
    """One mode.

    Attributes
    ----------
    name
        As settings and manifests have it.
    input_sizes
        Side of the model's square input by the side that it was trained for, px. A model that
        sees little as it is can do without less of it.
    pooled
        Whether a frame attends to a quarter of each memory's cells.
    """

    name: str
    input_sizes: Mapping[int, int] = field(default_factory=dict)
    pooled: bool = True

    def input_size(self, own: int) -> int:
        """Side of the input in px, for a model whose own is ``own``."""
        return self.input_sizes.get(own, own)


QUALITY = Speed("quality", pooled=False)
BALANCED = Speed("balanced", {1024: 768, 512: 448})
FAST = Speed("fast", {1024: 512, 512: 384})
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
