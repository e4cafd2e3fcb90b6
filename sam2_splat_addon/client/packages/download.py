# SPDX-License-Identifier: GPL-3.0-or-later
"""Download a checkpoint: it can be continued, and its check sum is checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ...core.checkpoint_catalogue import Checkpoint
from ...core.errors import CheckpointError
from ...core.system.atomic_file import sync_file, sync_folder
from ...core.system.links import is_link
from ...core.system.safe_read import open_plain

_BLOCK = 1 << 18  # bytes per step: small enough that a slow connection still reports often
_TIMEOUT = 30.0  # s without a byte


@dataclass(frozen=True)
class DownloadProgress:
    """How much of the file is here, in bytes."""

    done: int
    total: int


_NETWORK: Final = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
)


def download(entry: Checkpoint, folder: Path, *, url: str = "") -> Iterator[DownloadProgress]:
    """Download a checkpoint into ``folder``, one block per step; closing the iterator cancels.

    What has arrived stays in ``<name>.pt.part``, and a later call goes on from there. The file gets its
    name only if its check sum is right.

    Parameters
    ----------
    entry
        The checkpoint.
    folder
        Made if missing.
    url
        Another address of the same file, such as a mirror.

    Raises
    ------
    CheckpointError
        No network, refused by the server, disk full, folder not writable, or a wrong check sum.
    """
    part = folder / f"{entry.file_name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_own(part)
        digest = hashlib.sha256()
        done = yield from _hashed(part, digest, entry.bytes)
        if done < entry.bytes:
            with _open(url or entry.url, done) as answer:
                if done and not _goes_on(answer, done):
                    # The server sends the whole file, although only the rest was asked for.
                    done, digest = 0, hashlib.sha256()
                _require_file(answer, entry, done)
                block = answer.read(_BLOCK)
                if done == 0 and _is_page(block):
                    raise _no_file(answer, entry)
                with _writing(part, append=bool(done)) as file:
                    while block and done <= entry.bytes:
                        file.write(block)
                        digest.update(block)
                        done += len(block)
                        yield DownloadProgress(min(done, entry.bytes), entry.bytes)
                        block = answer.read(_BLOCK)
        _finish(entry, part, folder / entry.file_name, done, digest.hexdigest())
    except _NETWORK as error:
        reason = getattr(error, "reason", error)
        raise CheckpointError(
            f"{entry.file_name} could not be downloaded: {' '.join(str(reason).split())}.",
            "Check the network and try again: what has arrived is kept.",
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{entry.file_name} could not be saved in {folder}: {error.strerror or error}.",
            f"Free {entry.bytes / 1e6:.0f} MB there, or choose another model folder.",
        ) from error
    except ValueError as error:  # the address of the file or of a proxy is not an address
        raise CheckpointError(
            f"{entry.file_name} could not be downloaded: {error}.",
            "Check the proxy settings of the network and try again: what has arrived is kept.",
        ) from error


def _require_own(part: Path) -> None:
    """Raise CheckpointError if something other than a file of an earlier download is in the way."""
    if is_link(part) or (part.exists() and not part.is_file()):
        raise CheckpointError(
            f"{part} is a link or a folder, and not a file of an earlier download.",
            "Move it away, or choose another model folder.",
        )


def _writing(part: Path, *, append: bool) -> BinaryIO:
    """Open the file for what arrives, and follow no link; raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, 0o666), "wb")


def _hashed(part: Path, digest: hashlib._Hash, most: int) -> Generator[DownloadProgress, None, int]:
    """Add the bytes of an earlier download to the digest; returns their number."""
    if not part.is_file() or part.stat().st_size > most:
        return 0
    done = 0
    with open_plain(part) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            yield DownloadProgress(min(done, most), most)
    return done


def _open(url: str, offset: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url)
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not offset:
            raise
        error.close()
        return _open(url, 0)  # our part is longer than the server's file, so it is another file
    return answer


def _goes_on(answer: http.client.HTTPResponse, done: int) -> bool:
    """Whether an answer begins where our part ends."""
    if answer.status != http.client.PARTIAL_CONTENT:
        return False
    span = answer.headers.get("Content-Range")
    return span is None or span.replace(" ", "").startswith(f"bytes{done}-")


def _require_file(answer: http.client.HTTPResponse, entry: Checkpoint, done: int) -> None:
    """Raise CheckpointError if the headers of the answer show that it is not the file."""
    coming = answer.headers.get("Content-Length", "")
    is_size = coming.isascii() and coming.isdecimal()
    if (is_size and done + int(coming) != entry.bytes) or (
        answer.headers.get_content_type() == "text/html"
    ):
        raise _no_file(answer, entry)


def _is_page(block: bytes) -> bool:
    """Whether bytes are the beginning of a web page, such as the login page of a hotel."""
    return block[:1000].lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml"))


def _no_file(answer: http.client.HTTPResponse, entry: Checkpoint) -> CheckpointError:
    return CheckpointError(
        f"{answer.url} sent something other than {entry.file_name}.",
        "If your network needs a login, log in with a browser; then try again: what has arrived is"
        " kept.",
    )


def _finish(entry: Checkpoint, part: Path, target: Path, done: int, found: str) -> None:
    if done < entry.bytes:
        raise CheckpointError(
            f"The download of {entry.file_name} stopped after {done / 1e6:.0f} of"
            f" {entry.bytes / 1e6:.0f} MB.",
            "Try again: it goes on from there.",
        )
    if done > entry.bytes or found != entry.sha256:
        part.unlink()
        raise CheckpointError(
            f"The downloaded {entry.file_name} is not the published file: its check sum differs.",
            "Try again; if it happens twice, try another network, because this one changes the file.",
        )
    with part.open("r+b") as file:
        sync_file(file.fileno())
    os.replace(part, target)
    sync_folder(target.parent)
