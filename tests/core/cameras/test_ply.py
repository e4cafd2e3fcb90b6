# SPDX-License-Identifier: GPL-3.0-or-later
"""Points of a PLY file are read, whatever its form, and a damaged file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam2_splat_addon.core.cameras.ply import read_points

_TYPES = [("red", "u1", "uchar"), ("x", "f4", "float"), ("n", "i2", "short"), ("y", "f8", "double"),
          ("z", "f4", "float32")]  # fmt: skip
_PLACES = np.array([[1.0, 2.0, 3.0], [-4.5, 5.25, -6.0], [0.0, 0.5, 8.0]])


def _header(form: str, count: int | str = 3, fields: str = "") -> bytes:
    rows = fields or "".join(f"property {word} {name}\n" for name, _, word in _TYPES)
    text = f"ply\nformat {form} 1.0\ncomment made by hand\nelement vertex {count}\n{rows}"
    return f"{text}element face 1\nproperty list uchar int vertex_indices\nend_header\n".encode()


def _data(form: str) -> bytes:
    if form == "ascii":
        rows = [f"7 {x} -1 {y} {z}" for x, y, z in _PLACES]
        return ("\n".join(rows) + "\n3 0 1 2\n").encode()
    order = "<" if form == "binary_little_endian" else ">"
    data = np.zeros(3, [(name, order + code) for name, code, _ in _TYPES])
    data["x"], data["y"], data["z"] = _PLACES.T
    return data.tobytes() + b"\x03more"


FORMS = ["ascii", "binary_little_endian", "binary_big_endian"]


@pytest.mark.parametrize("form", FORMS)
def test_points_are_read_among_other_fields_and_before_other_elements(
    tmp_path: Path, form: str
) -> None:
    path = tmp_path / "cloud.ply"
    path.write_bytes(_header(form) + _data(form))
    np.testing.assert_array_equal(read_points(path), _PLACES)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_ends_early_is_not_taken_for_fewer_points(tmp_path: Path, form: str) -> None:
    path = tmp_path / "cloud.ply"
    for count in (5, 10**9, 10**30, -1):
        path.write_bytes(_header(form, count) + _data(form))
        with pytest.raises(ValueError):
            read_points(path)
    rows = _data(form)
    two = b"\n".join(rows.split(b"\n")[:2]) if form == "ascii" else rows[: 2 * (len(rows) - 5) // 3]
    path.write_bytes(_header(form, 2) + two)
    assert read_points(path).shape == (2, 3)
    path.write_bytes(_header(form, 3) + two)  # it ends between two points
    with pytest.raises(ValueError, match="cut off"):
        read_points(path)
    path.write_bytes(_header(form) + rows[:40])
    with pytest.raises(ValueError):
        read_points(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_cloud_without_a_point_has_none(tmp_path: Path, form: str) -> None:
    path = tmp_path / "cloud.ply"
    path.write_bytes(_header(form, 0))
    assert read_points(path).shape == (0, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no PLY"),
        (b"plyformat\n", "no PLY"),
        (b"ply\nformat ascii 1.0\n", "does not end"),
        (b"ply\n" + b"comment again\n" * 2000 + b"end_header\n", "does not end"),
        (_header("binary_middle_endian"), "does not end"),
        (_header("ascii", 3, "property float x\nproperty float y\n"), "no x, y and z"),
        (_header("ascii", 3, "property list uchar int x\n"), "a list or an unknown type"),
        (_header("ascii", 3, "property colour x\n"), "a list or an unknown type"),
        (b"ply\nformat ascii 1.0\nelement face 2\nend_header\n", "do not come first"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "cloud.ply"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=said):
        read_points(path)
