# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message between client and worker, and how a stream holds them.

A message is the four bytes ``S2SP``, a 4-byte little-endian length, and that many bytes of
MessagePack, tagged by ``type``. Requests go to the standard input of the worker. Events come back on
its standard output, and nothing else does. What the worker or a library prints goes to standard
error, and the client turns it into log lines. When its input ends, the worker ends: so it never
outlives Blender.

After its start the worker sends one :class:`Ready`. Then it answers each request with any number of
:class:`Progress`, :class:`FrameDone` and :class:`Log`, and exactly one last event:
:class:`Finished`, :class:`Failed` or :class:`Stopped`. Requests run in the order they came. A
:class:`CancelRequest` has no answer. It stops all requests sent before it that are not answered yet,
and none after it.

The worker answers a :class:`PreviewRequest` with exactly one last :class:`PreviewDone`,
:class:`PreviewDropped` or :class:`PreviewFailed` with the same ticket. If a newer preview or a job
arrives first, the preview is dropped at its next step.
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
from .footage.scan import Footage, cuts_between, name_below
from .footage.sizes import PhotoSizes, Size
from .geometry.orientation import AS_STORED
from .mattes.store import Logits, MatteScores
from .prompts import MaskPrompt, PromptSet
from .settings import RawSource, RunSettings, VideoFormat
from .system.background_task import Report, unwatched
from .system.safe_read import UNREADABLE, reason

PROTOCOL_VERSION = 1
_MAGIC = b"S2SP"
_PREFIX = struct.Struct("<4sI")
_MAX_MESSAGE = 1 << 30
_AGAIN = "Try again; if this happens again, restart Blender."


