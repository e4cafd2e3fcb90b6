# SPDX-License-Identifier: GPL-3.0-or-later
"""Each machine gets the right build of PyTorch; a script stands in for the driver's tool."""

from __future__ import annotations

import dataclasses
import functools
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sam2_splat_addon.client.packages import torch_build
from sam2_splat_addon.client.packages.torch_build import BUILDS, PYPI, Card, build_for, nvidia_cards

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="there is one build for Macs")


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """Return a server that answers for the index of every build."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def plain_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pages: ThreadingHTTPServer
) -> Path:
    """Return the only folder on PATH, on a machine whose pip has no settings."""
    for name in torch_build._PIP_INDEXES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    local = {
        name: dataclasses.replace(build, index=f"http://127.0.0.1:{pages.server_port}/{name}")
        for name, build in BUILDS.items()
    }
    monkeypatch.setattr(torch_build, "BUILDS", local)
    return tmp_path


def tool_that_says(folder: Path, text: str, status: int = 0) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{text}\nEND\nexit {status}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("8.9, 581.29", "cu130"),  # RTX 40, a new driver
        ("8.6, 551.86", "cu126"),  # RTX 30, an older one
        ("6.1, 581.29", "cu126"),  # GTX 10
        ("12.0, 572.16", "cu130"),  # RTX 50: no other build works, with any driver
        ("6.1, 581.29\n8.9, 581.29", "cu126"),  # both are served
        ("8.9, 581.29\n9.0, 581.29", "cu130"),
        ("3.5, 470.256", "cpu"),  # GTX 700: no build serves it
        ("8.6, 470.256", "cpu"),  # a driver from before CUDA 12
        ("3.5, 551.86\n8.6, 551.86", "cu126"),  # one of the two can be used
        ("[N/A], 581.29", "cpu"),
        ("No devices were found", "cpu"),
        ("", "cpu"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_automatic_goes_by_cards_and_driver(plain_machine: Path, answer: str, name: str) -> None:
    tool_that_says(plain_machine, answer)
    assert build_for().name == name
    assert build_for().index.endswith("/" + name)


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_a_driver_that_fails_is_no_card(plain_machine: Path) -> None:
    assert nvidia_cards() == []
    tool_that_says(plain_machine, "8.9, 581.29", status=9)
    assert nvidia_cards() == []
    tool_that_says(plain_machine, "8.9, 581.29")
    assert nvidia_cards() == [Card((8, 9), 581)]


def test_automatic_is_pypis_where_the_index_does_not_answer(pages: ThreadingHTTPServer) -> None:
    assert build_for().name == "cpu"
    pages.shutdown()
    pages.server_close()
    assert build_for() == PYPI
    assert build_for("cpu").name == "cpu"


def test_automatic_leaves_pips_own_settings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://example.org/simple")
    assert build_for() == PYPI
    assert build_for("cu126").name == "cu126", "the user gets the build that he names"


def test_automatic_names_no_build_for_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert build_for() == PYPI


def test_an_unknown_build_is_refused() -> None:
    with pytest.raises(ValueError, match="cu126, cu130"):
        build_for("cu99")


def test_the_preferences_offer_every_build() -> None:
    from sam2_splat_addon.blender.context.preferences import TORCH_ITEMS

    assert [item[0] for item in TORCH_ITEMS] == ["auto", *BUILDS]
