# SPDX-License-Identifier: GPL-3.0-or-later
"""`pip install .[engine]` gives a command that works: the wheel has all files and names all packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from sam2_splat_addon.client.packages.requirements import wanted_pins
from tests.captures import make_job, make_photos

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("setup.py", "pyproject.toml", "blender_manifest.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: setuptools leaves files beside the source."""
    place = tmp_path_factory.mktemp("source")
    for name in NEEDED:
        shutil.copy2(ROOT / name, place)
    ignored = shutil.ignore_patterns("__pycache__", "blender")
    shutil.copytree(ROOT / "sam2_splat_addon", place / "sam2_splat_addon", ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(place), "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_has_the_version_and_every_package_of_the_engine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        told = message_from_string(archive.read(metadata).decode())
        assert not [name for name in archive.namelist() if "/blender/" in name]
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert told["Version"] == manifest["version"]
    needs = told.get_all("Requires-Dist") or []
    plain = {need for need in needs if "extra ==" not in need}
    assert {need.partition("==")[0] for need in plain} == {"msgspec", "numpy"}
    engine = {need.partition(";")[0].strip() for need in needs if "extra ==" in need}
    assert any(need.startswith("ray==") and "farm" in need for need in needs)
    assert {f"{pin.name}=={pin.version}" for pin in wanted_pins()} <= engine


def test_the_unpacked_wheel_does_a_job_without_the_source(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    photos = make_photos(tmp_path / "photos", 2)
    job = make_job(tmp_path / "job.json", photos)
    environment = {**os.environ, "PYTHONPATH": str(site), "SAM2_SPLAT_CACHE": str(tmp_path / "c")}
    command = [sys.executable, "-m", "sam2_splat_addon", "run", str(job)]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(list((photos / "postshot_v001").glob("*.png"))) == 2


def test_the_extensions_folder_is_a_command_too(tmp_path: Path) -> None:
    """Started by its path, under the name that Blender gives it, with its own packages beside it."""
    extension = tmp_path / "extensions" / "user_default" / "sam2_splat"
    own = tmp_path / "extensions" / ".user" / "user_default" / "sam2_splat"
    own.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "blender", "weights")
    shutil.copytree(ROOT / "sam2_splat_addon", extension, ignore=ignored)
    shutil.copy2(ROOT / "blender_manifest.toml", extension)
    command = [sys.executable, str(extension), "info"]
    environment = {name: value for name, value in os.environ.items() if "SAM2_SPLAT" not in name}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert f"cache: {own / 'cache'}" in ran.stdout
    assert "torch: 2." in ran.stdout
