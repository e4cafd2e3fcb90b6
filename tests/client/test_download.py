# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads resume, are checked, and never leave half a checkpoint under its name."""

from __future__ import annotations

import hashlib
import http.server
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam2_splat_addon.client.download import download
from sam2_splat_addon.core.catalogue import Checkpoint
from sam2_splat_addon.core.errors import CheckpointError

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several blocks
ENTRY = Checkpoint("tiny_test", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; understands Range unless told not to, and notes what was asked."""

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
    with pytest.raises(CheckpointError, match="broke off"):
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
        with pytest.raises(CheckpointError, match="something else than tiny_test"):
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
        # Closed without lingering, a socket says "reset" instead of "end".
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    monkeypatch.setattr(Handler, "do_GET", reset)
    with pytest.raises(CheckpointError, match="could not be downloaded") as told:
        list(download(ENTRY, tmp_path, url=server))
    assert "network" in told.value.fix
