# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign bytes become values or typed errors, and only plain files are opened."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sam2_splat_addon.client.packages.installer import STAMP_NAME, read_stamp
from sam2_splat_addon.core.errors import FootageError, ProtocolError, SplatError, StoreError
from sam2_splat_addon.core.footage.headers import read_header
from sam2_splat_addon.core.footage.matching import from_text
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.footage.staging import MAP_NAME, read_stage
from sam2_splat_addon.core.mattes.run_manifest import is_manifest, read_manifest
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import read_json
from sam2_splat_addon.core.protocol import read_event, read_request
from sam2_splat_addon.core.system.safe_read import is_there, open_plain, read_plain, reason

DAMAGED = (
    b"",
    b"{",
    b"null",
    b"\xff\xfe",
    b'{"version": "\xff"}',
    b'{"objects": [], "folder": "\xff", "python": "\xff"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"objects": ' + b"[" * 5000,
    b'{"version": ' + b"9" * 5000 + b"}",
    b'{"version": -1e999}',
    '{"name": "\u2028'.encode(),
    "{}".encode("utf-16"),
)
READERS: dict[str, Callable[[Path], object]] = {
    "manifest.json": read_manifest,
    "own": lambda path: is_manifest(path) or None,
    "prompts.json": read_json,
    MAP_NAME: lambda path: read_stage(path.parent),
    STAMP_NAME: lambda path: read_stamp(path.parent),
}
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_are_a_typed_error_or_no_value(
    name: str, data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with contextlib.suppress(SplatError):
        assert READERS[name](path) is None


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_a_clip_with_damaged_memories_remembers_no_photos(data: bytes) -> None:
    assert from_text(data.decode("utf-8", "replace")) == ()


@posix
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_a_files_place_is_refused_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    done = threading.Event()

    def read() -> None:
        with contextlib.suppress(SplatError):
            READERS[name](tmp_path / name)
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(10)


@posix
def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_plain(tmp_path / "file") == read_plain(tmp_path / "link") == b"bytes"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for name in ("pipe", "device", "loop", "socket", "missing", ""):
        with pytest.raises(OSError):
            open_plain(tmp_path / name)


@posix
def test_a_store_reads_no_pipe(tmp_path: Path) -> None:
    store = MatteStore.open(tmp_path, create=True)
    store.path(1, 1).parent.mkdir(parents=True)
    os.mkfifo(store.path(1, 1))
    assert store.key(1, 1) is None
    with pytest.raises(StoreError):
        store.read(1, 1)
    assert store.frames(1) == []


@posix
def test_what_is_no_photo_is_named_and_never_opened(tmp_path: Path) -> None:
    for name in ("a.jpg", "d.jpg"):
        Image.new("RGB", (12, 16)).save(tmp_path / name)
    os.mkfifo(tmp_path / "b.jpg")
    (tmp_path / "c.jpg").symlink_to("/dev/zero")
    (tmp_path / "latest").symlink_to(tmp_path / "latest")
    (tmp_path / "one.jpg").symlink_to(tmp_path / "two.jpg")
    (tmp_path / "two.jpg").symlink_to(tmp_path / "one.jpg")
    (tmp_path / "away.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "notes")  # ignored, like other files that are not photos
    footage = scan(tmp_path)
    assert [path.name for path in footage.paths] == ["a.jpg", "d.jpg"]
    left_out = {file.path.name: file.is_file for file in footage.unreadable}
    assert left_out == {
        "away.jpg": True, "b.jpg": False, "c.jpg": False,
        "latest": False, "one.jpg": False, "two.jpg": False,
    }  # fmt: skip
    with pytest.raises(FootageError, match="pipe"):
        read_header(tmp_path / "b.jpg")


MESSAGES = (
    b"\x82\xa4type\xa7preview\xa5photo\xa2\xff\xfe",
    b"\x83\xa4type\xa3log\xa5level\xa1x\xa4text\xa2\xff\xfe",
    *(b"\x82\xa4type\xa6cancel\xa1x" + b"\x91" * depth + b"\xc0" for depth in (5000, 100_000)),
    *(b"\x82\xa4type\xa3log\xa1x" + b"\x91" * depth + b"\xc0" for depth in (5000, 100_000)),
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"",
    b"\xc1",
)


@pytest.mark.parametrize("data", MESSAGES, ids=range(len(MESSAGES)))
@pytest.mark.parametrize("read", [read_event, read_request])
def test_a_message_of_any_bytes_is_a_message_or_a_protocol_error(
    read: Callable[[io.BytesIO], object], data: bytes
) -> None:
    with pytest.raises(ProtocolError, match="can't be read"):
        read(io.BytesIO(struct.pack("<4sI", b"S2SP", len(data)) + data))


def test_text_in_another_encoding_is_said_to_be_that() -> None:
    with pytest.raises(UnicodeError) as problem:
        b"\xff\xfe".decode("utf-8")
    assert reason(problem.value) == "it is not text in UTF-8"
    assert reason(RecursionError("maximum recursion depth")) == "it is nested too deeply"
    assert reason(ValueError("as it is")) == "as it is"


def test_an_impossible_path_is_not_there(tmp_path: Path) -> None:
    for name in ("a" * 5000, "zero \0 byte"):
        assert is_there(tmp_path / name) is False
    assert is_there(tmp_path)
