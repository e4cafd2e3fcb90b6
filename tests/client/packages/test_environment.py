# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's packages are found and installed, with the real pip and tiny packages made here."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import msgspec
import pytest

from sam2_splat_addon.client.packages import environment, installer
from sam2_splat_addon.client.packages.environment import (
    WorkerEnvironment,
    can_find_cameras,
    check,
    find,
)
from sam2_splat_addon.client.packages.installer import install
from sam2_splat_addon.client.packages.pip_process import explain
from sam2_splat_addon.client.packages.requirements import (
    CAMERAS_LOCK,
    CAMERAS_STEPS,
    LOCKS,
    STEPS,
    Pin,
    read_pins,
    wanted_pins,
)
from sam2_splat_addon.client.packages.torch_build import TorchBuild
from sam2_splat_addon.core.errors import EnvironmentSetupError
from tests.tiny_packages import VERSION, make_wheel

ROOT = Path(__file__).resolve().parents[3]
# Lock -> the only package in the test's version of it.
PACKAGES = {
    "build.txt": "tiny_tools",
    "packages.txt": "tiny_images",
    "torch.txt": "torch",
    "sam2.txt": "sam2",
}


def make_slow_source(folder: Path, name: str, pid_file: Path, *, apart: bool = False) -> Path:
    """Write a source archive whose build writes its process id and then takes a minute.

    With `apart` the build starts a session of its own first.
    """
    files = {
        "pyproject.toml": "[build-system]\nrequires = []\n"
        'build-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": "import os, pathlib, time\n"
        "def prepare_metadata_for_build_wheel(folder, config_settings=None):\n"
        f"    {apart} and os.setsid()\n"
        f"    pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "build_wheel = prepare_metadata_for_build_wheel\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n",
    }
    archive_path = folder / f"{name}-{VERSION}.tar.gz"
    with tarfile.open(archive_path, "w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{name}-{VERSION}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return archive_path


def write_lock(locks: Path, lock: str, archive: Path) -> None:
    pin = f"{PACKAGES[lock]}=={VERSION}"
    if lock != "torch.txt":
        pin += f" --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    (locks / lock).write_text(pin + "\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def no_pip_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in PACKAGES.values():
        make_wheel(folder, name)
    return folder


@pytest.fixture
def locks(tmp_path: Path, wheels: Path) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    for lock, name in PACKAGES.items():
        write_lock(folder, lock, wheels / f"{name}-{VERSION}-py3-none-any.whl")
    return folder


@pytest.fixture
def filled(tmp_path: Path, wheels: Path) -> Path:
    """Make, without pip, a package folder such as `install` leaves."""
    folder = tmp_path / "packages"
    for wheel in wheels.iterdir():
        zipfile.ZipFile(wheel).extractall(folder)
    version = "{}.{}".format(*sys.version_info)
    stamp = installer.Stamp(version, {})
    (folder / installer.STAMP_NAME).write_bytes(msgspec.json.encode(stamp))
    return folder


def run(folder: Path, locks: Path, wheels: Path, python: Path | None = None) -> list[str]:
    """Install without the network; return the titles of the steps that ran."""
    titles: list[str] = []
    for progress in install(folder, python=python, wheels=wheels, online=False, locks=locks):
        assert progress.steps == len(STEPS)
        if progress.title not in titles:
            titles.append(progress.title)
    return titles


def test_what_only_find_cameras_needs_has_a_folder_of_its_own(
    tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels, locks = tmp_path / "more wheels", tmp_path / "more locks"
    wheels.mkdir()
    locks.mkdir()
    wheel = make_wheel(wheels, environment.CAMERAS_PACKAGE)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pin = f"{environment.CAMERAS_PACKAGE}=={VERSION} --hash=sha256:{digest}\n"
    (locks / CAMERAS_LOCK).write_text(pin, encoding="utf-8")
    monkeypatch.delenv(environment.SITE_VARIABLE, raising=False)
    before = sorted(path for path in filled.rglob("*"))
    folder = installer.cameras_folder(filled)
    assert folder.parent == filled.parent
    assert find(filled).site_dirs == (filled,)
    assert not can_find_cameras(find(filled))
    for _ in install(folder, wheels=wheels, online=False, locks=locks, steps=CAMERAS_STEPS):
        pass
    assert find(filled).site_dirs == (filled, folder)
    assert can_find_cameras(find(filled))
    assert sorted(path for path in filled.rglob("*")) == before
    stamp = installer.read_stamp(folder)
    assert stamp is not None
    other = msgspec.structs.replace(stamp, python="3.7")
    (folder / installer.STAMP_NAME).write_bytes(msgspec.json.encode(other))
    assert find(filled).site_dirs == (filled,), "packages for another Python are left out"


def test_install_fills_the_folder_from_wheels_without_the_network(
    tmp_path: Path, locks: Path, wheels: Path
) -> None:
    folder = tmp_path / "packages"
    assert run(folder, locks, wheels) == [step.title for step in STEPS]
    for name in PACKAGES.values():
        assert (folder / name / "__init__.py").is_file()
    assert check(WorkerEnvironment(Path(sys.executable), (folder,)), locks) == ()
    assert not folder.with_name("packages.partial").exists()
    assert run(folder, locks, wheels) == [], "a complete folder needs no work"


def test_the_chosen_build_of_torch_is_installed_and_can_be_changed(
    tmp_path: Path, locks: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "nothing").as_uri())
    monkeypatch.setenv("PIP_RETRIES", "0")
    folder = tmp_path / "packages"
    builds = {}
    for name in ("cpu", "cu130"):
        project = tmp_path / name / "torch"
        project.mkdir(parents=True)
        wheel = make_wheel(project, "torch", local=f"+{name}")
        (project / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
        builds[name] = TorchBuild(name, name.upper(), project.parent.as_uri())
    gone = TorchBuild("cu126", "CU126", "http://127.0.0.1:9/simple")

    def installed(build: TorchBuild) -> list[str]:
        steps = install(folder, wheels=wheels, online=True, locks=locks, torch=build)
        assert f"PyTorch for {build.title}" in {step.title for step in steps}
        stamp = installer.read_stamp(folder)
        assert stamp is not None
        assert stamp.torch == build.name
        return sorted(path.name for path in folder.glob("torch-*.dist-info"))

    assert installed(builds["cu130"]) == [f"torch-{VERSION}+cu130.dist-info"]
    assert list(install(folder, wheels=wheels, locks=locks, torch=builds["cu130"])) == []
    assert installed(builds["cpu"]) == [f"torch-{VERSION}+cpu.dist-info"]
    # If its index can't be reached, the build on PyPI is used.
    assert installed(gone) == [f"torch-{VERSION}.dist-info"]


def test_an_installation_that_can_not_take_its_place_leaves_the_old_one(
    tmp_path: Path, locks: Path, wheels: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.replace

    def held(source: Path, target: Path) -> None:
        if str(source).endswith(".partial"):  # as a virus scanner does on Windows
            raise PermissionError(13, "Access is denied")
        really(source, target)

    before = sorted(path.name for path in filled.iterdir())
    with monkeypatch.context() as scanner:
        scanner.setattr(os, "replace", held)
        # The stamps of the steps are written by a rename too.
        with pytest.raises(EnvironmentSetupError, match="Access is denied"):
            run(filled, locks, wheels)
    assert sorted(path.name for path in filled.iterdir()) == before
    assert not filled.with_name("packages.old").exists()
    assert run(filled, locks, wheels) == [], "only the last step was left"
    assert (filled / "torch" / "__init__.py").is_file()


def test_install_goes_on_after_the_last_finished_step(
    tmp_path: Path, locks: Path, wheels: Path
) -> None:
    folder = tmp_path / "packages"
    torch = wheels / f"torch-{VERSION}-py3-none-any.whl"
    kept = torch.rename(tmp_path / torch.name)
    with pytest.raises(EnvironmentSetupError, match="no file for this system"):
        run(folder, locks, wheels)
    assert not folder.exists(), "an unfinished folder must not look like a finished one"
    kept.rename(torch)
    assert run(folder, locks, wheels) == ["PyTorch", "SAM 2"]
    assert (folder / "tiny_images").is_dir()


def test_install_leaves_the_old_folder_until_the_new_one_is_complete(
    filled: Path, locks: Path, wheels: Path
) -> None:
    newer = make_wheel(wheels, "sam2", "NAME = 'newer'\n")
    (locks / "sam2.txt").write_text(f"sam2==9.9 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(EnvironmentSetupError):
        run(filled, locks, wheels)
    assert "'sam2'" in (filled / "sam2" / "__init__.py").read_text()
    write_lock(locks, "sam2.txt", newer)
    assert run(filled, locks, wheels) == ["SAM 2"]
    assert "'newer'" in (filled / "sam2" / "__init__.py").read_text()


def test_package_with_another_hash_is_refused(tmp_path: Path, locks: Path, wheels: Path) -> None:
    make_wheel(wheels, "tiny_images", "print('not what was locked')\n")
    with pytest.raises(EnvironmentSetupError, match="not the file that was expected"):
        run(tmp_path / "packages", locks, wheels)
    assert not (tmp_path / "packages").exists()


@pytest.mark.parametrize(
    "apart",
    [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc"))],
)
def test_closing_the_iterator_ends_pip_and_the_build_it_started(
    tmp_path: Path, locks: Path, wheels: Path, apart: bool
) -> None:
    pid_file = tmp_path / "pid"
    (wheels / f"sam2-{VERSION}-py3-none-any.whl").unlink()
    write_lock(locks, "sam2.txt", make_slow_source(wheels, "sam2", pid_file, apart=apart))
    folder = tmp_path / "packages"
    steps = install(folder, wheels=wheels, online=False, locks=locks, wait_s=0.05)
    until = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()):
        next(steps)
        assert time.monotonic() < until, "the build never began"
    build = int(pid_file.read_text())
    steps.close()
    assert not is_running(build)
    assert not folder.exists()


def test_nothing_from_the_working_folder_runs_in_pips_place(
    tmp_path: Path, locks: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = tmp_path / "strange"
    strange.mkdir()
    ran = tmp_path / "ran"
    for name in ("pip", "ensurepip", "sys", "json", "subprocess", "sitecustomize", "runpy"):
        (strange / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(strange)
    # As for a script in Blender's text editor.
    monkeypatch.setenv("PYTHONPATH", str(strange))
    assert run(tmp_path / "packages", locks, wheels) == [step.title for step in STEPS]
    assert not ran.exists(), ran.read_text()


@pytest.mark.skipif(os.name == "nt", reason="Windows ends it through a job object")
@pytest.mark.parametrize(("stopped", "apart"), [(False, False), (True, False), (False, True)])
def test_pip_and_the_build_it_started_end_with_their_host(
    tmp_path: Path, locks: Path, wheels: Path, stopped: bool, apart: bool
) -> None:
    if (stopped or apart) and sys.platform != "linux":
        pytest.skip("only Linux wakes what is stopped, and tells what has left its group")
    pid_file = tmp_path / "pid"
    (wheels / f"sam2-{VERSION}-py3-none-any.whl").unlink()
    write_lock(locks, "sam2.txt", make_slow_source(wheels, "sam2", pid_file, apart=apart))
    code = (
        "from pathlib import Path; from sam2_splat_addon.client.packages.installer import install\n"
        f"for _ in install(Path({str(tmp_path / 'packages')!r}), wheels=Path({str(wheels)!r}),"
        f" locks=Path({str(locks)!r}), online=False): pass\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as host:
        until = time.monotonic() + 90
        while not (pid_file.exists() and pid_file.read_text()):
            assert host.poll() is None
            assert time.monotonic() < until, "the build never began"
            time.sleep(0.05)
        build = int(pid_file.read_text())
        group = os.getpgid(build)
        assert group != os.getpgid(0)
        assert (group == build) == apart
        if stopped:
            os.kill(group, signal.SIGSTOP)
        host.kill()
        host.wait()
    assert not is_running(group)
    assert not is_running(build)


def is_running(pid: int) -> bool:
    """Return whether a process lives; a zombie does not count."""
    status = Path(f"/proc/{pid}/stat")
    if status.parent.parent.is_dir() and status.parent.parent.joinpath("self").exists():
        until = time.monotonic() + 5
        while status.exists() and status.read_text().split()[2] not in "ZX":
            if time.monotonic() > until:
                return True
            time.sleep(0.02)
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_unreachable_index_is_named_as_the_cause(
    tmp_path: Path, locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(EnvironmentSetupError, match="index could not be reached") as caught:
        list(install(tmp_path / "packages", locks=locks))
    assert "connection" in caught.value.fix


def test_offline_without_wheels_says_so_before_anything_is_written(
    tmp_path: Path, locks: Path
) -> None:
    with pytest.raises(EnvironmentSetupError, match="without the network"):
        list(install(tmp_path / "packages", wheels=tmp_path / "none", online=False, locks=locks))
    assert not list(tmp_path.glob("packages*"))


@pytest.mark.slow
def test_python_without_pip_installs_with_the_pip_that_ensurepip_carries(
    tmp_path: Path, locks: Path, wheels: Path
) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=os.name != "nt")
    python = bare / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(tmp_path / "packages", locks, wheels, python)
    assert (tmp_path / "packages" / "sam2").is_dir()
    assert not list(bare.rglob("pip")), "nothing may be written into the worker's Python"


def test_folder_that_cannot_be_written_is_named(tmp_path: Path, locks: Path, wheels: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    with pytest.raises(EnvironmentSetupError, match="a file"):
        run(blocked / "packages", locks, wheels)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: [Errno 13] Permission denied: '/opt/x'", "could not be written"),
        ("ERROR: something nobody has seen before", "something nobody has seen before"),
    ],
)
def test_pip_failure_is_explained_with_its_last_words(line: str, cause: str) -> None:
    error = explain(["Collecting torch", line], Path("install.log"))
    assert cause in error.message
    assert line in error.message
    assert error.fix


def test_find_takes_the_named_folders_first(
    tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(environment.SITE_VARIABLE, raising=False)
    assert find(filled) == WorkerEnvironment(Path(sys.executable), (filled,))
    monkeypatch.setenv(environment.SITE_VARIABLE, str(filled))
    assert find(tmp_path / "elsewhere").site_dirs == (filled,)
    monkeypatch.setenv(environment.SITE_VARIABLE, str(tmp_path / "wrong"))
    with pytest.raises(EnvironmentSetupError, match=environment.SITE_VARIABLE):
        find(filled)


def test_find_falls_back_to_the_running_python_without_importing_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from sam2_splat_addon.client.packages.environment import find\n"
        f"print(*find(Path({str(tmp_path / 'none')!r})).site_dirs, sep='\\n')\n"
        "assert 'torch' not in sys.modules and 'sam2' not in sys.modules\n"
    )
    environ = {k: v for k, v in os.environ.items() if k != environment.SITE_VARIABLE}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    folders = [Path(line) for line in answer.stdout.splitlines()]
    assert any((folder / "torch").is_dir() for folder in folders)
    assert any((folder / "sam2").is_dir() for folder in folders)


def test_find_without_packages_anywhere_says_what_to_press(tmp_path: Path) -> None:
    # A Python with only msgspec, such as Blender's.
    bare = tmp_path / "bare"
    bare.mkdir()
    package = Path(msgspec.__file__).parent
    (bare / "msgspec").symlink_to(package, target_is_directory=True)
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(bare)!r}]\n"
        "from sam2_splat_addon.client.packages.environment import find\n"
        "find()\n"
    )
    environ = {k: v for k, v in os.environ.items() if k != environment.SITE_VARIABLE}
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], env=environ, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert "EnvironmentSetupError" in answer.stderr
    assert "not installed yet" in answer.stderr
    assert "preferences" in answer.stderr


def test_folder_made_for_another_python_is_refused(filled: Path) -> None:
    stamp = installer.read_stamp(filled)
    assert stamp is not None
    other = msgspec.structs.replace(stamp, python="3.99")
    (filled / installer.STAMP_NAME).write_bytes(msgspec.json.encode(other))
    with pytest.raises(EnvironmentSetupError, match=r"for Python 3\.99"):
        find(filled)


def test_check_names_what_is_missing_with_the_version_meant(filled: Path, locks: Path) -> None:
    (locks / "packages.txt").write_text("tiny_images==1.5\nother-thing==2.0\n")
    missing = check(WorkerEnvironment(Path(sys.executable), (filled,)), locks)
    assert missing == (Pin("other-thing", "2.0"),)


def test_the_real_locks_pin_every_package_and_hash_all_but_torch() -> None:
    names = {pin.name for pin in wanted_pins()}
    assert {"torch", "sam2", "numpy", "msgspec", "pillow", "hydra-core", "iopath"} <= names
    for step in STEPS:
        text = (LOCKS / step.lock).read_text(encoding="utf-8")
        assert read_pins(LOCKS / step.lock)
        assert ("--hash=sha256:" in text) == (step.lock != "torch.txt")
