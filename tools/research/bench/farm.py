# SPDX-License-Identifier: GPL-3.0-or-later
"""What `sam2-splat farm` does when things break, what it costs, and what would saturate on a large farm.

    python tools/research/bench/farm.py faults     # a node and the driver are killed, a disk is full
    python tools/research/bench/farm.py speed      # one node and two
    python tools/research/bench/farm.py overhead   # 100 captures of 8 tiny photos
    python tools/research/bench/farm.py simulate   # 10,000 captures on 100 nodes

It needs an environment with the engine and Ray (``pip install .[engine,farm]``), and Linux. It starts a head
without processors and nodes of one core each, as processes of this machine. The full disk is a small tmpfs
that only one node sees, in a mount namespace of its own: that needs root.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.core.capture_job import CaptureJob, write_job
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import EditedMatte

SAMPLE = ROOT / "sample" / "photos"
TOLD = ("--json", "--chunk", "6")
SIDE = (600, 900)  # px of the photos of `captures`
CLICK = (303.5, 443.5)  # on the chair of the sample, at that size


class Cluster:
    """A head without processors, and nodes of one core each with one `gpu_slot`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "SAM2_SPLAT_CACHE": str(place / "cache"),
            "RAY_ADDRESS": f"127.0.0.1:{self.port}",
        }
        self._start(
            "head",
            *("--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false"),
        )

    def add(self, name: str, full: Path | None = None) -> None:
        """Start a node. With a folder it sees there a disk of 64 kB."""
        words = [f"--address=127.0.0.1:{self.port}", "--num-cpus=1"]
        self._start(name, *words, '--resources={"gpu_slot": 1}', full=full)

    def _start(self, name: str, *words: str, full: Path | None = None) -> None:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command = [*ray, *words, f"--object-store-memory={80 << 20}", "--disable-usage-stats"]
        if full is not None:
            script = 'mount -t tmpfs -o size=64k none "$0" && mkdir "$0"/{0..9} && exec "$@"'
            command = ["unshare", "--mount", "bash", "-c", script, str(full), *command]
        log = (self.place / f"{name}.log").open("wb")
        environment = dict(self.environment)
        del environment["RAY_ADDRESS"]
        self.nodes[name] = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=self.place, start_new_session=True
        )
        wait_for(lambda: b"Ray runtime started" in (self.place / f"{name}.log").read_bytes())

    def kill(self, name: str) -> None:
        """Kill a node's own process of Ray by its number: nobody says goodbye."""
        starter = self.nodes.pop(name)
        for child in children(starter.pid):
            if "raylet" in Path(f"/proc/{child}/cmdline").read_text().split("\0")[0]:
                os.kill(child, signal.SIGKILL)
        starter.wait(60)

    def end(self) -> None:
        """End all."""
        started = [child for node in self.nodes.values() for child in children(node.pid)]
        for node in reversed(self.nodes.values()):
            node.terminate()
        for node in self.nodes.values():
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()
        for process in started:
            if str(self.place).encode() in environ_of(process):
                os.kill(process, signal.SIGKILL)

    def memory_of_head(self) -> float:
        """Return what the processes of the head hold, MB."""
        starter = self.nodes["head"].pid
        return sum(map(resident, [starter, *children(starter)])) / 1e6


def children(process: int) -> list[int]:
    """Return all processes that a process has started, and those of these."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*"):
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def environ_of(process: int) -> bytes:
    """Return the environment of a process, which tells ours from one that got its number later."""
    try:
        return Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return b""


def resident(process: int) -> int:
    """Return the memory of a process, bytes."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
    except OSError:
        return 0


