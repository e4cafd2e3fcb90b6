# SPDX-License-Identifier: GPL-3.0-or-later
"""Lint, types and tests in one command; standard library only.

python tools/test.py                      # everything
python tools/test.py --fast               # everything but the tests marked slow
python tools/test.py --lint --types       # only these
python tools/test.py --window             # only those in a real Blender window (Linux, root)
python tools/test.py --bpy                # only those inside Blender, in Blender's other versions
python tools/test.py tests/core -k natural  # these tests, with pytest's own arguments
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.setup_env import ensure_environment

# Blender's module can live only once in a process and can take the process down at its end,
# so the folders whose tests import it run apart from the rest and from each other.
_APART = ("tests/blender", "tests/packaging", "tests/tools", "tests/window")
# These open Blenders of their own, which take minutes to fetch: only --window runs them.
_WINDOW = "tests/window"
# These run in Blender's own Python, whatever its version.
_INSIDE = "tests/blender"


class Count(NamedTuple):
    """How many tests ended which way."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="leave out the tests marked slow")
    parser.add_argument("--lint", action="store_true", help="ruff: rules and format")
    parser.add_argument("--types", action="store_true", help="mypy")
    parser.add_argument("--window", action="store_true", help="only the tests in Blender's window")
    parser.add_argument(
        "--window-minutes",
        type=float,
        default=60.0,
        metavar="N",
        help="how long fetching the Blenders for --window may take; what is missing is skipped",
    )
    parser.add_argument(
        "--bpy", action="store_true", help="only the tests inside Blender, in its other versions"
    )
    options, for_pytest = parser.parse_known_args()
    ensure_environment()

    if options.bpy:
        return _test_modules(for_pytest)
    if options.window:
        _make_blenders(options.window_minutes)
        for_pytest = [_WINDOW, *for_pytest]
    only_tests = bool(for_pytest)
    everything = not (options.lint or options.types or only_tests)
    checks: Dict[str, List[str]] = {}
    if options.lint or everything:
        checks["ruff check"] = ["ruff", "check", "--quiet", "--output-format", "concise"]
        checks["ruff format"] = ["ruff", "format", "--check", "--quiet"]
    if options.types or everything:
        checks["mypy"] = ["mypy", "--no-error-summary"]
    failed = [name for name, command in checks.items() if not _check(name, command)]

    if everything or only_tests or options.fast:
        total = _test(for_pytest + (["-m", "not slow"] if options.fast else []))
        if total.failed:
            failed.append("pytest")
        if failed:
            print(f"Failed: {', '.join(failed)}")
        print(total)
        if not any(total):
            failed.append("no test")
    elif failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


def _make_blenders(minutes: float) -> None:
    """Make the Blenders of the window tests ready; say which can't be, and why."""
    from tools.window.debian import RELEASES, NoWindowError, make

    deadline = time.monotonic() + 60.0 * minutes
    for release in RELEASES:
        try:
            make(release, deadline)
        except NoWindowError as problem:
            print(f"Without Blender {release.blender} in a window. {problem}", flush=True)


def _test_modules(arguments: List[str]) -> int:
    """Run the tests inside Blender in each module that can be had; return the exit code."""
    from sam2_splat_addon.client.environment import SITE_VARIABLE
    from tools.modules.plugin import VARIABLE
    from tools.modules.venvs import MODULES, NoModuleError, ready

    variables = {VARIABLE: sys.executable, SITE_VARIABLE: sysconfig.get_path("purelib")}
    plugin = ["-p", "tools.modules.plugin", "-p", "no:cacheprovider"]
    paths = [] if any((ROOT / a.split("::")[0]).exists() for a in arguments) else [_INSIDE]
    verdicts: List[str] = []
    failed = False
    for module in MODULES:
        try:
            python = ready(module)
        except NoModuleError as problem:
            verdicts.append(f"Blender {module.version}: left out. {problem}")
            continue
        print(f"\nBlender {module.version}", flush=True)
        with tempfile.TemporaryDirectory() as reports:
            report = Path(reports) / "report.xml"
            count = _pytest(
                [*plugin, *arguments, *paths], report, python=str(python), variables=variables
            )
        failed |= bool(count.failed) or not any(count)
        verdicts.append(f"Blender {module.version}: {count}")
    print("", *verdicts, sep="\n")
    return 1 if failed else 0


def _check(name: str, command: List[str]) -> bool:
    """Run one check, a line when it passes and its own words when it fails."""
    started = time.monotonic()
    print(f"{name} ...", end="", flush=True)
    ran = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    verdict = "ok" if ran.returncode == 0 else "FAILED"
    print(f" {verdict}, {time.monotonic() - started:.1f} s", flush=True)
    if ran.returncode != 0:
        print(ran.stdout + ran.stderr, flush=True)
    return ran.returncode == 0


def _test(arguments: List[str]) -> Count:
    """Run pytest once per group of folders and add up."""
    paths = [a for a in arguments if (ROOT / a.split("::")[0]).exists() and not a.startswith("-")]
    options = [a for a in arguments if a not in paths]
    counts: List[Count] = []
    with tempfile.TemporaryDirectory() as reports:
        for group in _groups(paths):
            print(f"\npytest {' '.join(group)}", flush=True)
            counts.append(_pytest([*options, *group], Path(reports) / f"{len(counts)}.xml"))
    return Count(
        sum(count.passed for count in counts),
        sum(count.failed for count in counts),
        sum(count.skipped for count in counts),
    )


def _pytest(
    arguments: List[str],
    report: Path,
    *,
    python: str = sys.executable,
    variables: Optional[Dict[str, str]] = None,
) -> Count:
    """Run pytest once, with a report of how it went in a file that is not there yet."""
    environment = dict(os.environ, **(variables or {}))
    # One thread each gives the same bits on every machine, and leaves the other core to the worker.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[variable] = "1"
    command = [python, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    ran = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    return _count(ran.returncode, report)


def _groups(paths: List[str]) -> List[List[str]]:
    """Split test paths (all but the window's when empty) into those that share a process."""
    if not paths:
        found = sorted((ROOT / "tests").iterdir())
        wanted = [p for p in found if p.name.startswith("test_") or any(p.rglob("test_*.py"))]
        paths = [p.relative_to(ROOT).as_posix() for p in wanted]
        paths.remove(_WINDOW)
    elif "tests" in (path.rstrip("/") for path in paths):
        return _groups([])
    together = [path for path in paths if not path.startswith(_APART)]
    apart = [[path for path in paths if path.startswith(folder)] for folder in _APART]
    return [group for group in [together, *apart] if group]


def _count(returncode: int, report: Path) -> Count:
    """Read one run's report; a run that died, or lost its report, counts as one failure more."""
    tests = failed = skipped = 0
    if report.exists():
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        for suite in suites:
            tests += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    passed = max(tests - failed - skipped, 0)
    # 0 all passed, 1 some failed, 5 none selected; anything else is pytest or a crash speaking.
    if returncode not in (0, 1, 5) or (returncode == 1 and not failed):
        print(f"pytest ended with exit code {returncode}.", flush=True)
        failed += 1
    return Count(passed, failed, skipped)


if __name__ == "__main__":
    sys.exit(main())
