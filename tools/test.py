# SPDX-License-Identifier: GPL-3.0-or-later
"""Run lint, types and tests with one command.

python tools/test.py                      # everything
python tools/test.py --fast               # everything except the tests marked slow
python tools/test.py --lint --types       # only these
python tools/test.py --window             # only those in a real Blender window (Linux, root)
python tools/test.py --with-window        # everything, and those if this machine can
python tools/test.py --bpy                # only those inside Blender, in other versions
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Optional, TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.pytest_runs import UNTIL_VARIABLE, Count, run_pytest
from tools.setup_env import ensure_environment

# Blender's module can be used only once in a process, and may crash at the end of the process. So
# folders whose tests import it run in processes of their own.
_APART = ("tests/blender", "tests/packaging", "tests/tools", "tests/window")
# These open Blenders that take minutes to fetch: only if asked for.
_WINDOW = "tests/window"
# Limits for making the Blenders, minutes: alone, and beside the other tests, which take about ten.
_MINUTES_ALONE, _MINUTES_BESIDE = 60.0, 12.0
# When the last test in a window may begin if the others run too.
_MINUTES_IN_ALL = 20.0
# These run in the Python of each Blender.
_INSIDE = "tests/blender"


def main() -> int:
    """Run the checks that the command line names; return the exit code."""
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
        help="also the tests in Blender's window; their Blenders are fetched at the same time",
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
    """Run the tests inside Blender in each module that is available; return the exit code."""
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
    """Run one check. Print a line if it passes, and its output if it fails."""
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
    """Run pytest once per group of folders, and add up the results.

    Where there are two processors, the first group runs beside all the others. What the others print
    comes after it.
    """
    paths = [argument for argument in arguments if _is_test(argument)]
    options = [a for a in arguments if a not in paths]
    first, *others = _groups(paths)
    if not others or (os.cpu_count() or 1) < 2:
        return _run_groups([first, *others], options)
    with tempfile.TemporaryFile("w+", errors="replace") as printed, ThreadPoolExecutor(1) as beside:
        print(f"\nIn the background: {', '.join(' '.join(group) for group in others)}", flush=True)
        counting = beside.submit(_run_groups, others, options, printed)
        total = _run_groups([first], options).plus(counting.result())
        printed.seek(0)
        print(printed.read(), end="", flush=True)
    return total


def _run_groups(
    groups: List[List[str]], options: List[str], output: Optional[TextIO] = None
) -> Count:
    """Run pytest once per group, one after the other."""
    total = Count()
    for group in groups:
        print(f"\npytest {' '.join(group)}", file=output, flush=True)
        total = total.plus(run_pytest([*options, *group], output=output))
    return total


def _is_test(argument: str) -> bool:
    """Whether an argument names tests. The value of an option may be a folder elsewhere."""
    path = (ROOT / argument.split("::")[0]).resolve()
    return path.exists() and (ROOT / "tests") in (path, *path.parents)


def _test_windows(left_out: List[str], until: float) -> Count:
    """Run the tests in Blender's window, if one can be opened. None begins after the time limit."""
    from tools.window.debian import RELEASES

    if len(left_out) == len(RELEASES):
        return Count()
    print(f"\npytest {_WINDOW}", flush=True)
    return run_pytest([_WINDOW], variables={UNTIL_VARIABLE: str(until)})


def _groups(paths: List[str]) -> List[List[str]]:
    """Split test paths into groups that share a process. No paths means all but those of the window."""
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
