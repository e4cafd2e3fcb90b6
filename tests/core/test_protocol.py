# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages arrive unchanged, and other bytes are a typed error."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sam2_splat_addon.core import errors, protocol
from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.errors import ProtocolError, SplatError, WorkerError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.mattes.store import MatteScores
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
)
from sam2_splat_addon.core.protocol import (
    PROTOCOL_VERSION,
    AgreeRequest,
    BakeRequest,
    CancelRequest,
    CopyRequest,
    EditedMatte,
    Event,
    Failed,
    FindCamerasRequest,
    FindSubjectRequest,
    Finished,
    FootageFiles,
    FoundMask,
    FrameDone,
    Log,
    LookRequest,
    MasksRequest,
    ModelChoice,
    PreviewDone,
    PreviewDropped,
    PreviewFailed,
    PreviewMatte,
    PreviewRequest,
    Progress,
    PropagateRequest,
    Ready,
    ReportRequest,
    Request,
    Stopped,
    VideoPhotosRequest,
    VideoScoresRequest,
    read_event,
    read_request,
    write_message,
)
from sam2_splat_addon.core.settings import RunSettings
from tests.captures import make_photos

FOOTAGE = FootageFiles("/photos/Stühle", ("/photos/Stühle/IMG_1.JPG",), 1200, 1800, "abc")
FRAME = FramePrompts(
    1, (PointPrompt(1.5, 2.25, include=False),), BoxPrompt(1, 2, 3, 4), MaskPrompt(2, 2, (1, 3))
)
PROMPTS = PromptSet((ObjectPrompts(1, "chair", (FRAME,)),), 1200, 1800)
REQUESTS: list[Request] = [
    AgreeRequest(
        PropagateRequest(FOOTAGE, PROMPTS, "/store", ModelChoice("bundled")), "/capture/sparse/0", 3
    ),
    FindCamerasRequest(FOOTAGE, "/store", threads=2),
    FindSubjectRequest(FOOTAGE, "chair", "/store", ModelChoice("bundled"), cameras="/capture/sparse/0"),
    LookRequest(("/photos/Stühle/a.cr3",), "/cache/raw"),
    VideoScoresRequest("/films/Rundgang.mp4", "/cache/videos/ab.scores"),
    VideoPhotosRequest("/films/a.mp4", "/cache/videos/ab.scores", "ab" * 32, "/films", 200, "png"),
    CopyRequest(
        ("/photos/Stühle/a.exr",), ("/cache/frame_000001.jpg",), ((1200, 1800),), (1800, 1200)
    ),
    PropagateRequest(
        FOOTAGE, PROMPTS, "/store", ModelChoice("bundled", "", "cpu", 2),
        RunSettings(3, 9, "forward", speed="balanced"),
    ),
    BakeRequest(
        FOOTAGE, "/store", "/out", BakeOptions(alpha="soft", grow_px=-1.5, objects=(1, 2)),
        (EditedMatte(1, 3, ((0.0, 0.0, 5.0, 0.0, 5.0, 5.0),)),),
    ),
    ReportRequest(FOOTAGE, "/store", "/report", {1: "chair", 2: "lamp"}, (EditedMatte(1, 3, ()),)),
    PreviewRequest(
        "/photos/IMG_1.JPG", 1200, 1800, 1, PROMPTS, ModelChoice("bundled"), None, 7,
        RunSettings(speed="fast"),
    ),
    MasksRequest((FoundMask("/photos/masks/a.png", 3, "left/a.jpg", 1200, 1800, 6),), invert=True),
    CancelRequest(),
]  # fmt: skip
EVENTS: list[Event] = [
    Ready(PROTOCOL_VERSION, 4711, {"torch": "2.13.0"}),
    Log("warning", "zwölf\nlines"),
    Progress("propagating", 3, 48, 3, "chair", 0.42, 18.9, 812.5),
    FrameDone(3, 1, MatteScores(5.0, 0.9, 0.3)),
    FrameDone(3, 0),
    Finished("48 frames", "/out", 48, 20.5, 900.0, ("frame 3 is empty",)),
    Finished("Masks agree.", prompts=PROMPTS),
    Finished("", masks={3: MaskPrompt(2, 2, (1, 3))}),
    Failed("BakeError", "The disk is full.", "Free some.", "Traceback"),
    Stopped(12),
    PreviewDone(7, 3, (PreviewMatte(1, 1, 2, b"\0\x3c\0\xbc", MatteScores(5.0, 0.9, 0.5)),), 0.25),
    PreviewDropped(8),
    PreviewFailed(9, Failed("PromptError", "The click is outside the frame.")),
]


