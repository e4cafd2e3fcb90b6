# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `sam2-splat farm`: the jobs of many captures on the computers of a Ray cluster."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ...core.errors import JobError, SplatError
from ...core.printable import counted, shown
from ...core.system.terminal import STOPPED, Interrupts, say, write
from . import farm_ray
from .batch import prepared_captures, table_of
from .farm_graph import CHUNK, Farm
from .many import Capture, exit_code_of
from .options import UsageError, parser_of_many

PROGRAM: Final = "sam2-splat farm"

_TICK: Final = 0.2  # s
_SHOW: Final = 1.0  # s
_USAGE: Final = 2
_FEWEST, _MOST = 1, 4096  # photos of a chunk
_ABOUT: Final = (
    "Run the jobs of many captures on the computers of a Ray cluster. Without a cluster this computer is one."
    " The same command again goes on where the last one stopped."
)


def farm(arguments: Sequence[str], on_error: Callable[[SplatError], int]) -> int:
    """Do the command and return the exit code.

    Parameters
    ----------
    on_error
        Prints a SplatError and returns its exit code.
    """
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    work = {"run": _run, "status": _status, "cancel": _cancel}.get(command)
    if work is None:
        say(f"usage: {PROGRAM} run | status | cancel [options]", error=command != "--help")
        say(f"{PROGRAM} run --help shows the options.", error=command != "--help")
        return 0 if command in ("-h", "--help") else _USAGE
    interrupts = Interrupts()
    try:
        code = work(list(rest), interrupts)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _USAGE
    except UsageError as wrong:
        say(f"{PROGRAM}: {wrong}", error=True)
        code = _USAGE
    except SplatError as error:
        code = on_error(error)
    interrupts.over(code)
    return code


def parser_of_run() -> argparse.ArgumentParser:
    """Return the parser of `farm run`. Its options hold for all captures."""
    own = parser_of_many(f"{PROGRAM} run", _ABOUT)
    of_farm = own.add_argument_group("the farm")
    _add_address(of_farm)
    of_farm.add_argument(
        "--gpus",
        type=_share,
        metavar="SHARE",
        help="graphics cards for each task: 0.5 lets two share a card (default: 1 if the cluster has cards"
        " and a job may use them)",
    )
    of_farm.add_argument(
        "--resource",
        action="append",
        default=[],
        metavar="NAME",
        help="each task also takes one of this resource of Ray, such as gpu_slot; may be given several times",
    )
    of_farm.add_argument(
        "--chunk",
        type=int,
        default=CHUNK,
        choices=range(_FEWEST, _MOST + 1),
        metavar="PHOTOS",
        help=f"the most photos that one task bakes; 16 to 64 are good (default: {CHUNK})",
    )
    return own


def _add_address(own: Any) -> None:
    own.add_argument(
        "--address",
        default="",
        metavar="HOST:PORT",
        help="of the Ray cluster (default: RAY_ADDRESS, or the one of this computer)",
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (0.0 <= value <= 1.0 or (value.is_integer() and value > 0)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a share such as 0.5 nor a whole number"
        )
    return value


def _run(arguments: Sequence[str], interrupts: Interrupts) -> int:
    options = parser_of_run().parse_args(arguments)
    captures = prepared_captures(options)
    ray = farm_ray.connect(options.address, may_start=True)
    interrupts.listen()  # after Ray, which has a handler of its own
    try:
        jobs = [capture.job for capture in captures]
        needs = farm_ray.chosen_needs(ray, jobs, options.gpus, options.resource)
        for capture in captures:
            capture.job = pinned(capture.job, needs)
        cluster = farm_ray.RayCluster(ray, captures, needs)
        halves = cluster.slots() >= 2 * len(captures)
        every = Farm(captures, cluster, options.chunk, options.at_once, halves=halves)
        return _followed(every, cluster, options, interrupts)
    finally:
        ray.shutdown()


def pinned(job: Any, needs: farm_ray.Needs) -> Any:
    """Return a job that does not leave to a node what can change the last bits of masks."""
    device = job.device
    if device == "auto":
        device = "cuda" if needs.gpus else "cpu"
    return replace(job, device=device, threads=job.threads or needs.threads)


def _followed(
    every: Farm, cluster: farm_ray.RayCluster, options: Any, interrupts: Interrupts
) -> int:
    table = table_of(every, is_json=options.json)
    table.begin(options.at_once or cluster.slots())
    cancelled, show_at = False, 0.0
    while not every.poll():
        table.look()
        for names in cluster.asked:
            every.cancel(names or None)
        cluster.asked.clear()
        if interrupts.wanted and not cancelled:
            cancelled = True
            every.cancel()
        if time.monotonic() >= show_at:
            show_at = time.monotonic() + _SHOW
            cluster.show([_row(capture) for capture in every.captures])
        time.sleep(_TICK)
    code = exit_code_of(every.captures, allow_damaged=options.allow_damaged)
    if cancelled and code in STOPPED:
        code = interrupts.code
    table.end(code)
    return code


def _row(capture: Capture) -> dict[str, Any]:
    return {
        "name": capture.name,
        "job": str(capture.file),
        "state": capture.state,
        "code": capture.code,
        "fraction": round(capture.fraction, 3),
        "text": capture.verdict(),
    }


def _rows_of(ray: Any, board: Any) -> Any:
    """Return what a farm run shows on its board: one `_row` for each capture."""
    return msgspec.json.decode(ray.get(board.rows.remote()))


def _status(arguments: Sequence[str], _: Interrupts) -> int:
    own = argparse.ArgumentParser(
        prog=f"{PROGRAM} status", description="Show how far farm runs are."
    )
    _add_address(own)
    own.add_argument("--json", action="store_true", help="print one line of JSON for each farm run")
    options = own.parse_args(arguments)
    ray = farm_ray.connect(options.address, may_start=False)
    try:
        found = [(name, _rows_of(ray, board)) for name, board in farm_ray.boards(ray)]
    finally:
        ray.shutdown()
    for name, rows in found:
        if options.json:
            write(msgspec.json.encode({"farm": name, "captures": rows}).decode() + "\n")
            continue
        over = sum(row["state"] in ("done", "failed", "cancelled") for row in rows)
        say(f"{name}: {over} of {counted(len(rows), 'capture')} done")
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            say(f"  {shown(row['name']):{width}}  {row['fraction']:4.0%}  {row['text']}")
    if not found and not options.json:
        say("No farm run is going on.")
    return 0


def _cancel(arguments: Sequence[str], _: Interrupts) -> int:
    own = argparse.ArgumentParser(
        prog=f"{PROGRAM} cancel",
        description="Cancel captures of farm runs. What is finished is kept.",
    )
    own.add_argument(
        "captures",
        nargs="*",
        metavar="NAME",
        help="as farm status names them (default: all captures)",
    )
    _add_address(own)
    options = own.parse_args(arguments)
    ray = farm_ray.connect(options.address, may_start=False)
    try:
        found = [(board, _rows_of(ray, board)) for _, board in farm_ray.boards(ray)]
        known = {row["name"] for _, rows in found for row in rows}
        unknown = [name for name in options.captures if name not in known]
        if found and unknown:
            raise JobError(
                f"There is no capture called {shown(unknown[0])!r}.",
                f"Name it as {PROGRAM} status does.",
            )
        for board, _ in found:
            ray.get(board.ask.remote(options.captures))
    finally:
        ray.shutdown()
    say("They end soon." if found else "No farm run is going on.")
    return 0
