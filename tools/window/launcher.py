# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the Blender of a Debian with the extension installed, with or without a window."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.window.chroot import Bind, command_inside
from tools.window.debian import DEBIAN_SITE, SITE, Release, root_of

ROOT = Path(__file__).resolve().parents[2]
# The same folder, with its names inside and outside.
_REPOSITORY = "/repository"
_SESSION = "/session"
_SCREEN = (1600, 1000)
_QUIT_SOON = (
    "--python-expr",
    "import bpy; bpy.app.timers.register(lambda: bpy.ops.wm.quit_blender(), first_interval=0.5)",
)
_VARIABLES = {
    "HOME": f"{_SESSION}/home",
    "SAM2_SPLAT_SITE": f"{SITE}:{DEBIAN_SITE}",
    # One core for Blender, which draws in software here, and one for the worker.
    "OMP_NUM_THREADS": "1",
    "LP_NUM_THREADS": "1",
    # Blender's shaders take seconds to compile in software; the second start uses the compiled ones.
    "MESA_SHADER_CACHE_DIR": "/var/cache/mesa",
}


def _screened(size: tuple[int, int] = _SCREEN) -> tuple[str, ...]:
    """Return what runs a command with a screen of its own, of a size in px."""
    return ("xvfb-run", "-a", "-s", f"-screen 0 {size[0]}x{size[1]}x24")


_FAULT = "Traceback (most recent call last)"
# Run a Blender, then wait until its worker has ended too.
_AND_WORKER = """
"$@"
code=$?
for _ in $(seq 50); do
    grep -aql 'engine/worker/entry.p[y]' /proc/[0-9]*/cmdline || exit $code
    sleep 0.2
done
echo "A worker outlives Blender, which ended with $code."
exit 7
"""


@dataclass(frozen=True)
class Ended:
    """How a Blender ended.

    Attributes
    ----------
    code
        Its exit code.
    said
        Everything that it printed.
    """

    code: int
    said: str


@dataclass(frozen=True)
class Played:
    """The results of a scenario.

    Attributes
    ----------
    folder
        Its pictures.
    seen
        Its facts; see :mod:`tools.window.session`.
    """

    folder: Path
    seen: dict[str, Any]


class InstalledBlender:
    """The Blender of a Debian with the extension installed from its zip.

    Parameters
    ----------
    release
        The Debian; it must be ready.
    session
        An empty folder for Blender's settings, photos and results; its name inside is /session.
    """

    def __init__(self, release: Release, session: Path) -> None:
        self.release = release
        self.session = session
        (session / "home").mkdir()

    def install(self, archive: Path) -> Ended:
        """Install the zip of the extension as *Install from Disk* does, and enable it."""
        mine = self.session / archive.name
        without_wheels(archive, mine)
        return self.blender(
            *("--command", "extension", "install-file", "-r", "user_default", "-e"),
            self.inside(mine),
        )

    def inside(self, path: Path) -> str:
        """Return the path inside of a file of the session or the repository."""
        if path.is_relative_to(self.session):
            return f"{_SESSION}/{path.relative_to(self.session)}"
        return f"{_REPOSITORY}/{path.relative_to(ROOT)}"

    def blender(self, *arguments: str, seconds: float = 300.0, binds: Sequence[Bind] = ()) -> Ended:
        """Run Blender without a screen; paths are those inside. It sees the folders ``binds`` too."""
        return self._run(["blender", *arguments], seconds, binds)

    def in_window(self, *arguments: str, seconds: float = 300.0) -> Ended:
        """Run Blender with a screen; paths as they are inside."""
        return self._run([*_screened(), "blender", *arguments], seconds)

    def opens_window(self) -> Ended:
        """Open a window without the extension, and close it; exit code 0 if this machine can."""
        return self._run([*_screened(), "blender", "--factory-startup", *_QUIT_SOON], 120.0)

    def play(
        self, scenario: Path, seconds: float = 300.0, screen: tuple[int, int] = _SCREEN
    ) -> Played:
        """Play a scenario in a window; its folder in the session has the name of the scenario.

        It passes if Blender and its worker end well.

        Raises
        ------
        AssertionError
            It failed, or was not finished in time; the text has all that Blender printed.
        """
        folder = self.session / scenario.stem
        folder.mkdir(exist_ok=True)
        width, height = screen
        ended = self._run(
            [
                *("sh", "-c", _AND_WORKER, "sh", *_screened(screen)),
                *("blender", "--enable-event-simulate", "--python-exit-code", "9"),
                *("-p", "0", "0", str(width), str(height)),
                *("-P", f"{_REPOSITORY}/tools/window/run_scenario.py"),
                *("--", self.inside(scenario), self.inside(folder)),
            ],
            seconds,
        )
        assert ended.code == 0, f"{scenario.stem} ended with {ended.code}:\n{ended.said[-6000:]}"
        # Blender goes on if a panel or a timer fails, and only prints the error.
        assert _FAULT not in ended.said, f"{scenario.stem} has a fault:\n{ended.said[-6000:]}"
        seen = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
        return Played(folder, seen)

    def _run(self, command: Sequence[str], seconds: float, binds: Sequence[Bind] = ()) -> Ended:
        inside = command_inside(
            root_of(self.release),
            command,
            binds=(Bind(ROOT, _REPOSITORY), Bind(self.session, _SESSION, writable=True), *binds),
            variables=_VARIABLES,
        )
        with subprocess.Popen(
            inside,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            try:
                said, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
                said += f"\nNot done after {seconds:.0f} s."
        return Ended(process.returncode, said)


def without_wheels(archive: Path, target: Path) -> None:
    """Copy a zip without its wheels, which are for another Python than Debian's.

    Debian's own msgspec is used instead.
    """
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            if name.startswith("wheels/"):
                continue
            content = source.read(name)
            if name == "blender_manifest.toml":
                text = re.sub(r"^wheels = \[.*?\]\n", "", content.decode(), flags=re.M | re.S)
                assert "wheels" not in tomllib.loads(text)
                content = text.encode()
            copy.writestr(name, content)
