# SPDX-License-Identifier: GPL-3.0-or-later
"""What was used last stays, within bounds."""

from __future__ import annotations

from sam2_splat_addon.core.system.lru import Lru


def test_the_entry_used_longest_ago_gives_way() -> None:
    kept = Lru[str, int](2)
    kept.keep("a", 1)
    kept.keep("b", 2)
    assert kept.get("a") == 1  # used again
    kept.keep("c", 3)
    assert ("a" in kept, "b" in kept, "c" in kept) == (True, False, True)
    assert kept.get("b") is None and len(kept) == 2


def test_an_entry_is_made_once_even_where_it_is_none() -> None:
    made: list[str] = []
    kept = Lru[str, int | None](2)

    def make() -> None:
        made.append("x")

    assert kept.made("a", make) is None and kept.made("a", make) is None
    assert made == ["x"]
    kept.made("b", make)
    kept.made("a", make)
    kept.made("c", make)
    assert "a" in kept and "b" not in kept


def test_weights_count_together_and_the_newest_stays_whatever_it_weighs() -> None:
    kept = Lru[str, int](10, lambda _, value: value)
    kept.keep("a", 4)
    kept.keep("b", 6)
    assert len(kept) == 2
    kept.keep("c", 1)
    assert "a" not in kept and "b" in kept
    kept.keep("d", 100)
    assert "d" in kept and len(kept) == 1


def test_chosen_entries_or_all_are_let_go() -> None:
    kept = Lru[tuple[int, int], str](9)
    for at in ((1, 1), (1, 2), (2, 1)):
        kept.keep(at, "x")
    kept.discard(lambda at: at[0] == 1)
    assert len(kept) == 1 and (2, 1) in kept
    kept.clear()
    assert len(kept) == 0
