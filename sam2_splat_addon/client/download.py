# SPDX-License-Identifier: GPL-3.0-or-later
"""Download a checkpoint: resumable, checked by its sum, whole or not at all; imports core only."""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..core.atomic import sync_file, sync_folder
from ..core.catalogue import Checkpoint
from ..core.errors import CheckpointError

_BLOCK = 1 << 18  # bytes a step: small enough that a slow line still reports often
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
    """Fetch a checkpoint into ``folder``, a block a step; closing the iterator cancels.

    What has arrived stays in ``<name>.pt.part`` and a later call goes on from there. The file gets
    its name only when its check sum is right.

    Parameters
    ----------
    entry
        Which checkpoint.
    folder
        Made when missing.
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
        digest = hashlib.sha256()
        done = _hash_part(part, digest, entry.bytes)
        if done < entry.bytes:
            with _open(url or entry.url, done) as answer:
                if done and answer.status != http.client.PARTIAL_CONTENT:
                    # The server sends the whole file whatever was asked for.
                    done, digest = 0, hashlib.sha256()
                coming = answer.headers.get("Content-Length")
                if coming is not None and done + int(coming) != entry.bytes:
                    raise CheckpointError(
                        f"{answer.url} answered with something else than {entry.file_name}.",
                        "Log in to the network in a browser if it asks for that, and try again; what"
                        " has arrived is kept.",
                    )
                with part.open("ab" if done else "wb") as file:
                    while block := answer.read(_BLOCK):
                        file.write(block)
                        digest.update(block)
                        done += len(block)
                        yield DownloadProgress(done, entry.bytes)
        _finish(entry, part, folder / entry.file_name, done, digest.hexdigest())
    except _NETWORK as error:
        reason = getattr(error, "reason", error)
        raise CheckpointError(
            f"{entry.file_name} could not be downloaded: {reason}.",
            "Check the network and try again; what has arrived is kept.",
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{entry.file_name} could not be saved in {folder}: {error.strerror or error}.",
            f"Free {entry.bytes / 1e6:.0f} MB there, or choose another model folder.",
        ) from error


def _hash_part(part: Path, digest: hashlib._Hash, most: int) -> int:
    """Feed what an earlier download left into the digest; returns its size in bytes."""
    if not part.is_file() or part.stat().st_size > most:
        return 0
    with part.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return part.stat().st_size


def _open(url: str, offset: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url)
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    return answer


def _finish(entry: Checkpoint, part: Path, target: Path, done: int, found: str) -> None:
    if done < entry.bytes:
        raise CheckpointError(
            f"The download of {entry.file_name} broke off after {done / 1e6:.0f} of"
            f" {entry.bytes / 1e6:.0f} MB.",
            "Try again; it goes on from there.",
        )
    if found != entry.sha256:
        part.unlink()
        raise CheckpointError(
            f"The downloaded {entry.file_name} is not the published file: its check sum differs.",
            "Try again; if it happens twice, something on the way changes the file.",
        )
    with part.open("r+b") as file:
        sync_file(file.fileno())
    os.replace(part, target)
    sync_folder(target.parent)
