# SPDX-License-Identifier: GPL-3.0-or-later
"""The real worker with the real engine, used over its own pipes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.footage.scan import Footage, scan
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import (
    PROTOCOL_VERSION,
    BakeRequest,
    CancelRequest,
    Event,
    Failed,
    Finished,
    FootageFiles,
    FrameDone,
    Log,
    ModelChoice,
    PreviewDone,
    PreviewDropped,
    PreviewFailed,
    PreviewRequest,
    Progress,
    PropagateRequest,
    Ready,
    Request,
    Stopped,
    read_event,
    write_message,
)
from sam2_splat_addon.engine.models.architectures import build

ADDON = Path(__file__).resolve().parents[3] / "sam2_splat_addon"
IMAGE_SIZE = 512  # the bundled model's own
COUNT, WIDTH, HEIGHT = 6, 96, 144


class Pipes:
    """A worker process and its two pipes."""

    def __init__(self) -> None:
        script = ADDON / "engine" / "worker" / "entry.py"
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(script), "--addon", str(ADDON)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def send(self, request: Request) -> None:
        assert self.process.stdin is not None
        write_message(self.process.stdin, request)  # type: ignore[arg-type]

    def event(self) -> Event:
        assert self.process.stdout is not None
        event = read_event(self.process.stdout)  # type: ignore[arg-type]
        assert event is not None, "the worker ended"
        return event

    def answered(self, request: Request, cancel_after: int = 0) -> list[Event]:
        """Send a request and read its events to the last one. Cancels after the given number of frames."""
        self.send(request)
        events: list[Event] = []
        while not events or not isinstance(events[-1], Finished | Failed | Stopped):
            events.append(self.event())
            if cancel_after and len(frames(events)) == cancel_after:
                self.send(CancelRequest())
                cancel_after = 0
        return events

    def close(self) -> int:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return self.process.wait(10)


def frames(events: list[Event]) -> list[int]:
    return [event.frame for event in events if isinstance(event, FrameDone)]


@pytest.fixture(scope="module")
def shared_worker() -> Iterator[Pipes]:
    """One worker for all tests here, as one Blender uses one for all its jobs."""
    pipes = Pipes()
    ready = pipes.event()
    assert isinstance(ready, Ready)
    assert ready.protocol == PROTOCOL_VERSION
    assert ready.process_id == pipes.process.pid
    yield pipes
    assert pipes.close() == 0, "the worker ends well when its requests end"


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(4)
    ground = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for index in range(COUNT):
        photo = ground.copy()
        photo[40:100, 20 + 4 * index : 60 + 4 * index] = (220, 40, 30)
        Image.fromarray(photo).save(folder / f"IMG_{index + 7}.png")
    return scan(folder)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled architecture, which is fast, with random weights."""
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("models") / "random.pt"
    torch.save({"model": build("bundled").state_dict()}, path)
    return path


Ask = Callable[..., PropagateRequest]


@pytest.fixture
def ask(footage: Footage, checkpoint: Path, tmp_path: Path) -> Ask:
    def make(store: str = "store", *, at: tuple[float, float] = (40.0, 70.0)) -> PropagateRequest:
        click = (FramePrompts(3, (PointPrompt(*at),)),)
        return PropagateRequest(
            FootageFiles.of(footage),
            PromptSet((ObjectPrompts(1, "box", click),), WIDTH, HEIGHT),
            str(tmp_path / store),
            ModelChoice("bundled", str(checkpoint), "cpu", 1),
        )

    return make


def contents(request: PropagateRequest) -> dict[str, bytes]:
    folder = Path(request.store)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.matte"))}


