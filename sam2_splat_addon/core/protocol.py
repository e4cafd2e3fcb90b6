# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message between client and worker, and how they are framed; core, msgspec.

A message is the four bytes ``S2SP``, a 4-byte little-endian length and that many bytes of
MessagePack, tagged by ``type``. Requests go to the worker's standard input; events come back on its
standard output, which the worker keeps for them alone (anything else it or a library prints goes to
standard error and is forwarded as log lines by the client). When its input ends, the worker ends:
so it never outlives Blender.

After its start the worker sends one :class:`Ready`. Then each request is answered by any number of
:class:`Progress`, :class:`FrameDone` and :class:`Log` and exactly one last event:
:class:`Finished`, :class:`Failed` or :class:`Stopped`. Requests run in the order they came. A
:class:`CancelRequest` has no answer of its own: it stops the requests sent before it that are not
yet answered, and none after.

A :class:`PreviewRequest` is answered by exactly one :class:`PreviewDone`, :class:`PreviewDropped`
or :class:`PreviewFailed` with its ticket. It gives way: a newer preview or any job that arrives
before it is answered drops it at its next step.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from . import errors
from .bake_plan import BakeOptions
from .errors import ProtocolError, SplatError, WorkerError
from .footage.content_hashes import ContentHashes
from .footage.file_stamps import stamp_of
from .footage.scan import Footage
from .mattes.run_manifest import RunSettings
from .mattes.store import Logits, MatteScores
from .prompts import PromptSet
from .settings import QUALITY
from .system.background_task import Report, unwatched
from .system.safe_read import UNREADABLE, reason

PROTOCOL_VERSION = 1
_MAGIC = b"S2SP"
_PREFIX = struct.Struct("<4sI")
_MAX_MESSAGE = 1 << 30


class FootageFiles(msgspec.Struct, frozen=True):
    """The footage as the worker needs it: ordered absolute paths (frame 1 first), size in px.

    Attributes
    ----------
    stamps
        How each photo looked when the fingerprint was made (`core.footage.file_stamps.Stamp` without the
        path); empty where nobody looked.
    """

    folder: str
    paths: tuple[str, ...]
    width: int
    height: int
    fingerprint: str
    stamps: tuple[tuple[int, int, int, int] | None, ...] = ()

    @classmethod
    def of(
        cls,
        footage: Footage,
        hashes: ContentHashes | None = None,
        report: Report = unwatched,
    ) -> FootageFiles:
        """A scanned footage; see `Footage.fingerprint` for the rest, and for what it raises."""
        stamps = tuple(_stamp(path) for path in footage.paths)  # first: what changes then is seen
        return cls(
            str(footage.folder),
            tuple(str(path) for path in footage.paths),
            footage.width,
            footage.height,
            footage.fingerprint(hashes, report),
            stamps,
        )


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        return stamp_of(path)[1:]
    except OSError:
        return None


class ModelChoice(msgspec.Struct, frozen=True):
    """Which model on which device. ``checkpoint`` is empty for the bundled model."""

    name: str
    checkpoint: str = ""
    device: str = "auto"
    threads: int = 0


class EditedMatte(msgspec.Struct, frozen=True):
    """A matte that the user drew: closed outlines in footage pixels, filled by nonzero winding.

    Each outline is a flat tuple x0, y0, x1, y1, ...
    """

    object_id: int
    frame: int
    outlines: tuple[tuple[float, ...], ...]


class FrameRange(msgspec.Struct, frozen=True):
    """Frames ``first`` to ``last``, both included."""

    first: int
    last: int


class PropagateRequest(msgspec.Struct, frozen=True, tag="propagate"):
    """Carry the prompts through the footage, every matte into the store folder.

    Attributes
    ----------
    update
        Bring only these frames up to date, to what a run over all of them would give there, and
        leave the mattes of the others as they are, also where they are older than the prompts.
        None is all.
    edited
        Mattes that the user drew: each is a mask prompt in place of what else its object has on
        that frame.
    strict
        Fail at the first damaged photo; otherwise it is left out and named.
    """

    footage: FootageFiles
    prompts: PromptSet
    store: str
    model: ModelChoice
    settings: RunSettings = RunSettings()
    update: FrameRange | None = None
    edited: tuple[EditedMatte, ...] = ()
    strict: bool = False