def captures(place: Path, count: int, photos: int, *, broken: int = -1, **more: Any) -> Path:
    """Make captures of photos of the sample, one of them with a damaged photo."""
    from PIL import Image

    names = sorted(SAMPLE.iterdir())
    for number in range(count):
        folder = place / f"capture {number}" / "photos"
        folder.mkdir(parents=True)
        for at in range(photos):
            with Image.open(names[(at + 4 * number) % len(names) if at else 0]) as image:
                image.resize(SIDE).save(folder / f"IMG_{1000 + at}.jpg", quality=92)
        if number == broken:
            path = folder / "IMG_1005.jpg"
            path.write_bytes(path.read_bytes()[:-2000])
        click = FramePrompts(1, (PointPrompt(*CLICK),))
        prompts = PromptSet((ObjectPrompts(1, "chair", (click,)),))
        job = CaptureJob(photos=str(folder), prompts=prompts, device="cpu", threads=1, **more)
        write_job(folder.parent / "job.s2s.json", job)
    return place


def command(cluster: Cluster, *words: object, log: Path | None = None) -> subprocess.Popen[str]:
    """Start `sam2-splat`."""
    out = subprocess.PIPE if log is None else log.open("w")
    return subprocess.Popen(
        [sys.executable, "-m", "sam2_splat_addon", *map(str, words)],
        cwd=ROOT,
        env=cluster.environment,
        stdout=out,
        text=True,
    )


def events(log: Path) -> list[dict[str, Any]]:
    """Return what a farm run has told so far."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def digests(folder: Path) -> dict[str, str]:
    """Return digests of all mattes and baked images of captures, and of the manifests of the bakes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".matte", ".png")
        or (path.parent.name.startswith("postshot") and path.is_file())
    }


def wait_for(what: Any, seconds: float = 900.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.2)


@contextmanager
def working_in(options: argparse.Namespace) -> Iterator[tuple[Path, Cluster]]:
    """Give a folder and a cluster that has only its head."""
    place = Path(tempfile.mkdtemp(prefix="farm_", dir=options.work))
    cluster = Cluster(place)
    try:
        yield place, cluster
    finally:
        cluster.end()
        shutil.rmtree(place, ignore_errors=True)


def faults(options: argparse.Namespace) -> None:
    """Kill a node, kill the driver, fill a disk and damage a photo. Compare the bytes with one machine's."""
    with working_in(options) as (place, cluster):
        # The images go to a folder of their own for each capture, which lies on the full disk of one node.
        disk = place / "disk"
        disk.mkdir()
        made = captures(place / "farm", 8, 12, broken=5, output_in=str(disk / "x"))
        for number, job in enumerate(sorted(made.glob("*/job.s2s.json"))):
            text = json.loads(job.read_text())
            job.write_text(json.dumps({**text, "output_in": str(disk / f"{number}")}))
            (disk / f"{number}").mkdir()
        alone = place / "alone"
        shutil.copytree(made, alone)
        cluster.add("a")
        cluster.add("b", full=disk)
        log = place / "farm.json"
        words = ("farm", "run", made, "--resource", "gpu_slot", *TOLD, "--allow-damaged")

        def mattes() -> list[Path]:
            return list(made.rglob("*.matte"))

        driver = command(cluster, *words, log=log)
        wait_for(lambda: len(mattes()) >= 20)
        cluster.kill("a")
        print(f"node a was killed when {len(mattes())} mattes were there")
        cluster.add("c")
        wait_for(lambda: len(mattes()) >= 55)
        driver.kill()
        driver.wait()
        kept = {path: path.stat().st_mtime_ns for path in mattes()}
        print(f"the driver was killed when {len(kept)} mattes were there")
        again = command(cluster, *words, log=place / "again.json")
        code = again.wait()
        told = [*events(log), *events(place / "again.json")]
        ended = events(place / "again.json")[-1]["captures"]
        print(f"exit code {code}; captures: {[(one['state'], one['code']) for one in ended]}")
        full = sum(at.get("event") == "task" and at["code"] == 7 for at in told)
        lost = sum(at.get("event") == "task" and at["code"] is None for at in told)
        print(f"tasks that met the full disk: {full}; that were lost: {lost}")
        redone = [path for path, at in kept.items() if path.stat().st_mtime_ns != at]
        print(f"finished mattes that were computed again: {len(redone)} of {len(kept)}")
        for number, job in enumerate(sorted(alone.glob("*/job.s2s.json"))):
            text = json.loads(job.read_text())
            text["photos"], text["output_in"] = "photos", ""
            job.write_text(json.dumps(text))
            output = place / "one" / str(number)
            lone = ("run", job, "--output", output, "--allow-damaged")
            command(cluster, *lone, log=place / "alone.log").wait()
        same = {
            name: at for name, at in digests(made).items() if name.endswith(".matte")
        } == digests(alone)
        images = {name.replace("/postshot_v001", ""): at for name, at in digests(disk).items()}
        single = {
            path.relative_to(place / "one").as_posix(): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
            for path in (place / "one").rglob("*")
            if path.is_file()
        }
        print(f"mattes equal one machine's: {same}; images and their manifests: {images == single}")
        print(f"files: {len(digests(made))} mattes, {len(images)} of bakes")


