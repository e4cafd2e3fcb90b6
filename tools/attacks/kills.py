# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill the worker, or the host in the role of Blender, at random moments of a run or a bake."""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import Outcome, attack
from .capture import Capture, Host, Wish, bake_faults, images, matte_faults, mattes

Victim = Literal["worker", "host"]

_FRAMES = 8
_WORKER_ENDS = 20.0  # s


@dataclass(frozen=True)
class Ground:
    """A capture for the runs that are killed, with the results of undisturbed runs.

    Attributes
    ----------
    whole
        The mattes of each request.
    images
        The images of a bake of the first.
    """

    capture: Capture
    whole: tuple[dict[int, bytes], dict[int, bytes]]
    images: dict[str, bytes]

    @classmethod
    def made(cls, folder: Path) -> Ground:
        """Make one in a new folder, with undisturbed runs."""
        capture = Capture(folder, _FRAMES)
        hosts = [
            Host.start(capture.propagation(folder / f"whole{which}", which), folder)
            for which in (0, 1)
        ]
        for host in hosts:
            host.run_to_end()
        Host.start(capture.bake(folder / "whole0", folder / "baked"), folder).run_to_end()
        found = mattes(folder / "whole0"), mattes(folder / "whole1")
        return cls(capture, found, images(folder / "baked"))


def kill_propagations(
    victim: Victim, count: int, folder: Path, seed: int, ground: Ground
) -> Outcome:
    """Kill ``count`` runs over each other's mattes: each frame keeps a whole matte of one of them."""
    if sys.platform == "win32":
        return Outcome(skipped="processes are killed by signals")
    folder.mkdir(parents=True)
    rng, capture = random.Random(seed), ground.capture
    store, outcome = folder / "store", Outcome()
    shutil.copytree(capture.folder / "whole0", store)
    # Half of them continue; the others begin again with the other request.
    turns = [rng.random() < 0.5 for _ in range(count)]
    requests = [(1 + sum(turns[: number + 1])) % 2 for number in range(count)]
    wishes = [capture.propagation(store, which) for which in (*requests, 1)]
    for number, host in enumerate(_hosts(wishes, folder)):
        if number == count:
            last = host.run_to_end()
            break
        host.wait_for(rng.randrange(_FRAMES))
        faults = _kill(victim, host, rng) + matte_faults(store, ground.whole)
        outcome.faults += [f"kill {number + 1}: {fault}" for fault in faults]
        outcome.tried += 1
    if mattes(store) != ground.whole[1]:
        outcome.faults.append(
            f"the last run ended with other mattes than an undisturbed one: {last}"
        )
    return outcome


def kill_bakes(victim: Victim, count: int, folder: Path, seed: int, ground: Ground) -> Outcome:
    """Kill ``count`` bakes: every existing image is complete and right."""
    if sys.platform == "win32":
        return Outcome(skipped="processes are killed by signals")
    folder.mkdir(parents=True)
    rng, capture, outcome = random.Random(seed), ground.capture, Outcome()
    store, whole = capture.folder / "whole0", ground.images
    places = [folder / f"out{number}" for number in range(count + 1)]
    for number, host in enumerate(_hosts([capture.bake(store, out) for out in places], folder)):
        if number == count:
            last = host.run_to_end()
            faults = bake_faults(places[count], whole, is_over=True)
            outcome.faults += [f"after all ({last}): {fault}" for fault in faults]
            break
        host.wait_for(rng.randrange(_FRAMES))
        faults = _kill(victim, host, rng) + bake_faults(places[number], whole, is_over=False)
        outcome.faults += [f"kill {number + 1}: {fault}" for fault in faults]
        outcome.tried += 1
    return outcome


def _hosts(wishes: Sequence[Wish], folder: Path) -> Iterator[Host]:
    """Yield a working host for each wish. The next one gets ready at the same time, to save time."""
    ahead = Host.ready(wishes[0], folder)
    for number in range(len(wishes)):
        host = ahead
        host.go()
        if number + 1 < len(wishes):
            ahead = Host.ready(wishes[number + 1], folder)
        yield host


def _kill(victim: Victim, host: Host, rng: random.Random) -> list[str]:
    """Kill one of the two after a moment; returns what goes wrong in the other one."""
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
    return kill_propagations("worker", count, folder / "kills", seed, Ground.made(folder))


@attack("kill the host while its worker propagates", group="kills", count=100)
def host_propagating(count: int, folder: Path, seed: int) -> Outcome:
    return kill_propagations("host", count, folder / "kills", seed, Ground.made(folder))


@attack("kill the worker while it bakes", group="kills", count=100)
def worker_baking(count: int, folder: Path, seed: int) -> Outcome:
    return kill_bakes("worker", count, folder / "kills", seed, Ground.made(folder))


@attack("kill the host while its worker bakes", group="kills", count=100)
def host_baking(count: int, folder: Path, seed: int) -> Outcome:
    return kill_bakes("host", count, folder / "kills", seed, Ground.made(folder))
