# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds, from one machine, that every system gets the wheels it needs; asks the package index.

The extension's own wheels are fetched, opened, and imported by the Pythons that are here. Of what
*Install SAM 2* installs pip chooses the wheels as on the other system, and only their metadata is fetched.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from email.parser import HeaderParser
from functools import partial
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from sam2_splat_addon.client.packages.requirements import LOCKS
from sam2_splat_addon.client.packages.torch_build import BUILDS
from tests.packaging.test_extension import HERE
from tools.fetch_wheels import PLATFORMS, PYTHONS, LockedWheel, download, fetch, read_lock, sha256
from tools.modules.venvs import NoModuleError, find_python

ROOT = Path(__file__).resolve().parents[2]
INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
TARGETS = [(name, python) for name in sorted(PLATFORMS) for python in PYTHONS]
# What pip calls the oldest systems that a Blender with SAM 2 runs on; PyTorch wants macOS 14.
SYSTEMS = {
    "linux-x64": [*(f"manylinux_2_{n}_x86_64" for n in range(28, 4, -1)), "manylinux2014_x86_64"],
    "macos-arm64": list(mac_platforms((14, 0), "arm64")),
    "windows-x64": ["win_amd64"],
}
# sys_platform of each, by which the locks say what only some systems need.
SYS_PLATFORM = {"linux-x64": "linux", "macos-arm64": "darwin", "windows-x64": "win32"}
# What stands in the name of each wheel that is compiled for it.
SYSTEM_NAME = {"linux-x64": "x86_64", "macos-arm64": "macosx_", "windows-x64": "win_amd64"}
# These come as source and hold Python alone, so that they are built anywhere.
SOURCES = {"antlr4-python3-runtime", "iopath", "sam2"}
_PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?: ; sys_platform == '(\w+)')?(?: \\)?$")


# Name of a package -> what pip reports of the wheel that it would take.
Chosen = dict[str, dict[str, Any]]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str, platform: str) -> dict[str, tuple[str, set[str]]]:
    """Return what a lock gives a system: name -> version, sha-256 of its files."""
    pins: dict[str, tuple[str, set[str]]] = {}
    hashes: set[str] = set()
    for line in (LOCKS / name).read_text(encoding="utf-8").splitlines():
        if found := re.search(r"--hash=sha256:(\w+)", line):
            hashes.add(found[1])
        elif line and not line.startswith("#"):
            pin = _PIN.match(line)
            assert pin, f"{name}: a line of another kind: {line}"
            hashes = set()
            if pin[3] in (None, SYS_PLATFORM[platform]):
                pins[normal(pin[1])] = (pin[2], hashes)
    return pins


@pytest.fixture(scope="module")
def index() -> str:
    """The package index, where it can be reached."""
    try:
        with urllib.request.urlopen(f"{INDEX}/msgspec/", timeout=20) as answer:
            answer.read(1)
    except (OSError, ValueError, urllib.error.URLError) as problem:
        pytest.skip(f"The package index {INDEX} can't be reached: {problem}")
    return INDEX