def speed(options: argparse.Namespace) -> None:
    """Do eight captures with one node and with two."""
    with working_in(options) as (place, cluster):
        walls = []
        for nodes in (1, 2):
            cluster.add(f"node {nodes}")
            made = captures(place / f"with {nodes}", 8, 12)
            log = place / f"speed {nodes}.json"
            warm = captures(place / f"warm {nodes}", nodes, 1)
            command(
                cluster, "farm", "run", warm, "--resource", "gpu_slot", "--json", log=log
            ).wait()
            began = time.monotonic()
            words = ("farm", "run", made, "--resource", "gpu_slot", "--json")
            command(cluster, *words, log=log).wait()
            walls.append(time.monotonic() - began)
            tasks = [at for at in events(log) if at.get("event") == "task"]
            busy = sum(at["seconds"] for at in tasks)
            print(
                f"{nodes} node(s): {walls[-1]:.1f} s for 8 captures of 12 photos; tasks {busy:.1f} s;"
                f" load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            )
        print(f"speed-up: {walls[0] / walls[1]:.2f}")


def overhead(options: argparse.Namespace) -> None:
    """Do 100 captures of 8 tiny photos, whose masks are drawn: so nearly all that remains is overhead."""
    from PIL import Image

    with working_in(options) as (place, cluster):
        for number in range(options.count):
            folder = place / "tiny" / f"{number:03d}" / "photos"
            folder.mkdir(parents=True)
            for at in range(8):
                Image.new("RGB", (64, 48), (number, 20 * at, 90)).save(folder / f"{at}.jpg")
            outline = (10.0, 10.0, 50.0, 10.0, 50.0, 40.0, 10.0, 40.0)
            drawn = tuple(EditedMatte(1, at + 1, (outline,)) for at in range(8))
            prompts = PromptSet(
                (ObjectPrompts(1, "box", (FramePrompts(1, (PointPrompt(20.5, 20.5),)),)),)
            )
            job = CaptureJob(
                photos=str(folder),
                prompts=prompts,
                steps=("bake",),
                drawn=drawn,
                threads=1,
                device="cpu",
            )
            write_job(folder.parent / "job.s2s.json", job)
        cluster.add("a")
        cluster.add("b")
        log = place / "overhead.json"
        driver = command(
            cluster, "farm", "run", place / "tiny", "--resource", "gpu_slot", "--json", log=log
        )
        wait_for(lambda: any(at.get("event") == "task" for at in events(log)))
        began, memory = time.monotonic(), []
        while driver.poll() is None:
            memory.append((cluster.memory_of_head(), resident(driver.pid) / 1e6))
            time.sleep(1.0)
        wall = time.monotonic() - began
        tasks = [at for at in events(log) if at.get("event") == "task"]
        busy = sum(at["seconds"] for at in tasks)
        good = sum(one["code"] == 0 for one in events(log)[-1]["captures"])
        print(
            f"{good} of {options.count} captures in {wall:.1f} s, {len(tasks)} tasks of {busy:.1f} s"
        )
        print(
            f"on two nodes: overhead {(2 * wall - busy) / options.count:.2f} s of one node a capture"
        )
        marks = [memory[len(memory) * part // 5] for part in range(1, 5)]
        print("memory of head and driver, MB:", [tuple(map(round, mark)) for mark in marks])


def simulate(options: argparse.Namespace) -> None:
    """Simulate a farm second by second: what its cards, processors, network and storage are busy with."""
    for disk, target in ((2.5, "images"), (2.5, "masks"), (25.0, "images")):
        told = simulated(options, storage=disk * 1e9, writes_images=target == "images")
        print(f"storage {disk:g} GB/s, {target}: {told}")


def simulated(options: argparse.Namespace, *, storage: float, writes_images: bool) -> str:
    """Return what one farm does. A node does one task at a time, and reads while it computes."""
    photo, image, mask = options.photo_mb * 1e6, options.image_mb * 1e6, 0.05e6
    baking = options.bake if writes_images else options.mask
    chunk = 32
    parts = -(-options.photos // chunk)
    size = options.photos / parts
    link = options.link_gbit * 1e9 / 8
    # (compute s, bytes) of each task; a start of the process and the model is compute too.
    run = (options.start + options.photos * options.frame, options.photos * (photo + mask))
    part = (2.0 + size * baking, size * ((photo + image) if writes_images else mask))
    tail = (2.0 + 0.002 * options.photos, 0.0)
    waiting = {"run": options.captures, "part": 0, "tail": 0}
    costs = {"run": run, "part": part, "tail": tail}
    left: dict[int, int] = {}  # parts to come of captures whose run is over
    working: list[list[Any]] = []  # kind, capture, seconds left, bytes left
    now, done, number, busy_disk, busy_compute, handed = 0.0, 0, 0, 0.0, 0.0, 0
    queue: list[tuple[str, int]] = []
    step = options.step
    while done < options.captures:
        while len(working) < options.nodes:
            if queue:
                kind, capture = queue.pop()
            elif waiting["run"]:
                waiting["run"] -= 1
                kind, capture, number = "run", number, number + 1
            else:
                break
            working.append([kind, capture, *costs[kind]])
            handed += 1
        active = sum(task[3] > 0 for task in working)
        rate = min(link, storage / max(1, active))
        for task in working:
            busy_compute += min(step, max(0.0, task[2]))
            task[2] -= step
            moved = min(task[3], rate * step)
            busy_disk += moved
            task[3] -= moved
        now += step
        for kind, capture, *_ in [task for task in working if task[2] <= 0 >= task[3]]:
            if kind == "run":
                left[capture] = parts
                queue += [("part", capture)] * parts
            elif kind == "part":
                left[capture] -= 1
                if not left[capture]:
                    queue.append(("tail", capture))
            else:
                done += 1
        working = [task for task in working if not task[2] <= 0 >= task[3]]
    return (
        f"{now / 3600:.1f} h; nodes compute {100 * busy_compute / (now * options.nodes):.0f} % of the time;"
        f" storage moves {busy_disk / 1e12:.0f} TB, {100 * busy_disk / (now * storage):.0f} % of what it can;"
        f" {handed / now:.1f} tasks a second"
    )


def main() -> int:
    """Measure what the user asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("faults", "speed", "overhead", "simulate"))
    parser.add_argument("--work", default=tempfile.gettempdir(), help="where folders are made")
    parser.add_argument("--count", type=int, default=100, help="captures of `overhead`")
    parser.add_argument(
        "--captures", type=int, default=10_000, help="of the simulation, and below too"
    )
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--photos", type=int, default=300, help="of a capture")
    parser.add_argument("--frame", type=float, default=0.30, help="seconds to propagate a photo")
    parser.add_argument(
        "--bake", type=float, default=0.11, help="seconds to bake a photo (24 MP, 8 threads)"
    )
    parser.add_argument("--mask", type=float, default=0.01, help="seconds to bake only its mask")
    parser.add_argument("--start", type=float, default=6.0, help="seconds until a run tracks")
    parser.add_argument("--photo-mb", type=float, default=10.0)
    parser.add_argument("--image-mb", type=float, default=40.0)
    parser.add_argument("--link-gbit", type=float, default=10.0, help="network of a node")
    parser.add_argument("--step", type=float, default=1.0, help="of the simulation, s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster ends too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    {"faults": faults, "speed": speed, "overhead": overhead, "simulate": simulate}[options.what](
        options
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
