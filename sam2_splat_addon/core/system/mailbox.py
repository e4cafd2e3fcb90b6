# SPDX-License-Identifier: GPL-3.0-or-later
"""A queue between two threads that never holds more than a given number of bytes."""

from __future__ import annotations

import collections
import queue
import threading
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_OWN_BYTES: Final = 256  # the memory that Python needs for even the smallest item


class Mailbox(Generic[T]):
    """A queue of at most ``most`` bytes, even if its reader is slow.

    Parameters
    ----------
    most
        Bytes that may wait. One item may always wait, whatever its size.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._items: collections.deque[tuple[T, int]] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T, size: int) -> None:
        """Add an item of ``size`` bytes; waits until there is room, unless the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < self._most or self._closed)
            self._add(item, size)

    def put_last(self, item: T) -> None:
        """Add the last item; it needs no room."""
        with self._changed:
            self._add(item, 0)

    def offer(self, item: T, size: int, most: int) -> bool:
        """Add an item, unless ``most`` bytes wait already. Returns whether it was added; never waits."""
        with self._changed:
            if self._bytes >= most:
                return False
            self._add(item, size)
            return True

    def get(self, timeout: float = 0.0) -> T:
        """Take the oldest item; waits up to ``timeout`` seconds. Raises `queue.Empty` if none came."""
        with self._changed:
            if not self._items and timeout > 0.0:
                self._changed.wait_for(lambda: bool(self._items), timeout)
            if not self._items:
                raise queue.Empty
            item, size = self._items.popleft()
            self._bytes -= size
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """End all waiting: nothing will be taken from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _add(self, item: T, size: int) -> None:
        size += _OWN_BYTES
        self._items.append((item, size))
        self._bytes += size
        self._changed.notify_all()
