# SPDX-License-Identifier: GPL-3.0-or-later
"""Lint, types and tests in one command; standard library only.

python tools/test.py                      # everything
python tools/test.py --fast               # everything but the tests marked slow
python tools/test.py --lint --types       # only these
python tools/test.py --window             # only those in a real Blender window (Linux, root)
python tools/test.py --with-window        # everything, and those where this machine can hold them
python tools/test.py --bpy                # only those inside Blender, in Blender's other versions
python tools/test.py tests/core -k natural  # these tests, with pytest's own arguments
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.pytest_runs import UNTIL_VARIABLE, Count, run_pytest
from tools.setup_env import ensure_environment

# Blender's module can live only once in a process and can take the process down at its end,
# so the folders whose tests import it run apart from the rest and from each other.
_APART = ("tests/blender", "tests/packaging", "tests/tools", "tests/window")
# These open Blenders of their own, which take minutes to fetch: only when asked for.
_WINDOW = "tests/window"
# How long making the Blenders may take: alone, and beside the other tests, which take about ten.
_MINUTES_ALONE, _MINUTES_BESIDE = 60.0, 12.0
# When the last test in a window may begin, beside the others.
_MINUTES_IN_ALL = 20.0
# These run in Blender's own Python, whatever its version.
_INSIDE = "tests/blender"


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
        "--with-window",
        action="store_true",
        help="also the tests in Blender's window, whose Blenders are fetched meanwhile",
    )
    parser.add_argument(
        "--bpy", action="store_true", help="only the tests inside Blender, in its other versions"
    )
    options, for_pytest = parser.parse_known_args()
    ensure_environment()

    if options.bpy:
        return _test_modules(for_pytest)
    making = None
    left_out: List[str] = []
    if options.window or options.with_window:
        from tools.window.prefetch import Prefetch, make_all

        if options.window:
            for_pytest = [_WINDOW, *for_pytest]
            left_out = make_all(_MINUTES_ALONE)
        else:
            making = Prefetch(_MINUTES_BESIDE)
    started = time.monotonic()
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
        if making is not None:
            left_out = making.finish()
            total = total.plus(_test_windows(left_out, started + 60.0 * _MINUTES_IN_ALL))
        if total.failed:
            failed.append("pytest")
        if failed:
            print(f"Failed: {', '.join(failed)}")
        print(*left_out, total, sep="\n")
        if not any(total):
            failed.append("no test")
    elif failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


def _test_modules(arguments: List[str]) -> int:
    """Run the tests inside Blender in each module that can be had; return the exit code."""
    from sam2_splat_addon.client.packages.environment import SITE_VARIABLE
    from tools.modules.plugin import VARIABLE
    from tools.modules.venvs import MODULES, NoModuleError, ready

    variables = {VARIABLE: sys.executable, SITE_VARIABLE: sysconfig.get_path("purelib")}
    plugin = ["-p", "tools.modules.plugin", "-p", "no:cacheprovider"]
    paths = [] if any(_is_test(argument) for argument in arguments) else [_INSIDE]
    verdicts: List[str] = []
    failed = False
    for module in MODULES:
        try:
            python = ready(module)
        except NoModuleError as problem:
            verdicts.append(f"Blender {module.version}: left out. {problem}")
            continue
        print(f"\nBlender {module.version}", flush=True)
        count = run_pytest([*plugin, *arguments, *paths], python=str(python), variables=variables)
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
    paths = [argument for argument in arguments if _is_test(argument)]
    options = [a for a in arguments if a not in paths]
    total = Count()
    for group in _groups(paths):
        print(f"\npytest {' '.join(group)}", flush=True)
        total = total.plus(run_pytest([*options, *group]))
    return total


def _is_test(argument: str) -> bool:
    """Whether an argument names tests: an option's own may be a folder elsewhere."""
    path = (ROOT / argument.split("::")[0]).resolve()
    return path.exists() and (ROOT / "tests") in (path, *path.parents)


def _test_windows(left_out: List[str], until: float) -> Count:
    """Run the tests in Blender's window, as long as there is one; none begins after a time."""
    from tools.window.debian import RELEASES

    if len(left_out) == len(RELEASES):
        return Count()
    print(f"\npytest {_WINDOW}", flush=True)
    return run_pytest([_WINDOW], variables={UNTIL_VARIABLE: str(until)})


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


if __name__ == "__main__":
    sys.exit(main())