class FootageFiles(msgspec.Struct, frozen=True):
    """The footage for the worker: absolute paths in order (frame 1 first), and their sizes in px.

    Attributes
    ----------
    width, height, odd_sizes, orientation, turns
        As `core.footage.sizes.PhotoSizes` has them.
    stamps
        The stamp of each photo when the fingerprint was made (`core.footage.file_stamps.Stamp` without
        the path); empty if unknown.
    cuts
        The first frame of each further folder: there another pass or camera begins. Paths need not tell
        it, since they may be links.
    """

    folder: str
    paths: tuple[str, ...]
    width: int
    height: int
    fingerprint: str
    stamps: tuple[tuple[int, int, int, int] | None, ...] = ()
    odd_sizes: dict[int, Size] = {}
    orientation: int = AS_STORED
    turns: dict[int, int] = {}
    cuts: tuple[int, ...] = ()

    @property
    def sizes(self) -> PhotoSizes:
        """The size of each photo, and how it is turned upright."""
        return PhotoSizes(self.width, self.height, self.odd_sizes, self.orientation, self.turns)

    def name_of(self, frame: int) -> str:
        """Return the name of a photo: its path below the folder, with "/"."""
        return name_below(Path(self.folder), Path(self.paths[frame - 1]))

    @classmethod
    def of(
        cls,
        footage: Footage,
        hashes: ContentHashes | None = None,
        report: Report = unwatched,
    ) -> FootageFiles:
        """Make it from a scanned footage; arguments and errors as in `Footage.fingerprint`."""
        stamps = tuple(_stamp(path) for path in footage.paths)  # first: later changes are then seen
        return cls(
            str(footage.folder),
            tuple(str(path) for path in footage.paths),
            footage.width,
            footage.height,
            footage.fingerprint(hashes, report),
            stamps,
            footage.sizes.odd,
            footage.sizes.orientation,
            footage.sizes.turns,
            cuts_between([at.name for at in footage.frames]),
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
    """A matte that the user drew: closed outlines in footage pixels, filled where winding is not 0.

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
    """Propagate the prompts through the footage, and write every matte into the store folder.

    Attributes
    ----------
    update
        Bring only these frames up to date. They get what a run over all frames would give there. The
        mattes of other frames stay, even if they are older than the prompts. None is all frames.
    edited
        Mattes that the user drew. Each one is a mask prompt that replaces all prompts of its object on
        that frame.
    strict
        Fail at the first damaged photo. Otherwise damaged photos are left out and named.
    carried
        Clicks that the worker has carried to other photos (`engine/jobs/carry_clicks.py`). They count where
        their subject has no prompts.
    cameras
        File or folder of the cameras, for clicks that are carried. Empty looks for them around the photos.
    known
        Folders of mattes of the same photos, which other runs have made. What has the wanted key is taken.
    """

    footage: FootageFiles
    prompts: PromptSet
    store: str
    model: ModelChoice
    settings: RunSettings = RunSettings()
    update: FrameRange | None = None
    edited: tuple[EditedMatte, ...] = ()
    strict: bool = False
    carried: PromptSet = PromptSet(())
    cameras: str = ""
    known: tuple[str, ...] = ()


class BakeRequest(msgspec.Struct, frozen=True, tag="bake"):
    """Write the images for a trainer into ``output_folder``, which must not exist yet.

    Attributes
    ----------
    edited
        Mattes that the user drew.
    threads
        Number of frames baked at the same time; 0 chooses by processors and memory.
    device
        Where edges are refined, as in :class:`ModelChoice`. Apple's GPU is not used for it.
    strict
        Fail at the first damaged photo. Otherwise damaged photos are left out and named.
    cameras
        The file or folder of the photos' cameras. Empty looks beside and above the photos.
    raw_photos
        As in :class:`RunSettings`.
    part
        Bake only these frames, and lay their images ready in the store. The bake itself takes them. None
        bakes.
    once
        Do nothing if the same bake of the same mattes is there already, beside ``output_folder``.
    """

    footage: FootageFiles
    store: str
    output_folder: str
    options: BakeOptions
    edited: tuple[EditedMatte, ...] = ()
    threads: int = 0
    device: str = "auto"
    strict: bool = False
    cameras: str = ""
    raw_photos: RawSource = "developed"
    part: FrameRange | None = None
    once: bool = False


class ReportRequest(msgspec.Struct, frozen=True, tag="report"):
    """Write the review of a store as a table and as a page with pictures into a folder.

    Attributes
    ----------
    names
        The objects to review, id -> name.
    edited
        Mattes that the user drew: their frames count as corrected.
    fine
        Object id -> the frames where the user found nothing wrong.
    """

    footage: FootageFiles
    store: str
    output_folder: str
    names: dict[int, str]
    edited: tuple[EditedMatte, ...] = ()
    fine: dict[int, tuple[int, ...]] = {}


AGREE_ROUNDS = 3
"""The rounds that a user's Agree has at most. It ends earlier if nothing gets better."""


class AgreeRequest(msgspec.Struct, frozen=True, tag="agree"):
    """Compare the masks of all photos in 3D, and write into the store what each one's others say of it.

    Attributes
    ----------
    propagation
        The request of a propagation at this moment, with all prompts.
    cameras
        File or folder of the cameras. Empty looks for them around the photos.
    rounds
        How many times photos that disagree get prompts from the others, and all is tracked again. It ends
        earlier if nothing gets better. 0 only compares the masks that are there.
    """

    propagation: PropagateRequest
    cameras: str = ""
    rounds: int = 0


class FindCamerasRequest(msgspec.Struct, frozen=True, tag="find_cameras"):
    """Find the cameras of the photos with COLMAP, and write them beside the store folder.

    Attributes
    ----------
    edited
        Mattes that the user drew. Masks count only where the subject turns before a ground that stands
        still.
    threads
        Number of threads; 0 is all processors.
    raw_photos
        As in :class:`RunSettings`.
    alone
        Whether the worker that gets this is a process for this alone. COLMAP ends its process on some
        errors, and brings libraries that must not meet those of torch.
    """

    footage: FootageFiles
    store: str
    edited: tuple[EditedMatte, ...] = ()
    threads: int = 0
    raw_photos: RawSource = "developed"
    alone: bool = False


class FindSubjectRequest(msgspec.Struct, frozen=True, tag="find_subject"):
    """Propose clicks on the thing that all cameras look at. Nothing is written.

    Attributes
    ----------
    name
        Of the subject that the proposed prompts get, with the id 1.
    settings
        Only those count that declare that a preview shows them; see :class:`Setting`.
    cameras
        File or folder of the cameras. Empty looks for them around the photos, and beside the store folder.
    """

    footage: FootageFiles
    name: str
    store: str
    model: ModelChoice
    settings: RunSettings = RunSettings()
    cameras: str = ""


class CopyRequest(msgspec.Struct, frozen=True, tag="copy"):
    """Write a JPEG of each photo, for Blender, which can't show these photos itself, or not upright.

    ``photos[i]`` is copied to ``copies[i]``. A damaged photo gets a black copy, since a sequence may have
    no gap, and is named.

    Attributes
    ----------
    sizes
        The stored size of each photo, px.
    frame
        Width and height of all copies, px. An upright photo of another size is made as large as fits,
        with black bars beside it.
    raw_photos
        As in :class:`RunSettings`.
    """

    photos: tuple[str, ...]
    copies: tuple[str, ...]
    sizes: tuple[Size, ...]
    frame: Size
    raw_photos: RawSource = "developed"


class VideoScoresRequest(msgspec.Struct, frozen=True, tag="video_scores"):
    """Measure every frame of a video, and write the result into the file ``scores``."""

    video: str
    scores: str


class VideoPhotosRequest(msgspec.Struct, frozen=True, tag="video_photos"):
    """Write photos of a video into a new folder.

    Attributes
    ----------
    scores
        The file that a :class:`VideoScoresRequest` has written.
    digest
        SHA-256 of the video, hex.
    parent
        Where the new folder goes.
    wanted
        The most photos.
    """

    video: str
    scores: str
    digest: str
    parent: str
    wanted: int
    kind: VideoFormat


class LookRequest(msgspec.Struct, frozen=True, tag="look"):
    """Look at camera RAW photos, and write what LibRaw says about them into a file of the cache.

    See :class:`core.footage.raw_photos.RawPhotos`.
    """

    photos: tuple[str, ...]
    file: str


class FoundMask(msgspec.Struct, frozen=True):
    """A mask file beside a photo: its path, the frame, and the photo's name, stored size and turn."""

    mask: str
    frame: int
    photo: str
    width: int
    height: int
    orientation: int = 1


class MasksRequest(msgspec.Struct, frozen=True, tag="masks"):
    """Read masks that lie beside the photos. White is the subject, or black with ``invert``."""

    masks: tuple[FoundMask, ...]
    invert: bool = False


class PreviewRequest(msgspec.Struct, frozen=True, tag="preview"):
    """Segment one frame from its prompts, to show it. Nothing is written.

    Attributes
    ----------
    photo
        Absolute path of the photo. Empty only loads the model.
    width, height, odd_sizes, orientation, turns
        Sizes and turns of the photos, as in `core.footage.sizes.PhotoSizes`.
    frame
        Frame number of the photo.
    prompts
        In footage pixels. Only prompts on ``frame`` count. (In a panorama the others decide how close
        the view of their object is.) Without prompts there, the model is loaded and the photo encoded,
        so that the first click is answered at once.
    model
        The same model as in the propagation gives the same result.
    settings
        Only those count that declare that a preview shows them; see :class:`Setting`.
    propagation
        The request of a propagation at this moment, with all prompts. With it, an object that is
        tracked to the frame and corrected there is shown exactly so. The first click on a frame then
        takes as long as tracking from the nearest memories of earlier runs. Without it, or far from any
        memories, the object is shown from its prompts on this frame alone.
    ticket
        Number of the request, repeated in its answer; ``client/worker/preview.py`` counts them.
    """

    photo: str
    width: int
    height: int
    frame: int
    prompts: PromptSet
    model: ModelChoice
    propagation: PropagateRequest | None = None
    ticket: int = 0
    settings: RunSettings = RunSettings()
    odd_sizes: dict[int, Size] = {}
    orientation: int = AS_STORED
    turns: dict[int, int] = {}

    @property
    def sizes(self) -> PhotoSizes:
        """The size of each photo, and how it is turned upright."""
        return PhotoSizes(self.width, self.height, self.odd_sizes, self.orientation, self.turns)


class CancelRequest(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop the running request and all waiting ones. Each ends with Stopped, unless it just ended."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The first event: the worker is up.

    Only ``protocol`` is required, so that a client can name the version of any other worker.
    ``versions`` has the versions of Python and of the packages that the worker found.
    """

    protocol: int
    process_id: int = 0
    versions: dict[str, str] = {}


class Log(msgspec.Struct, frozen=True, tag="log"):
    """A line for the user's log.

    ``level`` is "info" or "warning". "output" is a line that the worker or a library printed; the
    client makes these events.
    """

    level: str
    text: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Where the request is.

    ``stage`` is "loading", "propagating", "comparing", "baking", "reporting", "copying", "looking", "masks",
    "watching", "extracting", "details", "matching", "placing", "finding" or "carrying". ``done`` of ``total``
    steps are finished. ``frame`` and ``object_name`` name the last step. Seconds are 0 while unknown.
    ``peak_memory_mb`` is the most memory that the worker has used.
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
    """The request ended well.

    Attributes
    ----------
    damaged
        Names of damaged photos, which were left out.
    masks
        Frame -> the mask that was read.
    prompts
        What an `AgreeRequest` ended with: the prompts of the request, and those that it has added. Or what
        a `FindSubjectRequest` proposes.
    """

    summary: str
    output_folder: str = ""
    frames: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    warnings: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    masks: dict[int, MaskPrompt] = {}
    prompts: PromptSet | None = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The request ended with an error.

    Attributes
    ----------
    kind
        Name of a class in core/errors.py, or of the unexpected exception.
    message, fix
        As in :class:`SplatError`.
    trace
        The traceback of an unexpected exception, for a bug report; else empty.
    """

    kind: str
    message: str
    fix: str = ""
    trace: str = ""

    @classmethod
    def from_error(cls, error: SplatError) -> Failed:
        """Make the event of a typed error, under the nearest class in core/errors.py."""
        kind = next(base.__name__ for base in type(error).__mro__ if base in _ERROR_KINDS.values())
        return cls(kind, error.message, error.fix)

    def to_error(self) -> SplatError:
        """Return the typed error again; an unexpected exception becomes a WorkerError."""
        return _ERROR_KINDS.get(self.kind, WorkerError)(self.message, self.fix)


_ERROR_KINDS: dict[str, type[SplatError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type)
    and issubclass(kind, SplatError)
    and kind.__init__ is SplatError.__init__
}


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The request was cancelled. Finished frames are on disk."""

    frames: int = 0


class PreviewMatte(msgspec.Struct, frozen=True):
    """One object on the frame, equal to the bit to what propagation writes for it.

    An object that propagation tracks to this frame may be segmented from its prompts alone; see
    :class:`PreviewRequest`.

    ``logits`` are (height, width) little-endian float16, row by row, as the photo is stored.
    """

    object_id: int
    height: int
    width: int
    logits: bytes
    scores: MatteScores

    @classmethod
    def of(cls, object_id: int, logits: Logits, scores: MatteScores) -> PreviewMatte:
        """Make it from (h, w) float16 logits."""
        data = np.ascontiguousarray(logits, dtype="<f2").tobytes()
        height, width = logits.shape
        return cls(object_id, height, width, data, scores)

    def array(self) -> Logits:
        """Return the logits, (h, w) float16, read-only; inside is > 0. Raises ProtocolError."""
        if min(self.height, self.width) < 0 or len(self.logits) != 2 * self.height * self.width:
            raise ProtocolError(
                "The matte of a preview does not have the size that it states.", _AGAIN
            )
        return np.frombuffer(self.logits, dtype="<f2").reshape(self.height, self.width)


class PreviewDone(msgspec.Struct, frozen=True, tag="preview_done"):
    """The answer to a preview.

    ``mattes`` has every object with an including prompt on the frame. An object with only excluding
    prompts there needs a tracked matte to correct. So it is among them only if the request has its
    ``propagation``.

    With ``more`` it is a first answer for some objects, before a closer look. The last one follows.
    """

    ticket: int
    frame: int
    mattes: tuple[PreviewMatte, ...]
    seconds: float
    more: bool = False


class PreviewDropped(msgspec.Struct, frozen=True, tag="preview_dropped"):
    """The preview was dropped for a newer preview or a job."""

    ticket: int


class PreviewFailed(msgspec.Struct, frozen=True, tag="preview_failed"):
    """The preview ended with an error."""

    ticket: int
    failure: Failed


VideoRequest = VideoScoresRequest | VideoPhotosRequest
JobRequest = (
    PropagateRequest
    | BakeRequest
    | ReportRequest
    | CopyRequest
    | LookRequest
    | MasksRequest
    | AgreeRequest
    | FindCamerasRequest
    | FindSubjectRequest
    | VideoRequest
)
Request = JobRequest | PreviewRequest | CancelRequest
PreviewEvent = PreviewDone | PreviewDropped | PreviewFailed
Event = Ready | Log | Progress | FrameDone | Finished | Failed | Stopped | PreviewEvent

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


def write_message(stream: BinaryIO, message: Request | Event) -> None:
    """Write one message with its prefix, and flush.

    Raises
    ------
    OSError
        The other side is gone.
    ProtocolError
        The message is over 1 GiB, or has something that can't be encoded, such as a name that is not
        text.
    """
    try:
        data = msgspec.msgpack.encode(message)
    except UNREADABLE as error:
        raise ProtocolError(
            f"A {type(message).__name__} can't be sent: {reason(error)}.",
            "Rename files and folders whose names are not valid text, and use usual numbers.",
        ) from error
    if len(data) > _MAX_MESSAGE:
        raise ProtocolError(
            f"A {type(message).__name__} of {len(data) >> 20} MiB is too large for the SAM 2 process.",
            "Use fewer or smaller masks as prompts.",
        )
    stream.write(_PREFIX.pack(_MAGIC, len(data)) + data)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read the bytes of the next message (blocking); None at the end. Raises ProtocolError."""
    prefix = stream.read(_PREFIX.size)
    if not prefix:
        return None
    if not prefix.startswith(_MAGIC[: len(prefix)]):
        raise ProtocolError(f"Something that is not a message came: {prefix!r}.", _AGAIN)
    if len(prefix) < _PREFIX.size:
        raise ProtocolError("A message between Blender and the SAM 2 process was cut off.", _AGAIN)
    _, length = _PREFIX.unpack(prefix)
    if length > _MAX_MESSAGE:
        raise ProtocolError(f"A message claims an impossible length: {length} bytes.", _AGAIN)
    data = stream.read(length)
    if len(data) < length:
        raise ProtocolError("A message between Blender and the SAM 2 process was cut off.", _AGAIN)
    return data


def read_request(stream: BinaryIO) -> Request | None:
    """Read the next request (blocking); None at the end of the stream. Raises ProtocolError."""
    data = read_frame(stream)
    if data is None:
        return None
    try:
        return _requests.decode(data)
    except UNREADABLE as error:
        raise ProtocolError(f"A request can't be read: {reason(error)}.", _AGAIN) from error


def read_event(stream: BinaryIO) -> Event | None:
    """Read the next event (blocking); None at the end of the stream. Raises ProtocolError."""
    data = read_frame(stream)
    return None if data is None else decode_event(data)


def decode_event(data: bytes) -> Event:
    """Decode the event in the bytes of a message; raises ProtocolError."""
    try:
        return _events.decode(data)
    except UNREADABLE as error:
        raise ProtocolError(f"An event can't be read: {reason(error)}.", _AGAIN) from error