def chosen_by_pip(
    requirements: list[str], platform: str, python: str, place: Path, source: list[str]
) -> Chosen:
    """Let pip choose wheels as on another system, without their downloads."""
    report = place / f"{platform}-{python}.json"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", *source]
    command += ["--python-version", python, "--target", str(place / "nowhere")]
    for name in SYSTEMS[platform]:
        command += ["--platform", name]
    ran = subprocess.run(
        [*command, "--report", str(report), *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    entries = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {normal(entry["metadata"]["name"]): entry for entry in entries}


def chosen_by_name(target: tuple[str, str], files: list[dict[str, Any]]) -> Chosen:
    """Choose wheels by the tags in their names, as pip does, and report them as pip would."""
    platform, python = target
    cp = (int(python[0]), int(python.partition(".")[2]))
    tags = {
        *cpython_tags(cp, platforms=SYSTEMS[platform]),
        *compatible_tags(cp, f"cp{cp[0]}{cp[1]}", SYSTEMS[platform]),
    }
    wanted, found = wanted_wheels(platform), Chosen()
    for file in files:
        if not file["filename"].endswith(".whl"):
            continue
        name, version, _, own = parse_wheel_filename(file["filename"])
        if name in wanted and str(version) == wanted[name][0] and own & tags:
            told = {"url": file["url"], "archive_info": {"hashes": file["hashes"]}}
            found[name] = {"download_info": told, "metadata": {"name": name}}
    return found


def listed(index: str, name: str) -> list[dict[str, Any]]:
    """Return the files of a package, as the index lists them."""
    kind = "application/vnd.pypi.simple.v1+json"
    asked = urllib.request.Request(f"{index}/{name}/", headers={"Accept": kind})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        if kind not in answer.headers["Content-Type"]:
            pytest.skip(f"{index} does not answer in JSON.")
        return list(json.load(answer)["files"])


def wheel_link(file: dict[str, Any]) -> str:
    """Return a file of the index as a line of a page for pip, with where its metadata is."""
    (kind, digest), *_ = file["hashes"].items()
    metadata = file.get("core-metadata") or {}
    marks = {
        "data-requires-python": file.get("requires-python") or "",
        "data-core-metadata": "".join(f"{k}={v}" for k, v in dict(metadata or {}).items()),
    }
    attributes = "".join(f' {k}="{html.escape(v)}"' for k, v in marks.items() if v)
    return f'<a href="{file["url"]}#{kind}={digest}"{attributes}>{file["filename"]}</a>\n'


@pytest.fixture(scope="module")
def chosen(index: str, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Chosen]:
    """What pip chooses of all that *Install SAM 2* installs as wheels, for each target.

    PyTorch apart. An index that offers no metadata beside its wheels would make pip download all of
    them. There the wheels are chosen by their names, with pip's own rules.
    """
    place = tmp_path_factory.mktemp("reports")
    pins = {name: pin for platform in PLATFORMS for name, pin in wanted_wheels(platform).items()}
    hashes = {digest for _, digests in pins.values() for digest in digests}
    # Each package's files are asked for once, instead of by pip for every target.
    with ThreadPoolExecutor(8) as pool:
        files = [file for found in pool.map(partial(listed, index), pins) for file in found]
    held = [file for file in files if file["hashes"].get("sha256") in hashes]
    if not all(file.get("core-metadata") for file in held if file["filename"].endswith(".whl")):
        return {target: chosen_by_name(target, held) for target in TARGETS}
    page = place / "wheels.html"
    page.write_text("".join(map(wheel_link, held)), encoding="utf-8")
    source = ["--no-index", "--find-links", str(page)]

    def choose(target: tuple[str, str]) -> Chosen:
        wanted = [f"{name}=={version}" for name, (version, _) in wanted_wheels(target[0]).items()]
        return chosen_by_pip(wanted, *target, place, source)

    return {target: choose(target) for target in TARGETS}


def wanted_wheels(platform: str) -> dict[str, tuple[str, set[str]]]:
    """Return what the hashed locks give a system as wheels."""
    pins = locked("build.txt", platform) | locked("packages.txt", platform)
    return {name: pin for name, pin in pins.items() if name not in SOURCES}


def tags_of(wheel: str) -> list[str]:
    """Return a wheel's tags of Python, ABI and platforms, from its name."""
    return wheel.removesuffix(".whl").split("-")[-3:]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_wheels_of_the_extension_are_what_pip_gives_that_system_and_are_whole(
    target: tuple[str, str], tmp_path: Path, index: str
) -> None:
    platform, python = target
    wanted = [wheel for wheel in read_lock() if (wheel.platform, wheel.python) == target]
    given = download(platform, python, tmp_path)
    assert {path.name: sha256(path) for path in given} == {w.file: w.sha256 for w in wanted}
    cp = f"cp{python.replace('.', '')}"
    for path in given:
        assert tags_of(path.name)[:2] == [cp, cp]
        with zipfile.ZipFile(path) as wheel:
            assert wheel.testzip() is None
            (folder,) = {n.split("/")[0] for n in wheel.namelist() if ".dist-info/" in n}
            metadata = HeaderParser().parsestr(wheel.read(f"{folder}/METADATA").decode())
            tags = HeaderParser().parsestr(wheel.read(f"{folder}/WHEEL").decode()).get_all("Tag")
            binaries = [n for n in wheel.namelist() if n.endswith((".so", ".pyd"))]
        assert f"{metadata['Name']}-{metadata['Version']}" in path.name
        # Blender installs no dependencies: whatever it needs would have to be in the zip too.
        assert not [
            need for need in metadata.get_all("Requires-Dist") or [] if "extra ==" not in need
        ]
        assert tags
        for tag in tags:
            assert tag.split("-")[2] in (*PLATFORMS[platform], *tags_of(path.name)[2].split("."))
        ending = ".pyd" if platform == "windows-x64" else ".so"
        assert binaries
        assert all(name.endswith(ending) for name in binaries)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wheel", [w for w in read_lock() if w.platform == HERE], ids=lambda w: w.python
)
def test_wheel_for_this_system_is_imported_by_its_python(
    wheel: LockedWheel, tmp_path: Path, index: str
) -> None:
    try:
        python = find_python(wheel.python)
    except NoModuleError as problem:
        pytest.skip(str(problem))
    fetch((wheel,))
    zipfile.ZipFile(wheel.path).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import msgspec;"
        "print(msgspec.__file__, msgspec.json.decode(msgspec.json.encode([1, 'a'])))"
    )
    ran = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert str(tmp_path) in ran.stdout
    assert "[1, 'a']" in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_every_package_that_install_sam_2_brings_has_a_wheel_of_the_lock_for_that_system(
    target: tuple[str, str], chosen: dict[tuple[str, str], Chosen]
) -> None:
    platform, python = target
    wanted = wanted_wheels(platform)
    assert ("colorama" in wanted) == (platform == "windows-x64")
    assert set(chosen[target]) == set(wanted)
    for name, entry in chosen[target].items():
        file = entry["download_info"]["url"].rpartition("/")[2]
        assert file.endswith(".whl")
        _, abi, systems = tags_of(file)
        assert abi in ("none", "abi3", f"cp{python.replace('.', '')}"), file
        assert SYSTEM_NAME[platform] in systems or systems == "any", file
        # pip installs with --require-hashes: another file would end the installation.
        digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
        assert digest in wanted[name][1], file


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_what_those_packages_need_on_that_system_stands_in_the_lock_too(
    target: tuple[str, str], chosen: dict[tuple[str, str], Chosen]
) -> None:
    platform, python = target
    if not any("requires_dist" in entry["metadata"] for entry in chosen[target].values()):
        pytest.skip("This index offers no metadata beside its wheels.")
    there = {*wanted_wheels(platform), *SOURCES, "torch"}
    missing = {
        need
        for entry in chosen[target].values()
        for need in needs(entry["metadata"].get("requires_dist", []), platform, python) - there
    }
    assert missing == set()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_pytorch_has_a_wheel_for_that_system(target: tuple[str, str], index: str) -> None:
    platform, python = target
    ((_, (version, _)),) = locked("torch.txt", platform).items()
    # By the rules that pip has from the same package; the wheels themselves are up to 0.9 GB.
    cp = (int(python[0]), int(python.partition(".")[2]))
    tags = set(cpython_tags(cp, platforms=SYSTEMS[platform]))
    wheels = [
        file["filename"] for file in listed(index, "torch") if file["filename"].endswith(".whl")
    ]
    named = [parse_wheel_filename(name) for name in wheels]
    assert [name for name in named if str(name[1]) == version and name[3] & tags]


