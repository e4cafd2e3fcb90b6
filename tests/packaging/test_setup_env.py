# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds how the commands make their .venv: a copy of the tool, tiny packages, real venv and pip."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_packages import VERSION, make_wheel

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path("sam2_splat_addon/client/requirements")
# Lock -> stand-ins for what the tool installs with it; all are imported by its last step.
PACKAGES = {
    LOCKS / "build.txt": ["tiny_tools"],
    Path("requirements/dev.txt"): ["bpy", "cv2", "OpenEXR", "msgspec"],
    LOCKS / "torch.txt": ["torch"],
    LOCKS / "sam2.txt": ["sam2"],
}
COMMAND = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.setup_env import ensure_environment
ensure_environment()
print("IN", sys.prefix, sys.argv[1:])
sys.exit(7)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository of one command, with locks of tiny packages."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "setup_env.py", tmp_path / "tools")
    (tmp_path / "tools" / "command.py").write_text(COMMAND)
    (tmp_path / "wheels").mkdir()
    packages = Path("sam2_splat_addon", "client", "packages")
    (tmp_path / packages).mkdir(parents=True)
    shutil.copy(ROOT / packages / "torch_build.py", tmp_path / packages)
    for lock, names in PACKAGES.items():
        path = tmp_path / lock
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for name in names:
            digest = hashlib.sha256(make_wheel(tmp_path / "wheels", name).read_bytes()).hexdigest()
            is_hashed = lock.name != "torch.txt"
            lines.append(f"{name}=={VERSION}" + (f" --hash=sha256:{digest}" if is_hashed else ""))
        path.write_text("\n".join(lines) + "\n")
    return tmp_path


def run(
    repository: Path, *arguments: str, python: str = sys.executable, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    environment |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(repository / "wheels"),
    }
    if path is not None:
        environment["PATH"] = path
    command = [python, str(repository / "tools" / "command.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_environment_is_repaired_goes_on_after_a_failure_and_follows_its_locks(
    repository: Path,
) -> None:
    half_made = repository / ".venv" / "bin"
    half_made.mkdir(parents=True)
    (half_made / "python").write_text("interrupted")
    wheel = repository / "wheels" / f"torch-{VERSION}-py3-none-any.whl"
    away = wheel.rename(repository / wheel.name)

    failed = run(repository)
    assert failed.returncode == 1
    assert "[4/6] torch failed" in failed.stderr
    assert str(repository / "build" / "setup.log") in failed.stderr
    assert "No matching distribution found for torch" in failed.stderr

    away.rename(wheel)
    again = run(repository, "a b", "--c")
    assert again.returncode == 7, "the command's own exit code: " + again.stdout + again.stderr
    assert "[3/6]" not in again.stdout
    assert "[4/6] torch ..." in again.stdout
    assert f"IN {repository / '.venv'} ['a b', '--c']" in again.stdout

    second = run(repository)
    assert second.stdout == f"IN {repository / '.venv'} []\n", "a second run has nothing to do"

    lock = repository / LOCKS / "sam2.txt"
    lock.write_text("# touched\n" + lock.read_text())
    followed = run(repository)
    assert followed.returncode == 7
    assert "[4/6]" not in followed.stdout
    assert "[5/6] sam2 ..." in followed.stdout


def other_python() -> str | None:
    """Return a Python 3 of another version than the project's, where this machine has one."""
    candidates = [shutil.which(f"python3.{minor}") for minor in (8, 9, 10, 12, 13, 14)]
    managed = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    for python in [*candidates, *map(str, managed)]:
        if python is None:
            continue
        ran = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode == 0 and ran.stdout.split() not in (["3", "11"], ["3", "7"], ["3", "6"]):
            return python
    return None


def test_another_python_is_told_which_one_is_needed_and_where_to_get_it(repository: Path) -> None:
    python = other_python()
    if python is None:
        pytest.skip("this machine has no Python 3 but the project's")
    # With an empty PATH there is no python3.11 to take instead.
    ran = run(repository, python=python, path=str(repository / "nothing"))
    assert ran.returncode == 1
    assert "SAM2 Splat needs Python 3.11, and this is Python 3." in ran.stderr
    assert "Install it" in ran.stderr
    assert "Traceback" not in ran.stderr
