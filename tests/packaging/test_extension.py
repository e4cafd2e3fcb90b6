# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds that the zips build, validate, install and enable in a real Blender; network for wheels."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tools.build_extension import BLENDERS, MANIFEST, ROOT, build, zip_name
from tools.fetch_wheels import PLATFORMS, PYTHONS, read_lock
from tools.fetch_wheels import sha256 as sha256_of

HERE = {"Linux": "linux-x64", "Darwin": "macos-arm64", "Windows": "windows-x64"}[platform.system()]
TARGETS = [(name, python) for name in sorted(PLATFORMS) for python in PYTHONS]

# Runs as Blender starts with an extension installed by hand: the repository is scanned, the wheels
# are laid out, then the add-on is enabled and disabled as a user's click would.
ENABLE = """
import sys
import bpy, addon_utils  # in this order: bpy puts Blender's own modules on the path
name = "bl_ext.user_default.sam2_splat"
assert addon_utils.enable(name, default_set=True) is not None, "it did not enable"
module = sys.modules[name]
assert "extensions" in module.__file__, module.__file__
panels = [c for c in bpy.types.Panel.__subclasses__() if c.__module__.startswith(name)]
registered = [p for p in panels if p.is_registered]
tabs = {(p.bl_space_type, p.bl_category) for p in registered if p.bl_region_type == "UI"}
print("TABS", sorted(tabs))
print("OPERATORS", sorted(n for n in dir(bpy.ops.sam2_splat)))
print("CLIP", "sam2_splat" in bpy.types.MovieClip.bl_rna.properties)
print("PREFERENCES", bpy.context.preferences.addons[name].preferences is not None)
addon_utils.disable(name, default_set=True)
left = [p for p in panels if p.is_registered]
print("LEFT", len(left), "sam2_splat" in bpy.types.MovieClip.bl_rna.properties)
"""


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Build every zip; the build runs Blender's own validate on each."""
    folder = tmp_path_factory.mktemp("dist")
    return {target: build(*target, folder) for target in TARGETS}


def manifest_of(archive: Path) -> dict[str, object]:
    with zipfile.ZipFile(archive) as opened:
        return tomllib.loads(opened.read("blender_manifest.toml").decode())


@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_zip_has_the_package_at_its_top_and_nothing_of_the_repository(
    zips: dict[tuple[str, str], Path], target: tuple[str, str]
) -> None:
    names = zipfile.ZipFile(zips[target]).namelist()
    assert {"__init__.py", "blender_manifest.toml", "LICENSE"} <= set(names)
    for room in ("core", "client", "engine", "blender"):
        assert f"{room}/__init__.py" in names
    assert "client/requirements/packages.txt" in names
    assert not [
        n for n in names if "__pycache__" in n or n.startswith(("tests", "tools", "sample"))
    ]


def test_zip_has_the_guide_as_a_page_with_its_pictures(
    zips: dict[tuple[str, str], Path],
) -> None:
    """The preferences open it in a browser. All Markdown in it has become HTML."""
    with zipfile.ZipFile(zips[TARGETS[0]]) as opened:
        page = opened.read("guide/guide.html").decode()
        names = opened.namelist()
    assert "<h1>Guide</h1>" in page
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert len(pictures) >= 8
    assert all(f"guide/{picture}" in names for picture in pictures)
    words = re.sub(r"<(pre|code)>.*?</\1>", "", page, flags=re.S)
    assert not re.search(r"\*\*|\]\(|^\||^#", words.split("</head>")[1], flags=re.M)


@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_zip_carries_the_wheels_of_its_own_platform_and_python_unchanged(
    zips: dict[tuple[str, str], Path], target: tuple[str, str]
) -> None:
    wanted = {w.file: w.sha256 for w in read_lock() if (w.platform, w.python) == target}
    assert wanted, "every target needs its wheel of msgspec"
    manifest = manifest_of(zips[target])
    assert manifest["wheels"] == [f"./wheels/{name}" for name in wanted]
    with zipfile.ZipFile(zips[target]) as archive:
        inside = {n.removeprefix("wheels/") for n in archive.namelist() if n.endswith(".whl")}
        assert inside == set(wanted)
        archive.extractall(zips[target].with_suffix(""))
    for name, digest in wanted.items():
        assert sha256_of(zips[target].with_suffix("") / "wheels" / name) == digest


@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_zip_names_the_blenders_whose_python_its_wheels_fit(
    zips: dict[tuple[str, str], Path], target: tuple[str, str]
) -> None:
    manifest = manifest_of(zips[target])
    first, too_new = BLENDERS[target[1]]
    assert manifest["platforms"] == [target[0]]
    assert manifest["blender_version_min"] == first
    assert manifest.get("blender_version_max", "") == too_new
    assert first.removesuffix(".0") in zip_name(*target)


def test_manifest_in_the_tree_lists_no_wheels_and_keeps_the_rules_of_the_platform() -> None:
    manifest = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    assert "wheels" not in manifest
    assert set(manifest["platforms"]) == set(PLATFORMS)
    for sentence in (manifest["tagline"], *manifest["permissions"].values()):
        assert len(sentence) <= 64
        assert not sentence.endswith(".")


def test_every_locked_wheel_stands_in_the_hash_lock() -> None:
    hashes = (ROOT / "wheels" / "wheels.txt").read_text(encoding="utf-8")
    for wheel in read_lock():
        assert wheel.sha256 in hashes, wheel.file


def test_installed_zip_enables_shows_its_tab_and_leaves_nothing_when_disabled(
    zips: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    python = "{}.{}".format(*sys.version_info)
    folder = tmp_path / "extensions" / "user_default" / "sam2_splat"
    zipfile.ZipFile(zips[HERE, python]).extractall(folder)
    ran = subprocess.run(
        [sys.executable, "-c", ENABLE],
        # Away from the repository, so that its own package can't stand in for the installed one.
        cwd=tmp_path,
        env={**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert "TABS [('CLIP_EDITOR', 'SAM2 Splat')]" in ran.stdout, said
    assert "'propagate'" in ran.stdout, said
    assert "CLIP True" in ran.stdout, said
    assert "PREFERENCES True" in ran.stdout, said
    assert "LEFT 0 False" in ran.stdout, said
