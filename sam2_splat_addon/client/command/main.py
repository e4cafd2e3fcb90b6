# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `sam2-splat`, and the part of it that Blender's own command shares.

Exit codes: 0 done, 1 unforeseen error, 2 wrong usage, 3 photos or their cameras, 4 prompts or job,
5 checkpoint or packages, 6 SAM 2 process, 7 bake or store, 8 done without some damaged photos,
130 cancelled with Ctrl+C, 143 ended with SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final

from ...core.capture_job import CaptureJob, JobStep
from ...core.errors import (
    BakeError,
    CameraError,
    CheckpointError,
    EnvironmentSetupError,
    FootageError,
    JobError,
    PackageError,
    PromptError,
    ProtocolError,
    SplatError,
    StoreError,
    WorkerError,
)
from ...core.system.terminal import Interrupts, say, say_lines, write
from . import batch, farm, inform
from .options import EXIT_CODES, UsageError, job_of, misuse, parser, way_of
from .run_job import JobResult, Prepared, Way, damaged_sentence, prepared, run
from .watch import JsonLines, Terminal, Watch
from .workplace import Workplace

PROGRAM: Final = "sam2-splat"

_EXIT_CODES: Final[tuple[tuple[type[SplatError], int], ...]] = (
    (FootageError, 3),
    (CameraError, 3),
    (PromptError, 4),
    (JobError, 4),
    (CheckpointError, 5),
    (EnvironmentSetupError, 5),
    (PackageError, 5),
    (WorkerError, 6),
    (ProtocolError, 6),
    (BakeError, 7),
    (StoreError, 7),
)
_DONE: Final = 0
_UNFORESEEN: Final = 1
_USAGE: Final = 2
_DAMAGED: Final = 8

# Command of one job -> the steps that it does (None: those of the job), and its line in the help.
JOB_COMMANDS: Final[dict[str, tuple[tuple[JobStep, ...] | None, str]]] = {
    "run": (None, "do all steps of a job, or what options say"),
    "propagate": (("propagate",), "carry the masks through the photos"),
    "review": (("review",), "write the review of the masks that are there"),
    "bake": (("bake",), "bake the masks that are there"),
    "check": (None, "find out all that can be known before a run"),
}
OTHER_COMMANDS: Final = {
    "batch": "run the jobs of many captures, side by side",
    "farm": "run the jobs of many captures on the computers of a Ray cluster",
    "info": "show versions, folders and models, or the masks of a job",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command and return the exit code. This is the entry of `sam2-splat`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command, rest = (words[0], words[1:]) if words else ("", [])
    if command in JOB_COMMANDS:
        return _of_job(command, rest)
    if command == "batch":
        return batch.batch(rest, _say_error)
    if command == "farm":
        return farm.farm(rest, _say_error)
    if command == "info":
        return inform.info(rest)
    if command == "--version":
        say(inform.version())
        return _DONE
    asked = command in ("-h", "--help", "help")
    if not asked and command:
        say(f"{PROGRAM}: there is no command {command!r}", error=True)
    write(_help(), error=not asked)
    return _DONE if asked else _USAGE


def _help() -> str:
    commands = {**{name: text for name, (_, text) in JOB_COMMANDS.items()}, **OTHER_COMMANDS}
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {text}" for name, text in commands.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [options]",
            "",
            "Mask captures with SAM 2 for Gaussian-splat training.",
            "",
            *lines,
            "",
            f"{PROGRAM} COMMAND --help shows the options of a command.",
            EXIT_CODES,
            "",
        ]
    )


def _of_job(command: str, arguments: Sequence[str]) -> int:
    steps, about = JOB_COMMANDS[command]
    options = parsed(
        parser(f"{PROGRAM} {command}", about=f"{about[0].upper()}{about[1:]}."), arguments
    )
    if isinstance(options, int):
        return options

    def work(watch: Watch) -> JobResult | Prepared:
        job = job_of(options, steps)
        require_use(options, job)
        at = Workplace.without_blender()
        try:
            return done(command, job, at, watch, way_of(options))
        finally:
            at.pool.shutdown()

    interrupts = Interrupts()
    interrupts.listen()
    if options.stop_at_eof:
        interrupts.listen_to_input()
    return to_code(work, options, interrupts)


def done(
    command: str, job: CaptureJob, at: Workplace, watch: Watch, way: Way
) -> JobResult | Prepared:
    """Check a job, and run it unless the command only checks. Raises SplatError and KeyboardInterrupt."""
    ready = prepared(job, at, watch, way)
    if command == "check":
        inform.checked(ready, at, watch)
        return ready
    return run(ready, at, watch, way)


def require_use(options: argparse.Namespace, job: CaptureJob) -> None:
    """Raise UsageError if options are of no use for a job."""
    wrong = misuse(options, job)
    if wrong:
        raise UsageError(wrong)


def parsed(own: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace | int:
    """Return the options, or the exit code if the parser has ended, as after ``--help``."""
    try:
        return own.parse_args(list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _USAGE


def watch_of(options: argparse.Namespace, interrupts: Interrupts) -> Watch:
    """Return who tells the user how a job goes."""
    return JsonLines(interrupts) if options.json else Terminal(interrupts)


def to_code(
    work: Callable[[Watch], JobResult | Prepared],
    options: argparse.Namespace,
    interrupts: Interrupts,
) -> int:
    """Do what options ask for, tell how it ended, and return the exit code."""
    watch = watch_of(options, interrupts)
    code = _UNFORESEEN
    result: JobResult | Prepared | None = None
    try:
        result = work(watch)
    except UsageError as wrong:
        say(f"{PROGRAM}: {wrong}", error=True)
        code = _USAGE
    except KeyboardInterrupt:
        watch.warned("Cancelled. The finished frames are kept.")
        code = interrupts.code
    except SplatError as error:
        watch.failed(error)
        code = exit_code(error)
    else:
        code = _DONE
        if isinstance(result, JobResult) and result.damaged:
            watch.warned(damaged_sentence(result))
            code = _DONE if options.allow_damaged else _DAMAGED
    finally:
        watch.ended(code, **({} if result is None else result.facts()))
        interrupts.over(code)
    return code


def _say_error(error: SplatError) -> int:
    say_lines(f"Error: {error}", error=True)
    return exit_code(error)


def exit_code(error: SplatError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), _UNFORESEEN)
