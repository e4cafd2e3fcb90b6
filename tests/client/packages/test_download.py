# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads continue, are checked, and never leave an incomplete checkpoint under its name."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam2_splat_addon.client.packages.download import download
from sam2_splat_addon.core.checkpoint_catalogue import Checkpoint
from sam2_splat_addon.core.errors import CheckpointError

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several blocks
ENTRY = Checkpoint("tiny_test", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve CONTENT, with Range unless switched off, and note every request."""

    ranges = True
    cut_after = len(CONTENT)
    asked: list[str] = []  # noqa: RUF012 - the server makes a handler a request

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range", ""))
        if self.path != "/file":
            self.send_error(404)
            return
        begin = 0
        if self.ranges and "Range" in self.headers:
            begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if begin else 200)
        self.end_headers()
        self.wfile.write(CONTENT[begin : self.cut_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Handler, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}/file"
        httpd.shutdown()


def test_a_download_arrives_whole(server: str, tmp_path: Path) -> None:
    steps = list(download(ENTRY, tmp_path / "models", url=server))
    assert (tmp_path / "models" / "tiny_test.pt").read_bytes() == CONTENT
    assert steps[-1].done == steps[-1].total == len(CONTENT)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny_test.pt"]


def test_a_cancelled_download_goes_on_where_it_stopped(server: str, tmp_path: Path) -> None:
    steps = download(ENTRY, tmp_path, url=server)
    first = next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "tiny_test.pt").exists()
    list(download(ENTRY, tmp_path, url=server))
    assert (tmp_path / "tiny_test.pt").read_bytes() == CONTENT
    assert Handler.asked == ["", f"bytes={first.done}-"]


def test_a_server_without_ranges_sends_all_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "ranges", False)
    (tmp_path / "tiny_test.pt.part").write_bytes(CONTENT[:1000])
    list(download(ENTRY, tmp_path, url=server))
    assert (tmp_path / "tiny_test.pt").read_bytes() == CONTENT


def test_a_broken_line_keeps_what_arrived(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "cut_after", 700_000)
    with pytest.raises(CheckpointError, match="stopped after"):
        list(download(ENTRY, tmp_path, url=server))
    assert (tmp_path / "tiny_test.pt.part").stat().st_size == 700_000
    monkeypatch.setattr(Handler, "cut_after", len(CONTENT))
    list(download(ENTRY, tmp_path, url=server))
    assert (tmp_path / "tiny_test.pt").read_bytes() == CONTENT


def test_a_wrong_check_sum_is_refused_and_removed(server: str, tmp_path: Path) -> None:
    other = Checkpoint("tiny_test", len(CONTENT), "0" * 64)
    with pytest.raises(CheckpointError, match="check sum"):
        list(download(other, tmp_path, url=server))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_a_dead_server_say_so(server: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be downloaded: Not Found"):
        list(download(ENTRY, tmp_path, url=server + "s"))
    with pytest.raises(CheckpointError, match="Check the network"):
        list(download(ENTRY, tmp_path, url="http://127.0.0.1:9/file"))


def test_a_folder_that_is_a_file_says_so(server: str, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(CheckpointError, match="model folder"):
        list(download(ENTRY, tmp_path / "models", url=server))


def test_a_login_page_does_not_cost_what_has_arrived(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "tiny_test.pt.part"
    part.write_bytes(CONTENT[:500_000])

    def log_in(self: Handler) -> None:
        page = b"<html>Welcome to the hotel</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    with monkeypatch.context() as portal:
        portal.setattr(Handler, "do_GET", log_in)
        with pytest.raises(CheckpointError, match="something other than tiny_test"):
            list(download(ENTRY, tmp_path, url=server))
    assert part.read_bytes() == CONTENT[:500_000]
    list(download(ENTRY, tmp_path, url=server))
    assert (tmp_path / "tiny_test.pt").read_bytes() == CONTENT


def test_a_line_that_is_reset_is_told_as_such(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(self: Handler) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT[:700_000])
        self.wfile.flush()
        # A socket closed without lingering answers "reset" instead of "end".
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    monkeypatch.setattr(Handler, "do_GET", reset)
    with pytest.raises(CheckpointError, match="could not be downloaded") as told:
        list(download(ENTRY, tmp_path, url=server))
    assert "network" in told.value.fix


def answering(monkeypatch: pytest.MonkeyPatch, code: int, body: bytes, **headers: str) -> None:
    """Let the server give this answer to every request."""

    def answer(self: Handler) -> None:
        self.asked.append(self.headers.get("Range", ""))
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client closed the connection, as it should
            self.wfile.write(body)

    monkeypatch.setattr(Handler, "do_GET", answer)


@pytest.mark.parametrize("begin", [b"<html>", b"\n <!DOCTYPE HTML>", b"Please log in"])
def test_a_page_in_the_files_place_is_no_file_and_costs_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    part = tmp_path / "tiny_test.pt.part"
    kind = "text/html; charset=utf-8" if begin.startswith(b"P") else "application/octet-stream"
    answering(monkeypatch, 200, begin + b"Welcome to the hotel", Content_Type=kind)
    with pytest.raises(CheckpointError, match="something other than tiny_test"):
        list(download(ENTRY, tmp_path, url=server))
    assert not part.exists()
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(CheckpointError, match="something other than tiny_test"):
        list(download(ENTRY, tmp_path, url=server))
    assert part.read_bytes() == CONTENT[:1000]


def test_a_server_that_never_ends_is_hung_up_on(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, 200, CONTENT * 20)
    taken = 0
    with pytest.raises(CheckpointError, match="not the published file"):
        for progress in download(ENTRY, tmp_path, url=server):
            taken += 1
            assert progress.done <= progress.total
    assert taken < 20
    assert list(tmp_path.iterdir()) == []


def test_a_range_that_can_not_be_had_begins_anew(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Handler.do_GET

    def refuse(self: Handler) -> None:
        if "Range" in self.headers:
            self.asked.append(self.headers["Range"])
            self.send_error(416)
        else:
            really(self)

    monkeypatch.setattr(Handler, "do_GET", refuse)
    (tmp_path / "tiny_test.pt.part").write_bytes(b"of another file" * 100)
    list(download(ENTRY, tmp_path, url=server))
    assert (tmp_path / "tiny_test.pt").read_bytes() == CONTENT
    assert Handler.asked == ["bytes=1500-", ""]


def test_a_part_that_was_not_asked_for_is_not_appended(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny_test.pt.part").write_bytes(CONTENT[:1000])
    answering(monkeypatch, 206, CONTENT, Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
    list(download(ENTRY, tmp_path, url=server))
    assert (tmp_path / "tiny_test.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["abc", "", "-5", "٣", "9" * 5000])
def test_a_length_that_is_none_is_a_sentence_or_passed_over(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: str
) -> None:
    answering(monkeypatch, 200, CONTENT, Content_Length=length.encode().decode("latin-1"))
    try:
        list(download(ENTRY, tmp_path, url=server))
    except CheckpointError:
        return
    assert (tmp_path / "tiny_test.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("to", ["http://[bad", "file:///etc/passwd", "ftp://:::", "//", "\x00"])
def test_a_server_that_sends_elsewhere_is_a_sentence(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    answering(monkeypatch, 302, b"", Location=to)
    with pytest.raises(CheckpointError):
        list(download(ENTRY, tmp_path, url=server))


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_nothing_is_written_through_a_link(server: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"")
    part = tmp_path / "tiny_test.pt.part"
    for target in (other, tmp_path / "missing", part):
        part.symlink_to(target)
        with pytest.raises(CheckpointError, match="Move it away"):
            list(download(ENTRY, tmp_path, url=server))
        part.unlink()
    part.mkdir()
    with pytest.raises(CheckpointError, match="Move it away"):
        list(download(ENTRY, tmp_path, url=server))
    assert other.read_bytes() == b""
    assert not (tmp_path / "missing").exists()
