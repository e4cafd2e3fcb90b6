# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds that a release is whole, the same everywhere, refused where it must be, and lives in Blender."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from tests.packaging.served import live
from tests.packaging.test_extension import HERE
from tools import build_extension
from tools.build_extension import build
from tools.fetch_wheels import PLATFORMS, PYTHONS
from tools.modules.venvs import MODULES, is_ready, python_of
from tools.release import (
    NOTES,
    REPOSITORY,
    ROOT,
    SUMS,
    DragLink,
    notes_of,
    obstacles,
    publish,
    release,
    version_of,
)

COMMAND = Path(__file__).with_name("extension_command.py")
# Its word at a command's end.
ENDED = "EXTENSION COMMAND ENDED WITH "
SITE = "https://example.org/sam2-splat/"
PLAIN_GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole release in a folder."""
    folder = tmp_path_factory.mktemp("dist") / "release"
    release(folder, notes="What is new.", website=SITE)
    return folder


@pytest.mark.slow
def test_release_has_a_zip_for_each_system_and_python_with_its_sum(released: Path) -> None:
    zips = sorted(released.glob("*.zip"))
    assert len(zips) == len(PLATFORMS) * len(PYTHONS)
    lines = (released / SUMS).read_text(encoding="utf-8").splitlines()
    assert lines == [f"{hashlib.sha256(z.read_bytes()).hexdigest()}  {z.name}" for z in zips]
    assert (released / NOTES).read_text(encoding="utf-8") == "What is new.\n"


@pytest.mark.slow
def test_repository_lists_every_zip_and_its_page_has_a_link_to_drag_for_each(
    released: Path, tmp_path: Path
) -> None:
    zips = sorted(released.glob("*.zip"))
    folder = released / REPOSITORY
    listed = json.loads((folder / "index.json").read_text(encoding="utf-8"))["data"]
    assert [entry["archive_url"] for entry in listed] == [f"./{z.name}" for z in zips]
    for entry, archive in zip(listed, zips, strict=True):
        digest = hashlib.sha256((folder / archive.name).read_bytes()).hexdigest()
        assert entry["archive_hash"] == f"sha256:{digest}"
        assert entry["archive_size"] == archive.stat().st_size
        assert entry["version"] == version_of()
        assert entry["website"] == SITE  # Blender shows a button for it

    # The same files in another order give the same repository, byte for byte.
    links = publish(zips[::-1], tmp_path / "again")
    for name in ("index.json", "index.html"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert {link.address.split("?")[0] for link in links} == {f"./{z.name}" for z in zips}
    for link in links:
        assert link.asked["repository"] == "./index.json"
        assert link.asked["platforms"] in PLATFORMS
        assert link.asked["blender_version_min"] in ("4.2.0", "5.1.0")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Windows, Blender 4.2 or newer, before 5.1</a></li>" in page
    assert "Linux, Blender 5.1 or newer</a></li>" in page
    assert f"Install SAM2 Splat {version_of()}</h1>" in page
    assert "<!--" not in page


def test_link_says_which_system_and_blender_it_is_for() -> None:
    link = DragLink("./a.zip?blender_version_min=5.1.0&platforms=macos-arm64")
    assert link.title == "Mac with Apple silicon, Blender 5.1 or newer"


@pytest.mark.slow
def test_zip_is_the_same_whenever_its_files_were_written_and_whoever_may_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(HERE, PYTHONS[0], tmp_path / "first")
    other = tmp_path / "sam2_splat_addon"
    shutil.copytree(build_extension.PACKAGE, other, ignore=shutil.ignore_patterns("__pycache__"))
    for path in other.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    monkeypatch.setattr(build_extension, "PACKAGE", other)
    second = build(HERE, PYTHONS[0], tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(second) as archive:
        assert archive.namelist() == sorted(archive.namelist())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small repository that is ready to be released."""
    (tmp_path / "blender_manifest.toml").write_text('version = "1.2.3"\n')
    text = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-01\n\n- New.\n\n## [1.2.2]\n\n- Old.\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    git(tmp_path, "init")
    commit(tmp_path)
    git(tmp_path, "tag", "v1.2.3")
    return tmp_path


def git(tree: Path, *arguments: str) -> None:
    name = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    command = ["git", "-C", str(tree), *name, *arguments]
    subprocess.run(command, env=os.environ | PLAIN_GIT, check=True, capture_output=True)


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--message", "More")


def test_clean_tree_with_its_tag_and_its_notes_is_released(tree: Path) -> None:
    assert obstacles(tree) == []
    assert notes_of("1.2.3", tree) == "- New."


def test_tree_with_changes_is_not_released(tree: Path) -> None:
    for name in ("a.py", "b.py", "c.py", "d.py"):
        (tree / name).write_text("")
    assert obstacles(tree) == ["Not committed: a.py, b.py, c.py and 1 more."]


def test_commit_without_the_versions_own_tag_is_not_released(tree: Path) -> None:
    (tree / "more.py").write_text("")
    commit(tree)
    git(tree, "tag", "v1.2.4")
    assert obstacles(tree) == [
        "blender_manifest.toml says 1.2.3, and this commit has no tag v1.2.3."
    ]


def test_version_without_notes_is_not_released(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- New.\n")
    commit(tree)
    git(tree, "tag", "--force", "v1.2.3")
    assert obstacles(tree) == ["CHANGELOG.md has no section [1.2.3]."]


def test_folder_that_git_does_not_know_is_not_released(tmp_path: Path) -> None:
    shutil.copy(ROOT / "blender_manifest.toml", tmp_path)
    os.environ.pop("GIT_DIR", None)
    assert obstacles(tmp_path) == ["Git can't tell what is in this folder."]


def test_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    command = [
        sys.executable,
        str(ROOT / "tools" / "release.py"),
        "--draft",
        "--output",
        str(tmp_path),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "has other files than those of a release" in ran.stdout
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["4.5", *(module.version for module in MODULES)])
def test_release_is_added_installed_updated_and_removed_without_a_trace(
    version: str, tmp_path: Path
) -> None:
    python, zip_python = Path(sys.executable), PYTHONS[0]
    for module in MODULES:
        if module.version == version:
            if not is_ready(module):
                pytest.skip(
                    f"Blender {version} is not here as a module: tools/test.py --bpy fetches it."
                )
            python, zip_python = python_of(module), module.python
    archive = build(HERE, zip_python, tmp_path / "dist")
    user = tmp_path / "user"
    user.mkdir()
    with subprocess.Popen(
        [str(python), str(COMMAND)],
        cwd=tmp_path,
        env=os.environ | {"BLENDER_USER_RESOURCES": str(user)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as blender:
        given_up = threading.Timer(300.0, blender.kill)
        given_up.start()

        def run(*arguments: str) -> str:
            assert blender.stdin is not None
            assert blender.stdout is not None
            blender.stdin.write(json.dumps(arguments) + "\n")
            blender.stdin.flush()
            said = ""
            for line in blender.stdout:
                if line.startswith(ENDED):
                    assert line == f"{ENDED}0\n", f"{arguments[:2]}: {line}{said}"
                    break
                said += "" if line.startswith("PROGRESS") else line
            else:
                pytest.fail(f"{arguments[:2]} ended Blender with {blender.wait()}:\n{said}")
            assert "Traceback" not in said, said
            return said

        try:
            live(run, archive, user, tmp_path, has_wheels=True)
        finally:
            given_up.cancel()
            blender.kill()