class BakeRequest(msgspec.Struct, frozen=True, tag="bake"):
    """Write the images a trainer reads into ``output_folder``, which must not exist yet.

    Attributes
    ----------
    edited
        Mattes that the user drew.
    threads
        Frames worked on at once; 0 goes by the machine's processors and memory.
    device
        Where edges are refined, as in :class:`ModelChoice`; Apple's GPU is not used for it.
    strict
        Fail at the first damaged photo; otherwise it is left out and named.
    """

    footage: FootageFiles
    store: str
    output_folder: str
    options: BakeOptions
    edited: tuple[EditedMatte, ...] = ()
    threads: int = 0
    device: str = "auto"
    strict: bool = False


class ReportRequest(msgspec.Struct, frozen=True, tag="report"):
    """Write the review of a store as a table and as a page with pictures into a folder.

    Attributes
    ----------
    names
        The objects to review, id -> name.
    edited
        Mattes that the user drew: their frames count as corrected.
    fine
        Object id -> the frames that the user has found nothing wrong with.
    """

    footage: FootageFiles
    store: str
    output_folder: str
    names: dict[int, str]
    edited: tuple[EditedMatte, ...] = ()
    fine: dict[int, tuple[int, ...]] = {}


class PreviewRequest(msgspec.Struct, frozen=True, tag="preview"):
    """Segment one frame from its prompts, to look at; nothing is written.

    Attributes
    ----------
    photo
        Absolute path of the frame's file.
    width, height
        The footage's size, px.
    frame
        Which frame the photo is.
    prompts
        In footage pixels. What stands on ``frame`` counts, and in a panorama what stands elsewhere
        for how near its object is seen; with nothing there, the model is loaded and the photo
        encoded, so that the first click is answered at once.
    model
        The same as in the propagation, for the same result.
    image_size, speed, panorama, bitwise
        As in :class:`RunSettings`.
    propagation
        What a propagation would be asked now, with all prompts. With it, objects that it tracks to
        the frame and then corrects are shown so. That takes as long as it takes to track from the
        nearest memories that earlier runs left, at the first click on a frame. Without it, and far
        from any memories, they are shown as their prompts there give them by themselves.
    ticket
        Names the request in its answer; ``client/worker/preview.py`` counts them.
    """

    photo: str
    width: int
    height: int
    frame: int
    prompts: PromptSet
    model: ModelChoice
    image_size: int = 0
    propagation: PropagateRequest | None = None
    ticket: int = 0
    speed: str = QUALITY.name
    panorama: bool = False
    bitwise: bool = False


