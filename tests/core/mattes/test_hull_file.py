# SPDX-License-Identifier: GPL-3.0-or-later
"""A hull's file is read whole, or counts as missing, whatever happened to its bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_splat_addon.core.mattes.hull_file import read_hull_file
from sam2_splat_addon.core.system.npz_file import read_npz

HULL: dict[str, NDArray[Any]] = {
    "key": np.array("digest"),
    "offsets": np.arange(12.0).reshape(4, 3),
    "sizes": np.full(4, 0.5),
    "shares": np.linspace(0, 1, 4).astype(np.float16),
    "centre": np.array([1.0, 2, 3]),
    "radius": np.array(2.5),
    "voxel": np.array(0.25),
    "frames": np.array([3, 7]),
    "trust": np.array([1.0, 0.5]),
    "others": np.array(1),
}


def _bytes(**changed: NDArray[Any] | None) -> bytes:
    file = io.BytesIO()
    every = {**HULL, **changed}
    np.savez_compressed(
        file, allow_pickle=False, **{name: at for name, at in every.items() if at is not None}
    )
    return file.getvalue()


def test_a_hull_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "hull.npz"
    assert read_hull_file(path) is None
    path.write_bytes(_bytes(more=np.zeros(2)))
    found = read_hull_file(path)
    assert found is not None and list(found) == list(HULL)
    for name, array in HULL.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("name", "array"),
    [(name, None) for name in HULL]
    + [
        ("offsets", np.zeros((4, 2))),
        ("offsets", np.zeros((3, 3))),
        ("offsets", np.array(3.0)),
        ("sizes", np.zeros((4, 1))),
        ("sizes", np.array(4.0)),
        ("shares", np.zeros(5)),
        ("centre", np.zeros(2)),
        ("radius", np.zeros(2)),
        ("voxel", np.zeros(1)),
        ("frames", np.array([3])),
        ("trust", np.zeros((2, 2))),
        ("key", np.array(["digest"])),
    ],
)
def test_arrays_that_do_not_belong_together_are_no_hull(
    tmp_path: Path, name: str, array: NDArray[Any] | None
) -> None:
    path = tmp_path / "hull.npz"
    path.write_bytes(_bytes(**{name: array}))
    assert read_hull_file(path) is None


def test_a_hull_has_one_row_of_cells_however_many(tmp_path: Path) -> None:
    path = tmp_path / "hull.npz"
    for count in (0, 1, 7):
        cells = {"offsets": np.zeros((count, 3)), "sizes": np.ones(count), "shares": np.ones(count)}
        path.write_bytes(_bytes(**cells))
        assert read_hull_file(path) is not None
    grid = {"offsets": np.zeros((2, 2, 3)), "sizes": np.ones((2, 2)), "shares": np.ones((2, 2))}
    path.write_bytes(_bytes(**grid))
    assert read_hull_file(path) is None


def test_bad_bytes_of_any_kind_are_damage_and_nothing_else() -> None:
    whole = _bytes()
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    for data in (b"", b"PK", whole[: len(whole) // 2], whole[:-1], single.getvalue(), b"x" * 999):
        with pytest.raises(ValueError, match="damaged"):
            read_npz(data)
    met = 0
    for place in range(0, len(whole), 3):  # a bit of each is enough to meet every kind of error
        changed = bytearray(whole)
        changed[place] ^= (1, 0x40, 0x80)[place // 3 % 3]
        try:
            read_npz(bytes(changed))
        except ValueError as problem:
            assert str(problem) == "it is damaged"
            met += 1
    assert met > len(whole) // 6


def test_objects_that_could_run_code_are_refused() -> None:
    file = io.BytesIO()
    np.savez(file, key=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="damaged"):
        read_npz(file.getvalue())