def wire(*messages: Request | Event) -> io.BytesIO:
    stream = io.BytesIO()
    for message in messages:
        write_message(stream, message)
    stream.seek(0)
    return stream


def test_every_request_comes_over_as_it_was_in_order() -> None:
    stream = wire(*REQUESTS)
    assert [read_request(stream) for _ in REQUESTS] == REQUESTS
    assert read_request(stream) is None


def test_every_event_comes_over_as_it_was_in_order() -> None:
    stream = wire(*EVENTS)
    assert [read_event(stream) for _ in EVENTS] == EVENTS
    assert read_event(stream) is None


def test_these_tests_have_every_message_there_is() -> None:
    assert {type(m) for m in REQUESTS} == set(Request.__args__)
    assert {type(m) for m in EVENTS} == set(Event.__args__)


def test_a_preview_has_the_logits_bit_for_bit() -> None:
    logits = np.array([[1.5, -2.0, 0.1], [np.float16(6e-8), 65504, -0.0]], dtype=np.float16)
    matte = PreviewMatte.of(4, logits, MatteScores(1.0, 0.5, 0.2))
    (event,) = [read_event(wire(PreviewDone(1, 2, (matte,), 0.0)))]
    assert isinstance(event, PreviewDone)
    assert event.mattes[0].array().tobytes() == logits.tobytes()
    assert event.mattes[0].array().shape == (2, 3)


def test_a_preview_of_other_numbers_is_made_float16() -> None:
    matte = PreviewMatte.of(4, np.array([[1.5, -2.0]], np.float32), MatteScores(1.0, 0.5, 0.2))
    assert matte.array().tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize(
    ("height", "width", "size"), [(1, 2, 2), (1, 2, 6), (-1, -1, 2), (2, -1, 0), (1, 0, 2)]
)
def test_a_preview_of_another_size_than_it_says_is_refused(
    height: int, width: int, size: int
) -> None:
    matte = PreviewMatte(1, height, width, bytes(size), MatteScores(1.0, 0.5, 0.2))
    with pytest.raises(ProtocolError, match="size that it states") as caught:
        matte.array()
    assert caught.value.fix
    assert PreviewMatte(1, 0, 0, b"", matte.scores).array().shape == (0, 0)


def test_a_big_message_comes_over() -> None:
    runs = tuple(range(300_000))
    mask = MaskPrompt(1, sum(runs), runs)
    prompts = PromptSet((ObjectPrompts(1, "a", (FramePrompts(1, mask=mask),)),))
    request = PropagateRequest(FOOTAGE, prompts, "/store", ModelChoice("bundled"))
    assert read_request(wire(request)) == request


def test_a_stream_that_ends_within_a_message_is_an_error_at_any_byte() -> None:
    data = wire(EVENTS[3]).getvalue()
    for length in range(1, len(data)):
        with pytest.raises(ProtocolError, match="was cut off"):
            read_event(io.BytesIO(data[:length]))


@pytest.mark.parametrize(
    "garbage",
    [b"Traceback (most recent call last):\n", b"\n" * 8, b"\0" * 8, b"S2S\x01abcd", b"h"],
)
def test_what_is_no_message_is_quoted(garbage: bytes) -> None:
    with pytest.raises(ProtocolError, match="is not a message") as caught:
        read_event(io.BytesIO(garbage))
    assert repr(garbage[:8]) in caught.value.message


def test_an_absurd_length_is_refused_before_memory_is_asked_for() -> None:
    with pytest.raises(ProtocolError, match="claims"):
        read_event(io.BytesIO(b"S2SP" + struct.pack("<I", 0xFFFFFFFF)))


@pytest.mark.parametrize("body", [b"", b"\xc1", msgspec.msgpack.encode({"type": "unheard of"})])
def test_a_message_of_another_kind_is_refused(body: bytes) -> None:
    framed = b"S2SP" + struct.pack("<I", len(body)) + body
    with pytest.raises(ProtocolError, match="request can't be read"):
        read_request(io.BytesIO(framed))
    with pytest.raises(ProtocolError, match="event can't be read"):
        read_event(io.BytesIO(framed))


def test_a_request_is_no_event() -> None:
    with pytest.raises(ProtocolError):
        read_event(wire(CancelRequest()))


def test_the_first_word_of_another_version_is_still_understood() -> None:
    body = msgspec.msgpack.encode({"type": "ready", "protocol": 99, "pid": "new field"})
    event = read_event(io.BytesIO(b"S2SP" + struct.pack("<I", len(body)) + body))
    assert isinstance(event, Ready)
    assert event.protocol == 99


