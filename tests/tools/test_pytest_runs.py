# SPDX-License-Identifier: GPL-3.0-or-later
"""The test command counts what pytest says, a second try and a run that died included."""

from __future__ import annotations

from pathlib import Path

from tools.pytest_runs import ROOT, Count, run_pytest

_CONFTEST = """
import pytest
from tests.window.conftest import (
    pytest_collection_modifyitems, pytest_runtest_makereport, pytest_terminal_summary
)

@pytest.fixture(scope="session")
def blender():
    return None

@pytest.fixture
def played(blender, tmp_path_factory, request):
    tries = tmp_path_factory.getbasetemp() / request.node.name
    with tries.open("a") as file:
        file.write("x")
    return len(tries.read_text())
"""
_TESTS = """
def test_steady(played): assert played == 1
def test_shaky(played): assert played == 2
def test_broken(played): assert played > 2
def test_without_a_window(): assert False
"""


def _run(folder: Path, tests: str) -> Count:
    (folder / "test_some.py").write_text(tests)
    return run_pytest(["-p", "no:cacheprovider", f"--rootdir={folder}", str(folder)])


def test_window_test_passes_at_the_second_try_or_fails(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{_CONFTEST}"
    )
    assert _run(tmp_path, _TESTS) == Count(2, 2, 0, ("test_shaky",))


def test_run_that_dies_is_a_failure(tmp_path: Path) -> None:
    dies = "import os\ndef test_well(): pass\ndef test_dies(): os._exit(3)\n"
    assert _run(tmp_path, dies) == Count(0, 1, 0)


def test_run_in_the_background_keeps_its_words_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test_wrong(): assert 'black' == 'white'\n")
    with (tmp_path / "printed").open("w+") as printed:
        arguments = ["-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
        assert run_pytest(arguments, output=printed) == Count(0, 1, 0)
        printed.seek(0)
        assert "'black' == 'white'" in printed.read()


def test_counts_add_up() -> None:
    total = Count(1, 2, 3).plus(Count(4, 0, 0, ("one",))).plus(Count(0, 0, 0, ("two",)))
    assert total == Count(5, 2, 3, ("one", "two"))
    assert str(total) == "5 passed, 2 failed, 3 skipped; passed at the second try: one, two"