class CancelRequest(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop what runs and what waits; each ends with Stopped, unless it just came to its end."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The first event: the worker is up.

    Only ``protocol`` has to be there, so that a client can name the version of any other worker.
    ``versions`` has the Python and the packages that the worker found, those it lacks left out.
    """

    protocol: int
    process_id: int = 0
    versions: dict[str, str] = {}


class Log(msgspec.Struct, frozen=True, tag="log"):
    """A line for the user's log.

    ``level`` is "info" or "warning"; "output" is what the worker or a library printed, made into
    events by the client.
    """

    level: str
    text: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Where the request is.

    ``stage`` is one of "loading", "propagating", "baking", "reporting"; ``done`` of ``total``
    steps; ``frame`` and ``object_name`` say what was just done; seconds are 0 while unknown.
    ``peak_memory_mb`` is the worker's own high-water mark.
    """

    stage: str
    done: int
    total: int
    frame: int = 0
    object_name: str = ""
    seconds_per_frame: float = 0.0
    seconds_left: float = 0.0
    peak_memory_mb: float = 0.0


class FrameDone(msgspec.Struct, frozen=True, tag="frame_done"):
    """A matte (object_id > 0) or a baked image (object_id 0) is on disk."""

    frame: int
    object_id: int
    scores: MatteScores | None = None


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The request ended well; ``damaged`` has the file names of photos that were left out."""

    summary: str
    output_folder: str = ""
    frames: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    warnings: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The request ended with an error.

    Attributes
    ----------
    kind
        Name of a class in core/errors.py, or of the unforeseen exception.
    message, fix
        As in :class:`SplatError`.
    trace
        The traceback of an unforeseen exception, for a bug report; else empty.
    """

    kind: str
    message: str
    fix: str = ""
    trace: str = ""

    @classmethod
    def from_error(cls, error: SplatError) -> Failed:
        """Put a typed error on the wire, under the nearest kind that core/errors.py knows."""
        kind = next(base.__name__ for base in type(error).__mro__ if base in _ERROR_KINDS.values())
        return cls(kind, error.message, error.fix)

    def to_error(self) -> SplatError:
        """The typed error again; an unforeseen exception becomes a WorkerError."""
        return _ERROR_KINDS.get(self.kind, WorkerError)(self.message, self.fix)


_ERROR_KINDS: dict[str, type[SplatError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type)
    and issubclass(kind, SplatError)
    and kind.__init__ is SplatError.__init__
}


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The request ended because it was cancelled; what was finished is on disk."""

    frames: int = 0


class PreviewMatte(msgspec.Struct, frozen=True):
    """One object on the frame: what propagation writes for it, bit for bit.

    An object that propagation tracks to the frame may be segmented from its prompts alone instead;
    see :class:`PreviewRequest`.

    ``logits`` are (height, width) little-endian float16, row by row.
    """

    object_id: int
    height: int
    width: int
    logits: bytes
    scores: MatteScores

    @classmethod
    def of(cls, object_id: int, logits: Logits, scores: MatteScores) -> PreviewMatte:
        """From (h, w) float16 logits."""
        data = np.ascontiguousarray(logits, dtype="<f2").tobytes()
        height, width = logits.shape
        return cls(object_id, height, width, data, scores)

    def array(self) -> Logits:
        """The logits, (h, w) float16, read-only; inside is > 0. Raises ProtocolError."""
        if min(self.height, self.width) < 0 or len(self.logits) != 2 * self.height * self.width:
            raise ProtocolError("A preview's matte is not of the size that it says.")
        return np.frombuffer(self.logits, dtype="<f2").reshape(self.height, self.width)


class PreviewDone(msgspec.Struct, frozen=True, tag="preview_done"):
    """The answer to a preview.

    ``mattes`` has every object of the request that is included by a prompt on the frame. An object
    whose prompts there only exclude is among them when the request has its ``propagation``: they
    say nothing without what was tracked to the frame.
    """

    ticket: int
    frame: int
    mattes: tuple[PreviewMatte, ...]
    seconds: float


class PreviewDropped(msgspec.Struct, frozen=True, tag="preview_dropped"):
    """A newer preview or a job took this one's place."""

    ticket: int


class PreviewFailed(msgspec.Struct, frozen=True, tag="preview_failed"):
    """The preview ended with an error."""

    ticket: int
    failure: Failed


JobRequest = PropagateRequest | BakeRequest | ReportRequest
Request = JobRequest | PreviewRequest | CancelRequest
PreviewEvent = PreviewDone | PreviewDropped | PreviewFailed
Event = Ready | Log | Progress | FrameDone | Finished | Failed | Stopped | PreviewEvent

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


def write_message(stream: BinaryIO, message: Request | Event) -> None:
    """Frame and write one message, and flush.

    Raises
    ------
    OSError
        The other side is gone.
    ProtocolError
        The message is over 1 GiB, or holds what can't be written down: a name that is no text.
    """
    try:
        data = msgspec.msgpack.encode(message)
    except UNREADABLE as error:
        raise ProtocolError(
            f"A {type(message).__name__} can't be written: {reason(error)}.",
            "Give files and folders names that are text, and numbers their usual size.",
        ) from error
    if len(data) > _MAX_MESSAGE:
        raise ProtocolError(
            f"A {type(message).__name__} of {len(data) >> 20} MiB is more than the worker reads.",
            "Use fewer or smaller masks as prompts.",
        )
    stream.write(_PREFIX.pack(_MAGIC, len(data)) + data)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """The bytes of the next message (blocking), None at the end; raises ProtocolError."""
    prefix = stream.read(_PREFIX.size)
    if not prefix:
        return None
    if not prefix.startswith(_MAGIC[: len(prefix)]):
        raise ProtocolError(f"The stream holds something that is no message: {prefix!r}.")
    if len(prefix) < _PREFIX.size:
        raise ProtocolError("The stream ended within a message.")
    _, length = _PREFIX.unpack(prefix)
    if length > _MAX_MESSAGE:
        raise ProtocolError(f"A message claims to have {length} bytes.")
    data = stream.read(length)
    if len(data) < length:
        raise ProtocolError("The stream ended within a message.")
    return data


def read_request(stream: BinaryIO) -> Request | None:
    """The next request (blocking), None at the end of the stream; raises ProtocolError."""
    data = read_frame(stream)
    if data is None:
        return None
    try:
        return _requests.decode(data)
    except UNREADABLE as error:
        raise ProtocolError(f"A request can't be read: {reason(error)}.") from error


def read_event(stream: BinaryIO) -> Event | None:
    """The next event (blocking), None at the end of the stream; raises ProtocolError."""
    data = read_frame(stream)
    return None if data is None else decode_event(data)


def decode_event(data: bytes) -> Event:
    """The event in the bytes of a message; raises ProtocolError."""
    try:
        return _events.decode(data)
    except UNREADABLE as error:
        raise ProtocolError(f"An event can't be read: {reason(error)}.") from error
