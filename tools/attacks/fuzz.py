# SPDX-License-Identifier: GPL-3.0-or-later
"""Give damaged inputs to everything that reads foreign bytes.

Each input is a good one, damaged by a generator with a seed. It is read in a process of its own with
limited memory and time. Every error that is not typed (`core/errors.py`) is a fault. So is a crash, a
hang, or too much memory for a small file.

python -m tools.attacks.fuzz TARGET NUMBER SEED     # one input again, with its traceback
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tools.attacks import Outcome, attack

SHARES = {
    "headers": 14,
    "pixels": 22,
    "model input": 8,
    "prompts": 14,
    "messages": 16,
    "store": 14,
    "memories": 6,
    "checkpoints": 6,
}
"""How many of a hundred inputs are for each target."""

_SECONDS = 10
_MEMORY = 1 << 30  # bytes above the memory of the process at its start
_ROOT = Path(__file__).resolve().parents[2]
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS = (0, 1, 0x7FFF, 0xFFFF, 60000, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Target(NamedTuple):
    """The function that makes a damaged input, and the one that reads it."""

    make: Callable[[random.Random], bytes]
    read: Callable[[bytes], object]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Change, move, double or delete a few bytes, more often near the beginning."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        at = rng.randrange(min(len(out), 220) if rng.random() < 0.6 else len(out))
        length = rng.randrange(1, 40)
        match rng.randrange(8):
            case 0:
                out[at] = rng.choice(_EDGES)
            case 1:
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                code = rng.choice(("<H", ">H", "<I", ">I"))
                size = struct.calcsize(code)
                number = rng.choice(_NUMBERS) & (256**size - 1)
                out[at : at + size] = struct.pack(code, number)
            case 3:
                del out[rng.randrange(len(out)) :]
            case 4:
                del out[at : at + length]
            case 5:
                out[at:at] = rng.randbytes(length)
            case 6:
                out[at:at] = out[:length]
            case _:
                out[at : at + length] = rng.choice((b"\0", b"\xff")) * length
    return bytes(out)


def other_types(rng: random.Random, value: Any) -> Any:
    """Return the same structure, with some values of another type, out of range, or missing."""
    if rng.random() < 0.08:
        return rng.choice((None, True, -1, 2**63, 0.5, 1e308, "", "é" * 70, [], {}, [[]], {"a": 1}))
    if isinstance(value, dict):
        return {key: other_types(rng, held) for key, held in value.items() if rng.random() > 0.04}
    if isinstance(value, list | tuple):
        return [other_types(rng, held) for held in value]
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.25:
        return rng.choice((0, -1, 1, 10**6, 2**31, -(2**31), 2**40))
    return value


def _as_json(value: Any) -> bytes:
    return json.dumps(value, default=lambda held: "bytes").encode()


def _nested(rng: random.Random) -> bytes:
    deep = rng.choice((50, 5000, 200_000))
    return rng.choice((b"[" * deep, b'{"a":' * deep, b'{"version":1,"objects":' + b"[" * deep))


def _photos() -> list[bytes]:
    """Make small photos of every format that is read."""
    import cv2
    import numpy as np
    import OpenEXR
    import tifffile
    from PIL import Image

    rgb = np.random.default_rng(1).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    image, found = Image.fromarray(rgb), []

    def saved(kind: str, picture: Image.Image = image, **options: Any) -> None:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        found.append(file.getvalue())

    exif = Image.Exif()
    exif[271], exif[274] = "maker", 6
    saved("JPEG", exif=exif)
    saved("JPEG", progressive=True)
    for mode in ("L", "CMYK"):
        saved("JPEG", image.convert(mode))
    for mode in ("RGB", "P", "RGBA", "1", "LA"):
        saved("PNG", image.convert(mode), exif=exif)
    found.append(bytes(cv2.imencode(".png", rgb.astype(np.uint16) * 257)[1]))
    saved("WEBP", exif=exif)
    saved("WEBP", lossless=True)
    saved("WEBP", image.convert("RGBA"))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        saved("TIFF", compression=compression, exif=exif)
    saved("TIFF", image.convert("1"), compression="group4")
    layouts: tuple[dict[str, Any], ...] = (
        {"data": rgb.astype(np.uint16) * 257},
        {"data": rgb.astype(np.float32) / 255, "bigtiff": True},
        {"data": rgb, "tile": (16, 16), "compression": "zlib"},
        {"data": np.moveaxis(rgb, 2, 0), "planarconfig": "separate"},
    )
    for layout in layouts:
        file = io.BytesIO()
        tifffile.imwrite(file, photometric="rgb", **layout)
        found.append(file.getvalue())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.exr")
        for kind in ("NO", "ZIP", "PIZ", "DWAA"):
            planes = {c: (rgb[:, :, i] / 255).astype(np.float16) for i, c in enumerate("RGB")}
            compression = getattr(OpenEXR, f"{kind}_COMPRESSION")
            with OpenEXR.File({"compression": compression}, planes) as exr:
                exr.write(str(path))
            found.append(path.read_bytes())
    return found


def _photo_targets(folder: Path) -> dict[str, Target]:
    from sam2_splat_addon.core.footage.headers import read_header
    from sam2_splat_addon.engine.images.decode import decode
    from sam2_splat_addon.engine.images.frame_source import FrameSource

    seeds, path = _photos(), folder / "photo"

    def make(rng: random.Random) -> bytes:
        return mutated(rng, rng.choice(seeds))

    def on_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
        return lambda data: (path.write_bytes(data), read(path))

    return {
        "headers": Target(make, on_file(read_header)),
        "pixels": Target(make, on_file(decode)),
        "model input": Target(make, on_file(lambda p: FrameSource([p], 64, exact=False)[0])),
    }


_PROMPTS: dict[str, Any] = {
    "version": 1,
    "width": 100,
    "height": 80,
    "objects": [
        {
            "id": 1,
            "name": "a",
            "frames": [
                {
                    "frame": 1,
                    "points": [{"x": 3.5, "y": 4, "include": True}],
                    "box": {"x0": 1, "y0": 2, "x1": 30, "y1": 40},
                }
            ],
        },
        {
            "id": 2,
            "name": "b",
            "frames": [{"frame": 2, "mask": {"width": 10, "height": 8, "runs": [0, 5, 75]}}],
        },
    ],
}


def _prompts_target() -> Target:
    from sam2_splat_addon.core.footage.sizes import PhotoSizes
    from sam2_splat_addon.core.prompts import from_json, to_json

    def make(rng: random.Random) -> bytes:
        kind = rng.random()
        if kind < 0.04:
            return _nested(rng)
        if kind < 0.4:
            return mutated(rng, _as_json(_PROMPTS))
        return _as_json(other_types(rng, _PROMPTS))

    def read(data: bytes) -> object:
        prompts = from_json(data).checked(PhotoSizes(200, 160), 5)
        masks = (at.mask for entry in prompts.objects for at in entry.frames)
        return [mask.to_array().sum() for mask in masks if mask is not None], to_json(prompts)

    return Target(make, read)


def _messages_target() -> Target:
    import msgspec

    from sam2_splat_addon.core import protocol as p
    from sam2_splat_addon.core.bake_plan import BakeOptions
    from sam2_splat_addon.core.mattes.store import MatteScores
    from sam2_splat_addon.core.prompts import from_json

    scores, prompts = MatteScores(1.0, 0.9, 0.3), from_json(_as_json(_PROMPTS))
    footage = p.FootageFiles("/x", ("/x/a.jpg", "/x/b.jpg"), 100, 80, "f")
    model, edited = p.ModelChoice("bundled"), (p.EditedMatte(1, 1, ((0.0, 0.0, 1.0, 1.0),)),)
    messages: list[tuple[bool, Any]] = [
        (True, p.PropagateRequest(footage, prompts, "/s", model, edited=edited)),
        (True, p.BakeRequest(footage, "/s", "/o", BakeOptions())),
        (True, p.ReportRequest(footage, "/s", "/o", {1: "a"})),
        (True, p.PreviewRequest("/x/a.jpg", 100, 80, 1, prompts, model)),
        (False, p.Progress("baking", 1, 2, 3, "a", 1.0, 2.0, 3.0)),
        (False, p.FrameDone(1, 1, scores)),
        (False, p.Finished("x", damaged=("a.jpg",))),
        (False, p.Failed("BakeError", "m", "f", "t")),
        (False, p.PreviewDone(1, 1, (p.PreviewMatte(1, 2, 2, bytes(8), scores),), 1.0)),
    ]

    def make(rng: random.Random) -> bytes:
        is_request, message = rng.choice(messages)
        if rng.random() < 0.03:
            data = b"\x91" * rng.choice((50, 5000, 200_000))
        elif rng.random() < 0.5:
            data = mutated(rng, msgspec.msgpack.encode(message))
        else:
            data = msgspec.msgpack.encode(other_types(rng, msgspec.to_builtins(message)))
        length = len(data)
        if rng.random() < 0.2:
            length = rng.choice((0, 1, length + 1, 2**30, 2**31, 2**32 - 1))
        start = b"S2SP" if rng.random() < 0.95 else rng.randbytes(4)
        return bytes([is_request]) + start + struct.pack("<I", length) + data

    def read(data: bytes) -> object:
        reader = p.read_request if data[0] else p.read_event
        seen: list[object] = []
        stream = io.BytesIO(data[1:])
        while (message := reader(stream)) is not None:
            seen.append(message)
            if isinstance(message, p.PreviewDone):
                seen += [matte.array() for matte in message.mattes]
            if isinstance(message, p.Failed):
                message.to_error()
        return seen

    return Target(make, read)


def _store_target(folder: Path) -> Target:
    import msgspec
    import numpy as np

    from sam2_splat_addon.core.footage.content_hashes import ContentHashes
    from sam2_splat_addon.core.footage.damaged_photos import DAMAGED_NAME, read_damaged
    from sam2_splat_addon.core.footage.staging import read_stage
    from sam2_splat_addon.core.mattes import run_manifest as m
    from sam2_splat_addon.core.mattes.store import (
        MatteRecord,
        MatteScores,
        MatteStore,
        decode_record,
        encode_record,
    )
    from sam2_splat_addon.core.prompts import from_json
    from sam2_splat_addon.core.settings import RunSettings

    logits = np.linspace(-1, 1, 64, dtype=np.float16).reshape(8, 8)
    matte = encode_record(
        MatteRecord(1, 2, 100, 80, logits, MatteScores(1.0, 0.9, 0.3), True, "key")
    )
    machine = m.Machine("cpu", "f32", 1, "x", {"a": "1"})
    run = m.RunManifest(
        "f", 9, 9, 2, "b", "s", RunSettings(), machine, from_json(_as_json(_PROMPTS))
    )
    listed = {"footage": "f", "photos": [{"frame": 1, "name": "a", "reason": "b"}]}
    stage = {"folder": "/x", "links": ["frame_000001.jpg"], "sources": ["a.jpg"], "version": 1}
    jsons = (msgspec.to_builtins(run), listed, stage)
    store = MatteStore.open(folder / "store", create=True)
    (store.folder / "state").mkdir(exist_ok=True)
    (store.folder / "objects" / "001").mkdir(exist_ok=True)

    def make(rng: random.Random) -> bytes:
        kind = rng.randrange(4)
        if kind == 3:
            data = mutated(rng, matte[:-4])
            if rng.random() < 0.3:  # a header that promises more than the rest has
                data = data[:9] + data[9:].replace(b"\x08\x08", rng.randbytes(2))
            right = struct.pack("<I", zlib.crc32(data))
            return b"3" + data + (right if rng.random() < 0.8 else rng.randbytes(4))
        if rng.random() < 0.05:
            return b"%d" % kind + _nested(rng)
        data = _as_json(jsons[kind])
        changed = mutated(rng, data) if rng.random() < 0.5 else None
        return b"%d" % kind + (changed or _as_json(other_types(rng, jsons[kind])))

    def read(data: bytes) -> object:
        kind, held = data[:1], data[1:]
        if kind == b"0":
            store.manifest_path.write_bytes(held)
            return m.read_manifest(store.manifest_path), store.objects()
        if kind == b"1":
            (store.folder / DAMAGED_NAME).write_bytes(held)
            (folder / "hashes").write_bytes(held)
            return read_damaged(store.folder, "f"), ContentHashes(folder / "hashes")
        if kind == b"2":
            (folder / "frames.json").write_bytes(held)
            return read_stage(folder)
        store.path(1, 2).write_bytes(held)
        return store.key(1, 2), decode_record(held).logits.sum()

    return Target(make, read)


def _memories_target(folder: Path) -> Target:
    import torch

    from sam2_splat_addon.engine.tracking.conditioning_memory import Conditioned, ConditioningStore
    from sam2_splat_addon.engine.tracking.memory_bank import BankState, FrameMemory
    from sam2_splat_addon.engine.tracking.memory_checkpoints import MemoryCheckpoints
    from sam2_splat_addon.engine.tracking.plan import Step

    torch.manual_seed(1)

    def memory() -> FrameMemory:
        return FrameMemory(torch.rand(1, 2, 2), torch.rand(1, 4))

    step, shelf = Step("forward", 3), MemoryCheckpoints(folder / "shelf")
    shelf.save(step, "k", BankState({1: memory()}, {2: memory()}, None, ()))
    conditioning = ConditioningStore(folder / "conditioning", {3: "k"})
    conditioning.save(3, Conditioned(memory()))
    paths = [next((folder / name).rglob("*.safetensors")) for name in ("shelf", "conditioning")]
    seeds = [path.read_bytes() for path in paths]

    def make(rng: random.Random) -> bytes:
        which = rng.randrange(2)
        return bytes([which]) + mutated(rng, seeds[which])

    def read(data: bytes) -> object:
        path, held = paths[data[0]], data[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held)
        found: object = None
        if data[0]:
            found = conditioning.load(3) if conditioning.has(3) else None
        else:
            found = shelf.load(step, "k")
            shelf.sweep(lambda _: True, {step: "k"})
        if found is not None and held != seeds[data[0]]:
            raise AssertionError("damaged memories were taken")
        return found

    return Target(make, read)


class _Evil:
    """Code in a foreign checkpoint, which must not run."""

    def __init__(self, made: str) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.made, "w")


def _checkpoints_target(folder: Path) -> Target:
    import torch
    from safetensors.torch import save

    from sam2_splat_addon.engine.models.checkpoints import _read_weights

    state, made = {"a.weight": torch.zeros(4, 4), "b": torch.ones(3)}, folder / "code ran"
    seeds: list[tuple[str, bytes]] = [("safetensors", save(state))]
    for content in ({"model": state}, {"model": _Evil(str(made))}):
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            seeds.append(("pt", file.getvalue()))
    seeds.append(("pt", pickle.dumps({"model": _Evil(str(made))})))

    def make(rng: random.Random) -> bytes:
        ending, data = rng.choice(seeds)
        return ending[:1].encode() + (mutated(rng, data) if rng.random() < 0.9 else data)

    def read(data: bytes) -> object:
        path = folder / ("a.safetensors" if data[:1] == b"s" else "a.pt")
        path.write_bytes(data[1:])
        try:
            return len(_read_weights(path))
        finally:
            if made.exists():
                raise AssertionError("a checkpoint's code ran")

    return Target(make, read)


def targets(names: set[str], folder: Path) -> dict[str, Target]:
    """Make the targets with these names, with a scratch folder."""
    made: dict[str, Target] = {}
    if names & {"headers", "pixels", "model input"}:
        made |= _photo_targets(folder)
    for name, build in (
        ("prompts", _prompts_target),
        ("messages", _messages_target),
        ("store", lambda: _store_target(folder)),
        ("memories", lambda: _memories_target(folder)),
        ("checkpoints", lambda: _checkpoints_target(folder)),
    ):
        if name in names:
            made[name] = build()
    return made


def plan(count: int) -> list[tuple[str, int]]:
    """The inputs to try, by target and number."""
    return [
        (name, number)
        for name, share in SHARES.items()
        for number in range(max(1, count * share // sum(SHARES.values())))
    ]


def _serve(seed: int) -> None:
    """In the child: try the inputs named on stdin, and print the begin and the end of each one."""
    wanted = [tuple(json.loads(line)) for line in sys.stdin]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # libraries print warnings about the input
    os.dup2(null, 2)
    with tempfile.TemporaryDirectory() as folder:
        known = targets({name for name, _ in wanted}, Path(folder))
        _bound_memory()
        for name, number in wanted:
            print(json.dumps(["begin", name, number]), file=answers)
            print(
                json.dumps(["end", name, number, _tried(known[name], name, number, seed)]),
                file=answers,
            )


def _bound_memory() -> None:
    if sys.platform == "linux":
        import resource

        status = Path("/proc/self/status").read_text().splitlines()
        size = int(next(line for line in status if line.startswith("VmSize")).split()[1]) << 10
        resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, size + _MEMORY))


def _input(target: Target, name: str, number: int, seed: int) -> bytes:
    return target.make(random.Random(f"{seed} {name} {number}"))


def _tried(target: Target, name: str, number: int, seed: int) -> str:
    """Return what went wrong when one input was read; empty if nothing."""
    from sam2_splat_addon.core.errors import SplatError

    data = _input(target, name, number, seed)
    if hasattr(signal, "alarm"):
        signal.alarm(_SECONDS)  # ends the process
    try:
        target.read(data)
    except SplatError as error:
        return "" if len(str(error)) < 4000 else "an endless sentence"
    except BaseException as error:  # noqa: BLE001 - errors that are not typed are the faults
        return f"{type(error).__name__}: {str(error)[:120]}"
    finally:
        if hasattr(signal, "alarm"):
            signal.alarm(0)
    return ""


def _answers(wanted: list[tuple[str, int]], seed: int) -> Iterator[list[Any]]:
    """Yield what a child prints about these inputs, until it ends."""
    command = [sys.executable, "-m", "tools.attacks.fuzz", str(seed)]
    child = subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("".join(f"{json.dumps(one)}\n" for one in wanted))
    child.stdin.close()
    with child.stdout as lines:
        yield from map(json.loads, lines)
    yield ["over", child.wait()]


@attack("damaged bytes from outside", group="fuzz", count=8000)
def fuzz(count: int, folder: Path, seed: int) -> Outcome:
    """Read ``count`` damaged inputs, shared among the targets."""
    outcome, left, began = Outcome(), plan(count), time.monotonic()
    while left:
        at, running = 0, False
        for answer in _answers(left, seed):
            match answer:
                case ["begin", _, _]:
                    running = True
                case ["end", name, number, fault]:
                    running, at = False, at + 1
                    if fault:
                        outcome.faults.append(f"{name} {number}, seed {seed}: {fault}")
                case ["over", code] if not running and not at:
                    outcome.faults.append(f"the child can't begin: exit {code}")
                    return outcome
                case ["over", code] if running:
                    name, number = left[at]
                    how = f"ended by signal {-code}" if code < 0 else f"exit {code}"
                    outcome.faults.append(f"{name} {number}, seed {seed}: {how}")
                    at += 1
        outcome.tried += at
        left = left[at:]
    outcome.note = f"{outcome.tried / max(time.monotonic() - began, 0.001):.0f} a second"
    return outcome


def main() -> None:
    """Try one input again if three arguments name it; otherwise work as the child of `fuzz`."""
    if len(sys.argv) == 2:
        _serve(int(sys.argv[1]))
        return
    name, number, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        target = targets({name}, Path(folder))[name]
        print(target.read(_input(target, name, number, seed)))


if __name__ == "__main__":
    main()