TYPED = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SplatError)
]


@pytest.mark.parametrize("kind", TYPED, ids=lambda kind: kind.__name__)
def test_every_typed_error_comes_over_as_itself(kind: type[SplatError]) -> None:
    sent = Failed.from_error(kind("It is so.", "Do this."))
    came = read_event(wire(sent))
    assert isinstance(came, Failed)
    error = came.to_error()
    assert type(error) is kind
    assert (error.message, error.fix) == ("It is so.", "Do this.")


def test_a_special_error_comes_over_as_the_kind_it_is_of() -> None:
    class LensError(errors.FootageError):
        def __init__(self, lens: str) -> None:
            super().__init__(f"{lens} is dirty.", "Clean it.")

    error = Failed.from_error(LensError("50 mm")).to_error()
    assert type(error) is errors.FootageError
    assert str(error) == "50 mm is dirty. Clean it."


def test_an_unforeseen_error_comes_over_as_a_worker_error() -> None:
    assert type(Failed("ZeroDivisionError", "by zero").to_error()) is WorkerError


@pytest.mark.parametrize(
    "message",
    [
        BakeRequest(FootageFiles("/x", ("/x/\udcff.jpg",), 1, 1, "f"), "/x", "/out", BakeOptions()),
        Log("info", "\udcff"),
        Failed("FootageError", "\ud800 can't be read"),
        FrameDone(10**40, 1),
    ],
)
def test_what_can_not_be_written_down_is_a_protocol_error(message: Event | Request) -> None:
    stream = io.BytesIO()
    with pytest.raises(ProtocolError, match=f"A {type(message).__name__} can't be sent"):
        write_message(stream, message)
    assert stream.getvalue() == b""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"balanced", b"balancet"),
        (b"guarded", b"gaurded"),
        (b"soft", b"sotf"),
        (b"alpha", b"alhpa"),
    ],
)
def test_a_misspelt_setting_in_a_request_is_refused(right: bytes, wrong: bytes) -> None:
    settings = RunSettings(speed="balanced", memory="guarded")
    for message in (
        PropagateRequest(FOOTAGE, PROMPTS, "/store", ModelChoice("bundled"), settings),
        PreviewRequest("/a.jpg", 9, 9, 1, PROMPTS, ModelChoice("bundled"), settings=settings),
        BakeRequest(FOOTAGE, "/store", "/out", BakeOptions(alpha="soft")),
    ):
        stream = io.BytesIO()
        write_message(stream, message)
        data = stream.getvalue()
        if right in data:
            with pytest.raises(ProtocolError, match="can't be read"):
                read_request(io.BytesIO(data.replace(right, wrong)))
        else:
            assert isinstance(message, BakeRequest) != (right in (b"soft", b"alpha"))


def test_photos_are_told_with_what_they_are_now(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_photos(tmp_path / "photos" / name, 2, seed=ord(name))
    footage = scan(tmp_path / "photos", with_subfolders=True)
    files = FootageFiles.of(footage)
    assert files.paths == tuple(str(path) for path in footage.paths)
    assert [files.name_of(frame) for frame in (1, 4)] == ["a/IMG_2041.JPG", "b/IMG_2043.JPG"]
    assert files.cuts == (3,)  # there the second folder begins
    assert (files.width, files.height) == (120, 180)
    assert files.sizes == footage.sizes
    assert files.fingerprint == footage.fingerprint()
    again = FootageFiles.of(footage)
    assert again.stamps == files.stamps and None not in files.stamps
    footage.paths[2].write_bytes(footage.paths[1].read_bytes() + b" ")
    changed = FootageFiles.of(footage)
    assert [at for at in range(4) if changed.stamps[at] != files.stamps[at]] == [2]


def test_a_message_reaches_the_other_side_at_once() -> None:
    read, written = os.pipe()
    with os.fdopen(written, "wb") as stream, os.fdopen(read, "rb") as other:
        write_message(stream, CancelRequest())
        assert read_request(other) == CancelRequest()


def test_a_message_up_to_the_bound_comes_over_and_none_beyond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log("info", "x" * 500)
    size = len(msgspec.msgpack.encode(log))
    monkeypatch.setattr(protocol, "_MAX_MESSAGE", size)
    stream = io.BytesIO()
    write_message(stream, log)
    stream.seek(0)
    assert read_event(stream) == log
    monkeypatch.setattr(protocol, "_MAX_MESSAGE", size - 1)
    with pytest.raises(ProtocolError, match="too large"):
        write_message(io.BytesIO(), log)
    stream.seek(0)
    with pytest.raises(ProtocolError, match="impossible length"):
        read_event(stream)
