# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos are found again by name, size, or name without extension, and never by chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from sam2_splat_addon.core.footage.matching import (
    KnownPhoto,
    first_other,
    from_text,
    known_photos,
    moved_frames,
    to_text,
)
from sam2_splat_addon.core.footage.scan import scan


def photos(*names: str, sizes: Sequence[int] | None = None) -> tuple[KnownPhoto, ...]:
    """Make photos with these names. By default each name has its own size."""
    chosen = sizes or [1000 + sum(map(ord, name)) for name in names]
    return tuple(KnownPhoto(name, size) for name, size in zip(names, chosen, strict=True))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param(photos("a", "b"), photos("a", "b"), {1: 1, 2: 2}, id="the same"),
        pytest.param(photos("a", "b", "c"), photos("a", "c"), {1: 1, 3: 2}, id="one went"),
        pytest.param(photos("b", "c"), photos("a", "b", "c"), {1: 2, 2: 3}, id="one came"),
        pytest.param(photos("a", "b"), photos("b", "c"), {2: 1}, id="one went, another came"),
        pytest.param(
            photos("1", "2", "3", "4", sizes=[11, 12, 13, 14]),
            photos("1", "2", "3", sizes=[11, 13, 14]),
            {1: 1, 3: 2, 4: 3},
            id="one went, the others numbered anew",
        ),
        pytest.param(
            photos("a", "b", "c", sizes=[7, 7, 7]),
            photos("b", "c", "d", sizes=[7, 7, 7]),
            {2: 1, 3: 2},
            id="all of one size: another photo is none that was renamed",
        ),
        pytest.param(
            photos("a", "b", sizes=[5, 6]),
            photos("a", "b", sizes=[5, 9]),
            {1: 1, 2: 2},
            id="one was edited",
        ),
        pytest.param(
            photos("A.tif", "B.tif", "C.tif", sizes=[7, 7, 7]),
            photos("A.jpg", "C.jpg", sizes=[3, 4]),
            {1: 1, 3: 2},
            id="exported in another format",
        ),
        pytest.param(
            photos("a", "b", sizes=[7, 7]),
            photos("x", "y", sizes=[7, 7]),
            {},
            id="all renamed, all of one size",
        ),
        pytest.param(photos("a", "b"), photos("x", "y", "z"), {}, id="nothing is known again"),
    ],
)
def test_photos_are_followed(
    before: tuple[KnownPhoto, ...], now: tuple[KnownPhoto, ...], expected: dict[int, int]
) -> None:
    assert moved_frames(before, now) == expected


def test_the_first_photo_of_another_name_is_found() -> None:
    assert first_other(photos("a", "b"), photos("a", "b", sizes=[1, 2])) is None
    assert first_other(photos("a", "b", "c"), photos("a", "c")) == 2
    assert first_other(photos("a"), photos("a", "b")) is None


def test_names_in_any_script_are_remembered_the_same_on_every_system(tmp_path: Path) -> None:
    for name in ("gru\u0308n.png", "写真 1.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    known = known_photos(scan(tmp_path))
    assert {photo.name for photo in known} == {"grün.png", "写真 1.png"}
    assert all(photo.size == (tmp_path / "写真 1.png").stat().st_size for photo in known)
    assert from_text(to_text(known)) == known
    assert from_text("") == ()