def test_propagation_tells_every_frame_and_ends_with_all_mattes_on_disk(
    shared_worker: Pipes, ask: Ask
) -> None:
    request = ask()
    events = shared_worker.answered(request)
    assert isinstance(events[-1], Finished), events[-1]
    assert events[-1].summary
    assert events[-1].peak_memory_mb > 0
    assert sorted(frames(events)) == list(range(1, COUNT + 1))
    store = MatteStore.open(Path(request.store))
    assert store.frames(1) == list(range(1, COUNT + 1))
    assert store.read(1, 3).prompted
    assert store.read(1, 1).logits.shape == (IMAGE_SIZE // 2, IMAGE_SIZE // 2)
    told = [event for event in events if isinstance(event, Progress)]
    assert told[0].stage == "loading"
    working = [event for event in told if event.stage == "propagating"]
    assert working[-1].done == working[-1].total
    assert {event.object_name for event in working if event.frame} == {"box"}


def test_the_same_request_again_changes_no_byte(shared_worker: Pipes, ask: Ask) -> None:
    first, second = ask("first"), ask("second")
    shared_worker.answered(first)
    shared_worker.answered(second)
    before = contents(first)
    assert before == contents(second)
    assert isinstance(shared_worker.answered(first)[-1], Finished)
    assert contents(first) == before


def test_a_cancelled_run_keeps_its_frames_and_the_next_ends_as_if_it_had_never_stopped(
    shared_worker: Pipes, ask: Ask
) -> None:
    whole, broken = ask("whole"), ask("broken")
    shared_worker.answered(whole)
    events = shared_worker.answered(broken, cancel_after=2)
    assert isinstance(events[-1], Stopped)
    told = set(frames(events))
    assert len(told) == events[-1].frames
    assert 2 <= len(told) < COUNT
    assert told <= set(MatteStore.open(Path(broken.store)).frames(1))
    assert isinstance(shared_worker.answered(broken)[-1], Finished)
    assert contents(broken) == contents(whole)


def preview_of(request: PropagateRequest, frame: int, ticket: int) -> PreviewRequest:
    """The preview of one frame of a propagation."""
    footage = request.footage
    return PreviewRequest(
        footage.paths[frame - 1],
        footage.width,
        footage.height,
        frame,
        request.prompts,
        request.model,
        ticket=ticket,
    )


def test_a_preview_shows_what_the_propagation_after_it_writes(
    shared_worker: Pipes, ask: Ask
) -> None:
    request = ask()
    shared_worker.send(preview_of(request, 3, 11))
    first = shared_worker.event()
    assert isinstance(first, PreviewDone), first
    assert first.more  # of the whole photo, before the closer look
    answer = shared_worker.event()
    assert isinstance(answer, PreviewDone), answer
    assert (answer.ticket, answer.frame, answer.more) == (11, 3, False)
    (matte,) = answer.mattes
    shared_worker.answered(request)
    record = MatteStore.open(Path(request.store)).read(1, 3)
    assert matte.array().tobytes() == record.logits.tobytes()
    assert matte.scores == record.scores


def test_a_preview_that_waits_gives_way_to_what_comes_after_it(
    shared_worker: Pipes, ask: Ask
) -> None:
    first, second = ask("first"), ask("second", at=(20.0, 30.0))
    shared_worker.send(first)
    for ticket in (1, 2):
        shared_worker.send(preview_of(first, 3, ticket))
    told = shared_worker.answered(second)  # reads until the first job ends
    assert isinstance(told[-1], Finished)
    assert [shared_worker.event() for _ in range(2)] == [PreviewDropped(1), PreviewDropped(2)]
    while not isinstance(event := shared_worker.event(), Finished):
        assert isinstance(event, Progress | FrameDone | Log)


def test_a_preview_of_a_photo_that_is_gone_is_a_typed_answer(
    shared_worker: Pipes, ask: Ask, tmp_path: Path
) -> None:
    from msgspec.structs import replace

    shared_worker.send(replace(preview_of(ask(), 3, 5), photo=str(tmp_path / "gone.png")))
    answer = shared_worker.event()
    assert isinstance(answer, PreviewFailed)
    assert (answer.ticket, answer.failure.kind) == (5, "FootageError")
    assert answer.failure.fix


def test_a_checkpoint_that_is_not_there_is_a_typed_answer(
    shared_worker: Pipes, ask: Ask, tmp_path: Path
) -> None:
    from msgspec.structs import replace

    request = ask()
    missing = replace(request.model, checkpoint=str(tmp_path / "nowhere.pt"))
    events = shared_worker.answered(replace(request, model=missing))
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "CheckpointError"
    assert events[-1].fix
    assert not events[-1].trace


def test_a_click_outside_the_photo_is_a_typed_answer(shared_worker: Pipes, ask: Ask) -> None:
    events = shared_worker.answered(ask(at=(500.0, 5.0)))
    assert isinstance(events[-1], Failed)
    assert events[-1].kind == "PromptError"


def test_a_bake_follows_on_the_same_worker(
    shared_worker: Pipes, ask: Ask, footage: Footage, tmp_path: Path
) -> None:
    request = ask()
    shared_worker.answered(request)
    output = tmp_path / "postshot_v001"
    bake = BakeRequest(FootageFiles.of(footage), request.store, str(output), BakeOptions())
    events = shared_worker.answered(bake)
    assert isinstance(events[-1], Finished), events[-1]
    assert events[-1].output_folder == str(output)
    assert sorted(frames(events)) == list(range(1, COUNT + 1))
    assert all(e.object_id == 0 for e in events if isinstance(e, FrameDone))
    for frame in footage.frames:
        with Image.open(output / f"{frame.path.stem}.png") as image:
            assert (image.mode, image.size) == ("RGBA", (WIDTH, HEIGHT))


def test_a_bake_without_mattes_is_a_typed_answer(
    shared_worker: Pipes, footage: Footage, tmp_path: Path
) -> None:
    bake = BakeRequest(
        FootageFiles.of(footage), str(tmp_path / "nothing"), str(tmp_path / "out"), BakeOptions()
    )
    events = shared_worker.answered(bake)
    assert isinstance(events[-1], Failed)
    assert events[-1].kind in ("StoreError", "BakeError")
    assert not (tmp_path / "out").exists()
