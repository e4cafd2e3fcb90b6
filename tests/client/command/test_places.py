# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether results can be written is found out before a run, and trying leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sam2_splat_addon.client.command.places import (
    make_parents,
    require_new_output,
    require_report,
    require_writable,
)
from sam2_splat_addon.core.errors import BakeError, StoreError

TOO_LONG = "x" * 300


def test_a_new_folder_is_tried_with_its_parents_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in ("new", "a b/é/new", "there/new"):
        require_new_output(tmp_path / folder)
        require_report(tmp_path / folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_folder_that_exists_or_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BakeError, match="exists already"):
        require_new_output(tmp_path)
    for folder in (tmp_path / "file" / "new", tmp_path / "a" / TOO_LONG, tmp_path / "a\0b"):
        with pytest.raises(BakeError, match="can't be made"):
            require_new_output(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_folders_around_a_bake_are_made_and_not_the_bake_itself(tmp_path: Path) -> None:
    make_parents(tmp_path / "a" / "b" / "bake")
    make_parents(tmp_path / "a" / "b" / "bake")
    assert (tmp_path / "a" / "b").is_dir() and not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BakeError, match="can't be made"):
        make_parents(tmp_path / "file" / "b" / "bake")


def test_a_review_goes_into_a_folder_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / TOO_LONG):
        with pytest.raises(StoreError, match="report can't be written"):
            require_report(folder)
    require_report(tmp_path)
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "review.html").mkdir()
    names = [path.name for path in tmp_path.rglob("*")]
    require_report(tmp_path / "review" / "below")
    assert [path.name for path in tmp_path.rglob("*")] == names


def test_a_file_is_tried_by_another_one_beside_it(tmp_path: Path) -> None:
    path, beside = tmp_path / "scene.blend", tmp_path / ".tried"
    require_writable(path, beside, "--save")
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    beside.write_text("somebody's own")
    require_writable(path, beside, "--save")
    assert (path.read_text(), beside.read_text()) == ("mine", "somebody's own")
    with pytest.raises(StoreError, match=r"can't be written.*--save"):
        require_writable(tmp_path, beside, "--save")  # a folder
    with pytest.raises(StoreError, match="can't be written"):
        require_writable(tmp_path / "missing" / "x", tmp_path / "missing" / "y", "--save")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_beside_a_file_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    beside = tmp_path / ".tried"
    beside.symlink_to(target)
    with pytest.raises(StoreError, match="is a link"):
        require_writable(tmp_path / "scene.blend", beside, "--save")
    assert not target.exists()
