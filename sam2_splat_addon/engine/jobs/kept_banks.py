# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory banks that previews have tracked to, kept in this process.

A bank stands just before a frame that was clicked on. So the next preview of that frame computes one
frame only, and so does a propagation of that frame alone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..tracking.memory_bank import BankState

KEPT_BANKS: Final = 6
"""Number of memory banks that are kept. Each stands just before a previewed frame, for one object
and one side.

3 MB each at 1024 px, and 0.5 MB more for every corrected frame in reach.
"""


class KeptBanks:
    """The newest banks, by the key of the matte that was tracked last.

    The key says all that decides a bank: photos, prompts, model, settings and machine.
    """

    def __init__(self) -> None:
        self._banks: OrderedDict[str, BankState] = OrderedDict()

    def get(self, key: str) -> BankState | None:
        """Return the bank after the frame with this key, if it is kept."""
        return self._banks.get(key)

    def keep(self, key: str, state: BankState, in_place_of: str | None) -> None:
        """Keep a bank. It may replace another one, else the oldest one goes."""
        if in_place_of is not None:
            self._banks.pop(in_place_of, None)
        self._banks[key] = state
        self._banks.move_to_end(key)
        if len(self._banks) > KEPT_BANKS:
            self._banks.popitem(last=False)


shared: Final = KeptBanks()
"""The banks of this process."""
