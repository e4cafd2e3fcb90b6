# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills the worker, or what stands for Blender, at random moments of a propagation or a bake."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Literal

from . import Outcome, attack
from .capture import Capture, Host, bake_faults, images, matte_faults, mattes

Victim = Literal["worker", "host"]

_FRAMES = 8
_WORKER_ENDS = 20.0  # s


def kill_propagations(victim: Victim, count: int, folder: Path, seed: int) -> Outcome:
    """Kill so many runs over each other's mattes: each frame keeps one of them, and none is torn."""
    if sys.platform == "win32":
        return Outcome(skipped="processes are killed by signals")
    rng, capture = random.Random(seed), Capture(folder, _FRAMES)
    whole = []
    for which in (0, 1):
        place = folder / f"whole{which}"
        Host.start(capture.propagation(place, which), folder).run_to_end()
        whole.append(mattes(place))
    store, outcome = folder / "store", Outcome()
    shutil.copytree(folder / "whole0", store)
    which = 1
    for number in range(count):
        # Half of them go on, the others begin anew with the other request.
        which = which if rng.random() < 0.5 else 1 - which
        host = Host.start(capture.propagation(store, which), folder)
        host.wait_for(rng.randrange(_FRAMES))
        faults = _kill(victim, host, rng) + matte_faults(store, (whole[0], whole[1]))
        outcome.faults += [f"kill {number + 1}: {fault}" for fault in faults]
        outcome.tried += 1
    last = Host.start(capture.propagation(store, 1), folder).run_to_end()
    if mattes(store) != whole[1]:
        outcome.faults.append(
            f"the last run ended with other mattes than an undisturbed one: {last}"
        )
    return outcome


def kill_bakes(victim: Victim, count: int, folder: Path, seed: int) -> Outcome:
    """Kill so many bakes: every image that is there is whole and right."""
    if sys.platform == "win32":
        return Outcome(skipped="processes are killed by signals")
    rng, capture, outcome = random.Random(seed), Capture(folder, _FRAMES), Outcome()
    store = folder / "store"
    Host.start(capture.propagation(store, 0), folder).run_to_end()
    Host.start(capture.bake(store, folder / "whole"), folder).run_to_end()
    whole = images(folder / "whole")
    for number in range(count):
        out = folder / f"out{number}"
        host = Host.start(capture.bake(store, out), folder)
        host.wait_for(rng.randrange(_FRAMES))
        faults = _kill(victim, host, rng) + bake_faults(out, whole, is_over=False)
        outcome.faults += [f"kill {number + 1}: {fault}" for fault in faults]
        outcome.tried += 1
    last = Host.start(capture.bake(store, folder / "last"), folder).run_to_end()
    faults = bake_faults(folder / "last", whole, is_over=True)
    outcome.faults += [f"after all ({last}): {fault}" for fault in faults]
    return outcome


def _kill(victim: Victim, host: Host, rng: random.Random) -> list[str]:
    """Kill one of the two after a moment; returns what is wrong with how the other takes it."""
    time.sleep(rng.random() * 0.05)
    faults = []
    if victim == "host":
        host.process.kill()
        host.process.wait()
        end = time.monotonic() + _WORKER_ENDS
        while host.worker_lives and time.monotonic() < end:
            time.sleep(0.05)
        if host.signal_worker(signal.SIGKILL):
            faults.append("the worker outlives its host")
    else:
        host.signal_worker(signal.SIGKILL)
        word = host.run_to_end(_WORKER_ENDS)
        if word == "no end":
            faults.append("the host waits for a worker that is gone")
    return faults


@attack("kill the worker while it propagates", group="kills", count=100)
def worker_propagating(count: int, folder: Path, seed: int) -> Outcome:
    return kill_propagations("worker", count, folder, seed)


@attack("kill the host while its worker propagates", group="kills", count=100)
def host_propagating(count: int, folder: Path, seed: int) -> Outcome:
    return kill_propagations("host", count, folder, seed)


@attack("kill the worker while it bakes", group="kills", count=100)
def worker_baking(count: int, folder: Path, seed: int) -> Outcome:
    return kill_bakes("worker", count, folder, seed)


@attack("kill the host while its worker bakes", group="kills", count=100)
def host_baking(count: int, folder: Path, seed: int) -> Outcome:
    return kill_bakes("host", count, folder, seed)
