# SPDX-License-Identifier: GPL-3.0-or-later
"""A small capture to attack, the runs over it, and checks of their files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import msgspec
import numpy as np
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import (
    BakeRequest,
    FootageFiles,
    ModelChoice,
    PreviewRequest,
    PropagateRequest,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs.bake_manifest import MANIFEST_NAME

ROOT = Path(__file__).resolve().parents[2]
SIZE = (480, 320)
HOST = ROOT / "tools" / "attacks" / "host.py"


class Wish(msgspec.Struct):
    """The requests of a host to its worker: this one or the other one, and one that loads the model."""

    propagate: PropagateRequest | None = None
    bake: BakeRequest | None = None
    first: PreviewRequest | None = None


class Capture:
    """Photos, and two requests over them whose mattes all differ.

    Parameters
    ----------
    folder
        Made for it.
    frames
        How many photos.
    """

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder = folder
        photos = folder / "photos"
        photos.mkdir(parents=True)
        for number in range(frames):
            noise = np.random.default_rng(number).integers(0, 60, (SIZE[1], SIZE[0], 3), np.uint8)
            noise[100:200, 60 + 8 * number : 160 + 8 * number] += np.uint8(120)
            Image.fromarray(noise).save(photos / f"IMG_{number + 1:04d}.jpg", quality=95)
        self.files = FootageFiles.of(scan(photos))
        self.frames = range(1, frames + 1)

    def propagation(self, store: Path, which: int) -> Wish:
        """One of the two."""
        point = (PointPrompt(110.0, 150.0), PointPrompt(400.0, 40.0))[which]
        prompts = PromptSet((ObjectPrompts(1, "thing", (FramePrompts(2, (point,)),)),), *SIZE)
        settings = RunSettings(speed="fast")
        model = ModelChoice("bundled", "", "cpu", 1)
        ready = PreviewRequest(
            self.files.paths[0], *SIZE, 1, PromptSet(()), model, settings=settings
        )
        asked = PropagateRequest(self.files, prompts, str(store), model, settings)
        return Wish(asked, first=ready)

    def bake(self, store: Path, out: Path) -> Wish:
        """Into a new folder."""
        return Wish(bake=BakeRequest(self.files, str(store), str(out), BakeOptions(), threads=1))


@dataclass
class Host:
    """A process in the role of Blender: it starts a worker, asks it, and prints the events.

    Attributes
    ----------
    done
        When each finished frame was reported, in seconds of ``time.monotonic``.
    worker
        Process id of the worker; 0 until it is known.
    ended
        The last line: ``finished``, an error, or nothing.
    is_ready
        Whether its worker is ready.
    """

    process: subprocess.Popen[str]
    done: list[tuple[float, int]] = field(default_factory=list)
    worker: int = 0
    is_ready: bool = False
    ended: str = ""

    @classmethod
    def start(cls, wish: Wish, folder: Path) -> Host:
        """Begin; returns at once."""
        host = cls.ready(wish, folder)
        host.go()
        return host

    @classmethod
    def ready(cls, wish: Wish, folder: Path) -> Host:
        """Start it and its worker, for `go`; returns at once, while the two get ready."""
        number, path = tempfile.mkstemp(".json", "wish", folder)
        with os.fdopen(number, "wb") as file:
            file.write(msgspec.json.encode(wish))
        process = subprocess.Popen(
            [sys.executable, str(HOST), path],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        host = cls(process)
        Thread(target=host._listen, daemon=True).start()
        return host

    def go(self) -> None:
        """Let it ask its worker."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "worker":
                self.worker = int(rest)
            elif word == "ready":
                self.is_ready = True
            elif word == "frame":
                self.done.append((time.monotonic(), int(rest)))
            else:
                self.ended = line.strip()

    def wait_for(self, frames: int, limit: float = 300.0) -> None:
        """Wait until its worker is ready and ``frames`` frames are finished, or until it has ended."""
        end = time.monotonic() + limit
        while self.process.poll() is None and time.monotonic() < end:
            if self.is_ready and len(self.done) >= frames:
                return
            time.sleep(0.002)

    def signal_worker(self, number: int) -> bool:
        """Send the worker a signal; returns whether it runs, and is not another process with its number."""
        if not self.worker_lives:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.worker, number)
        return True

    @property
    def worker_lives(self) -> bool:
        """Whether the worker runs; a zombie does not count."""
        if not self.worker:
            return False
        try:  # without /proc, while its host can still wait for it
            return b"engine/worker/entry.py" in Path(f"/proc/{self.worker}/cmdline").read_bytes()
        except OSError:
            return not Path("/proc/self").exists() and self.process.poll() is None

    def run_to_end(self, limit: float = 300.0) -> str:
        """Its last line."""
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "no end"
        time.sleep(0.05)  # for the last line
        return self.ended


def mattes(store: Path) -> dict[int, bytes]:
    """Return the usable mattes by frame."""
    there = MatteStore(store)
    whole = [frame for frame in there.frames(1) if there.mark(1, frame) is not None]
    return {frame: there.path(1, frame).read_bytes() for frame in whole}


def images(folder: Path) -> dict[str, bytes]:
    """Return the images of a bake that decode completely, by name."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.png")):
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, ValueError, SyntaxError):
            continue
        found[path.name] = path.read_bytes()
    return found


def bake_faults(folder: Path, whole: dict[str, bytes], *, is_over: bool) -> list[str]:
    """Return what is wrong with the files of a bake; undisturbed, it gives these images."""
    if not folder.exists():
        return ["a bake that was over is gone"] if is_over else []
    names, found = {path.name for path in folder.glob("*.png")}, images(folder)
    faults = [f"{name} is torn" for name in sorted(names - found.keys())]
    faults += [f"{name} is wrong" for name in found if found[name] != whole.get(name)]
    manifest = folder / MANIFEST_NAME
    is_complete = manifest.is_file() and manifest.stat().st_size > 0
    if (is_complete or is_over) and found.keys() != whole.keys():
        faults.append(f"{len(found)} of {len(whole)} images in a folder that says it is complete")
    if is_over and not is_complete:
        faults.append("no manifest after the end")
    return faults


def matte_faults(store: Path, whole: tuple[dict[int, bytes], ...]) -> list[str]:
    """Return what is wrong with a store; each of its mattes must be of one of these runs."""
    found, frames = mattes(store), set(whole[0])
    faults = [f"frame {frame} has lost its matte" for frame in sorted(frames - found.keys())]
    faults += [
        f"frame {frame} has a matte of no run"
        for frame, data in found.items()
        if all(data != run.get(frame) for run in whole)
    ]
    return faults
