# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the entries that were used last, and drop the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A dictionary of limited size. A new entry replaces the one that was used longest ago.

    Parameters
    ----------
    limit
        The largest weight of all entries together. The newest entry always stays.
    weigh
        Returns the weight of an entry; by default 1.

    Examples
    --------
    >>> kept = Lru[str, int](2)
    >>> [kept.made(word, lambda word=word: len(word)) for word in ("a", "bb", "ccc")]
    [1, 2, 3]
    >>> "a" in kept, len(kept)
    (False, 2)
    """

    def __init__(self, limit: int, weigh: Callable[[K, V], int] | None = None) -> None:
        self._limit = limit
        self._weigh = weigh
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the entry of a key, and count it as used; None if there is none."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def keep(self, key: K, value: V) -> None:
        """Add an entry, or replace the old one."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > 1 and self._weight() > self._limit:
            self._entries.popitem(last=False)

    def made(self, key: K, make: Callable[[], V]) -> V:
        """Return the entry of a key; make it if there is none."""
        if key not in self._entries:
            self.keep(key, make())
        self._entries.move_to_end(key)
        return self._entries[key]

    def discard(self, is_gone: Callable[[K], bool]) -> None:
        """Drop the entries of some keys."""
        for key in [key for key in self._entries if is_gone(key)]:
            del self._entries[key]

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()

    def _weight(self) -> int:
        if self._weigh is None:
            return len(self._entries)
        return sum(self._weigh(key, value) for key, value in self._entries.items())