@pytest.mark.parametrize("target", TARGETS, ids="-".join)
def test_what_pytorch_needs_on_that_system_stands_in_the_lock(target: tuple[str, str]) -> None:
    # All builds of a release say the same, with markers for what only some systems need.
    missing = needs(requires("torch") or [], *target) - {*wanted_wheels(target[0])}
    # Its build with CUDA brings that along; pip fetches it too.
    gpu = {need for need in missing if need.startswith(("nvidia-", "cuda-", "triton"))}
    assert target[0] == "linux-x64" or not gpu
    assert missing - gpu == set()


def needs(requirements: list[str], platform: str, python: str) -> set[str]:
    """Return what a package needs on a system with a Python, extras left out."""
    system = {
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[
            SYS_PLATFORM[platform]
        ],
        "sys_platform": SYS_PLATFORM[platform],
        "os_name": "nt" if platform == "windows-x64" else "posix",
        "platform_machine": {"linux-x64": "x86_64", "windows-x64": "AMD64"}.get(platform, "arm64"),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "extra": "",
    }
    wanted = map(Requirement, requirements)
    return {normal(r.name) for r in wanted if r.marker is None or r.marker.evaluate(system)}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_package_without_wheels_is_source_of_the_lock_and_python_alone(
    name: str, index: str
) -> None:
    lock = "sam2.txt" if name == "sam2" else "packages.txt"
    version, hashes = locked(lock, "linux-x64")[name]
    files = listed(index, name)
    held = [file for file in files if file["hashes"].get("sha256") in hashes]
    assert held
    assert all(f"-{version}" in file["filename"] for file in held)
    assert any(file["filename"].endswith(".tar.gz") for file in held)
    # A wheel of its own for some system would mean that it is compiled.
    wheels = [tags_of(file["filename"]) for file in files if file["filename"].endswith(".whl")]
    assert all(tags[1:] == ["none", "any"] for tags in wheels)


@pytest.mark.slow
@pytest.mark.parametrize("build", sorted(BUILDS))
@pytest.mark.parametrize("platform", ["linux-x64", "windows-x64"])
def test_pytorchs_own_index_has_each_build_for_that_system(
    platform: str, build: str, tmp_path: Path
) -> None:
    address = BUILDS[build].index
    try:
        with urllib.request.urlopen(f"{address}/torch/", timeout=20) as answer:
            answer.read(1)
    except (OSError, ValueError, urllib.error.URLError) as problem:
        pytest.skip(f"{address} can't be reached: {problem}")
    ((_, (version, _)),) = locked("torch.txt", platform).items()
    for python in PYTHONS:
        wanted = [f"torch=={version}+{build}"]
        chosen = chosen_by_pip(wanted, platform, python, tmp_path, ["--index-url", address])
        assert f"{version}%2B{build}-" in chosen["torch"]["download_info"]["url"].replace(
            "+", "%2B"
        )


def test_requirement_for_other_systems_and_extras_is_no_need() -> None:
    requirements = [
        "typing-extensions>=4",
        'nvidia-nccl; platform_system == "Linux"',
        'colorama; sys_platform == "win32"',
        'pytest; extra == "test"',
        'tomli; python_version < "3.12"',
    ]
    assert needs(requirements, "windows-x64", "3.13") == {"typing-extensions", "colorama"}
    assert needs(requirements, "macos-arm64", "3.11") == {"typing-extensions", "tomli"}


def test_zips_platforms_are_the_manifests() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert set(manifest["platforms"]) == set(SYSTEMS) == set(PLATFORMS)
