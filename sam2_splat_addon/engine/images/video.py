# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a video and decode its frames, as far as it can be read. FFmpeg does it, through PyAV.

A frame that does not decode whole is never given: after an error nothing is used until the next key
frame, because other frames are made from damaged ones.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
import av.error
import av.logging
from av.stream import Disposition

from ...core.errors import DamagedPhoto, FootageError
from ...core.system.safe_read import open_plain, require_plain_file

# Only formats of videos, and only this file: others, such as playlists, could open more.
_FORMATS: Final = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,asf,flv,ogg,mxf"
_OPTIONS: Final = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_CODEC: Final = {"err_detect": "explode"}
_OTHER: Final = "Choose a video file such as MP4, MOV, MKV, WebM or AVI, or a folder of photos."


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame that decoded whole.

    Attributes
    ----------
    number
        From 1, in the order in which frames are shown.
    stamp
        Its time stamp in the file; its number if the file has none.
    seconds
        Its time in the file. It may begin anywhere.
    """

    picture: av.VideoFrame
    number: int
    stamp: int
    seconds: float


class Video:
    """An open video.

    Parameters
    ----------
    path
        Absolute.

    Raises (when made)
    ------------------
    FootageError
        The file is missing, is no video, or has no pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        """Frames that were left out so far, because they can't be decoded whole."""
        self.is_cut_off = False
        """Whether the end of the file is missing or can't be read."""
        av.logging.set_level(None)  # FFmpeg's own lines are not for the user
        try:
            require_plain_file(path)
        except OSError as problem:
            raise FootageError(
                f"{path.name} can't be read: {problem.strerror or problem}.", _OTHER
            ) from problem
        try:
            self._container = av.open(
                f"file:{path}", options=_OPTIONS, metadata_errors="replace", timeout=None
            )
        except (av.error.FFmpegError, OSError, ValueError) as problem:
            if _lacks_index(path):
                raise DamagedPhoto(
                    f"The end of {path.name} is missing, and with it the list of its frames.",
                    "Let the camera repair it, or copy it again.",
                ) from problem
            raise FootageError(f"{path.name} is not a video, or is damaged.", _OTHER) from problem
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            self._container.close()
            raise FootageError(f"{path.name} has no video in it, only other data.", _OTHER)
        # Some cameras store a small copy of the video too.
        self._stream: Any = max(streams, key=lambda stream: stream.width * stream.height)
        context = self._stream.codec_context
        context.thread_type = "AUTO"
        context.options = dict(_CODEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    @property
    def frames_expected(self) -> int:
        """About how many frames there are; 0 if the file does not say it."""
        if self._stream.frames:
            return int(self._stream.frames)
        rate = self._stream.average_rate or self._stream.guessed_rate
        return int(self.seconds_expected * rate) if rate else 0

    @property
    def seconds_expected(self) -> float:
        """How long the video is, as the file says; 0 if it does not say it."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return (self._container.duration or 0) / av.time_base

    @property
    def stretch(self) -> float:
        """Width of a pixel by its height; 0 if unknown."""
        return float(self._stream.sample_aspect_ratio or Fraction(0))

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says about itself, its own words before those of its pictures."""
        return {**self._stream.metadata, **self._container.metadata}

    def frames(self, start: int | None = None) -> Iterator[Frame]:
        """Decode frame after frame. Errors are counted in ``damaged``, and frames after them left out.

        Parameters
        ----------
        start
            A time stamp. Decoding begins at a key frame before it, and numbers are then wrong.
        """
        if start is not None:
            self._container.seek(start, stream=self._stream, backward=True)
        number, is_broken = 0, False
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        for pictures, failed in self._decoded():
            for picture in pictures:
                number += 1
                is_broken = is_broken and not picture.key_frame
                if is_broken or picture.is_corrupt:
                    self.damaged += 1
                    continue
                stamp = picture.pts
                seconds = (number - 1) / rate
                if stamp is not None and picture.time_base is not None:
                    seconds = float(stamp * picture.time_base)
                yield Frame(picture, number, number if stamp is None else stamp, seconds)
            if failed:
                number += 1
                self.damaged += 1
                is_broken = True

    def _decoded(self) -> Iterator[tuple[list[av.VideoFrame], bool]]:
        """Yield the pictures of each packet, and whether the packet is damaged.

        After a damaged packet the decoder starts anew at the next key frame. It gets no packets that are
        shown before that key frame, because those need pictures that are gone.
        """
        packets = self._container.demux(self._stream)
        is_waiting, first_shown = False, None
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (av.error.FFmpegError, OSError):
                self.is_cut_off = True
                break
            if packet.size and is_waiting:
                if packet.is_keyframe and not packet.is_corrupt:
                    is_waiting, first_shown = False, packet.pts
                else:
                    yield [], True
                    continue
            if packet.pts is not None and first_shown is not None and packet.pts < first_shown:
                yield [], True
                continue
            if packet.is_corrupt:
                yield self._rest(), False
                yield [], True
                is_waiting = True
                continue
            try:
                pictures = packet.decode()
            except (av.error.FFmpegError, ValueError):
                if packet.size:
                    self._stream.codec_context.flush_buffers()
                    yield [], True
                    is_waiting = True
            else:
                yield pictures, False
        self.is_cut_off = self.is_cut_off or is_waiting
        yield self._rest(), False

    def _rest(self) -> list[av.VideoFrame]:
        """Return the pictures that the decoder still holds, and let it start anew."""
        found: list[av.VideoFrame] = []
        with contextlib.suppress(av.error.FFmpegError, EOFError, ValueError):
            found = self._stream.decode(None)
        with contextlib.suppress(av.error.FFmpegError, EOFError, ValueError):
            self._stream.codec_context.flush_buffers()
        return found


def _lacks_index(path: Path) -> bool:
    """Whether a file begins as MP4 or MOV, and has no ``moov`` box, as after a recording broke off."""
    kinds: list[bytes] = []
    with contextlib.suppress(OSError, struct.error, ValueError), open_plain(path) as file:
        at = 0
        while len(kinds) < 1000:
            file.seek(at)
            size, kind = struct.unpack(">I4s", file.read(8))
            if size == 1:
                (size,) = struct.unpack(">Q", file.read(8))
            kinds.append(kind)
            if kind == b"moov" or size < 8:
                break
            at += size
    return kinds[:1] == [b"ftyp"] and b"moov" not in kinds
