# SPDX-License-Identifier: GPL-3.0-or-later
"""Install SAM 2 replaces only package folders that it made itself."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sam2_splat_addon.client.packages import installer
from sam2_splat_addon.client.packages.installer import PACKAGES, install, require_replaceable
from sam2_splat_addon.client.packages.requirements import STEPS
from sam2_splat_addon.core.errors import EnvironmentSetupError
from sam2_splat_addon.core.system.owned_folder import MARKER_NAME
from tests.tiny_packages import VERSION, make_wheel


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Install four tiny packages into a folder, without the network."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "")
    wheels, locks = tmp_path / "wheels", tmp_path / "locks"
    wheels.mkdir()
    locks.mkdir()
    for step in STEPS:
        name = "tiny_" + step.lock.removesuffix(".txt")
        digest = hashlib.sha256(make_wheel(wheels, name).read_bytes()).hexdigest()
        hashed = "" if step.lock == "torch.txt" else f" --hash=sha256:{digest}"
        (locks / step.lock).write_text(f"{name}=={VERSION}{hashed}\n")

    def run(folder: Path) -> None:
        for _ in install(folder, wheels=wheels, locks=locks, online=False):
            pass

    return run


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("years of work")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Make a package folder of ours that has lost its marker."""
    folder = tmp_path / "packages"
    write(folder, "tiny/__init__.py", "bin/tiny", "tiny/__pycache__/a.pyc", "install.log")
    (folder / "tiny-1.dist-info").mkdir()
    record = "tiny/__init__.py,sha256=x,1\n../../bin/tiny,,\ntiny-1.dist-info/RECORD,,\n"
    (folder / "tiny-1.dist-info" / "RECORD").write_text(record)
    stamp = installer.Stamp("3.1", {})
    (folder / installer.STAMP_NAME).write_bytes(msgspec.json.encode(stamp))
    return folder


@pytest.mark.parametrize("place", ["", ".old", ".partial"])
@pytest.mark.parametrize(
    "names",
    [
        ("thesis.odt", "sub/a.txt"),
        (".git/HEAD",),
        ("install.log",),
        ("sam2_splat_packages.json",),
        (MARKER_NAME, "a"),
    ],
)
def test_a_folder_in_use_is_refused_before_anything_is_written(
    place: str, names: tuple[str, ...], tmp_path: Path, run: Callable[[Path], None]
) -> None:
    folder = tmp_path / "Documents"
    write(folder.with_name(folder.name + place), *names)
    before = contents(tmp_path)
    with pytest.raises(EnvironmentSetupError, match="did not put there") as caught:
        run(folder)
    assert f"Documents{place} has" in caught.value.message
    assert "new or an empty folder" in caught.value.fix
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", ["", ".old", ".partial"])
@pytest.mark.parametrize("target", ["full", "empty", "nowhere", "a package folder"])
def test_a_link_is_refused(
    place: str, target: str, tmp_path: Path, earlier: Path, run: Callable[[Path], None]
) -> None:
    write(tmp_path, "full/a.txt")
    (tmp_path / "empty").mkdir()
    elsewhere = earlier if target == "a package folder" else tmp_path / target
    link = tmp_path / f"chosen{place}"
    link.symlink_to(elsewhere)
    before = contents(tmp_path)
    with pytest.raises(EnvironmentSetupError, match="not a folder"):
        run(tmp_path / "chosen")
    assert contents(tmp_path) == before
    assert link.is_symlink()


def test_a_whole_disk_is_refused(run: Callable[[Path], None]) -> None:
    with pytest.raises(EnvironmentSetupError, match="whole disk"):
        run(Path(Path.cwd().anchor))


def test_an_empty_folder_is_filled_marked_and_replaced_later(
    tmp_path: Path, run: Callable[[Path], None]
) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / ".DS_Store").write_bytes(b"x")
    run(folder)
    assert PACKAGES.owns(folder)
    assert (folder / "tiny_sam2" / "__init__.py").is_file()
    (folder / installer.STAMP_NAME).unlink()  # as if it had to be made again
    run(folder)
    assert (folder / installer.STAMP_NAME).is_file()
    assert sorted(path.name for path in tmp_path.glob("packages*")) == ["packages"]


def test_folders_that_lost_their_marker_are_replaced(
    earlier: Path, run: Callable[[Path], None]
) -> None:
    begun = earlier.with_name("packages.partial")
    write(begun, "half/a.py")
    (begun / "install.log").write_text(f"$ python -m pip install --target {begun} --upgrade x\n...")
    run(earlier)
    assert PACKAGES.owns(earlier)
    assert not (earlier / "tiny").exists()
    assert not begun.exists()
    assert not earlier.with_name("packages.old").exists()
    (earlier / MARKER_NAME).unlink()
    run(earlier)  # nothing to do but this
    assert PACKAGES.owns(earlier)


@pytest.mark.parametrize("name", ["thesis.odt", ".git/HEAD", "tiny/notes.txt", "bin/mine"])
def test_what_a_user_puts_among_packages_is_named_and_stays(earlier: Path, name: str) -> None:
    require_replaceable(earlier)
    write(earlier, name)
    with pytest.raises(EnvironmentSetupError, match=name):
        require_replaceable(earlier)
    (earlier / name).unlink()
    (earlier / "linked").symlink_to(sys.prefix)
    with pytest.raises(EnvironmentSetupError, match="linked"):
        require_replaceable(earlier)


def test_files_in_a_half_filled_folder_of_ours_are_kept(
    tmp_path: Path, earlier: Path, run: Callable[[Path], None]
) -> None:
    folder, partial = earlier, tmp_path / "packages.partial"
    folder.rename(partial)  # for another Python, so it must be filled again
    PACKAGES.claim(partial)
    mine = ("thesis.odt", "tiny/notes.txt", "photos/a.jpg")
    write(partial, *mine)
    (partial / "linked").symlink_to(tmp_path / "wheels")
    wheels = contents(tmp_path / "wheels")
    run(folder)
    left = tmp_path / "packages.partial.left_1"
    kept = {path.relative_to(left).as_posix() for path in left.rglob("*") if path.is_file()}
    assert kept == set(mine)
    assert (left / "linked").is_symlink()
    assert contents(tmp_path / "wheels") == wheels
    assert not partial.exists()
    assert PACKAGES.owns(folder)
    assert not PACKAGES.knows(left)  # so that an installation does not take it for a package folder
