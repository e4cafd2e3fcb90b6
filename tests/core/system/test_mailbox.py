# SPDX-License-Identifier: GPL-3.0-or-later
"""A queue between two threads holds no more bytes than it may, and lets nobody wait for ever."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from sam2_splat_addon.core.system.mailbox import Mailbox


def test_items_come_out_in_their_order_and_an_empty_one_says_so() -> None:
    box: Mailbox[str] = Mailbox(10_000)
    box.put("a", 10)
    box.put("b", 20)
    box.put_last("end")
    assert [box.get() for _ in range(3)] == ["a", "b", "end"]
    began = time.monotonic()
    for timeout in (0.0, 0.1):
        with pytest.raises(queue.Empty):
            box.get(timeout)
    assert time.monotonic() - began >= 0.1


def test_a_full_one_lets_the_writer_wait_for_the_reader() -> None:
    box: Mailbox[int] = Mailbox(1000)
    written: list[int] = []

    def write() -> None:
        for number in range(6):
            box.put(number, 2000)  # each is larger than what may wait, so one waits at a time
            written.append(number)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for number in range(6):
        assert box.get(20.0) == number
        assert len(written) <= number + 2
    writer.join(20.0)
    assert written == list(range(6))


def test_small_items_count_with_what_python_needs_for_them() -> None:
    box: Mailbox[int] = Mailbox(10_000)
    offered = [box.offer(number, 0, 2560) for number in range(20)]
    assert offered == [True] * 10 + [False] * 10
    assert box.get() == 0
    assert box.offer(99, 0, 2560)
    assert not box.offer(100, 0, 2560)
    assert [box.get() for _ in range(10)] == [*range(1, 10), 99]


def test_the_last_item_needs_no_room() -> None:
    box: Mailbox[int] = Mailbox(100)
    box.put(1, 1000)
    writer = threading.Thread(target=box.put_last, args=(2,), daemon=True)
    writer.start()
    writer.join(20.0)
    assert not writer.is_alive()
    assert [box.get(), box.get()] == [1, 2]


def test_a_closed_one_ends_the_wait() -> None:
    box: Mailbox[int] = Mailbox(100)
    box.put(1, 1000)
    writer = threading.Thread(target=box.put, args=(2, 1000), daemon=True)
    writer.start()
    time.sleep(0.05)
    assert writer.is_alive()
    box.close()
    writer.join(20.0)
    assert not writer.is_alive()


def test_a_reader_that_waits_gets_what_comes() -> None:
    box: Mailbox[int] = Mailbox(100)
    threading.Timer(0.1, box.put, (5, 1)).start()
    assert box.get(20.0) == 5
