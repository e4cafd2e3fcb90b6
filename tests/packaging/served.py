# SPDX-License-Identifier: GPL-3.0-or-later
"""A release served on this machine, and its whole life in some Blender: add, install, update, remove."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tools.release import publish

OLDER = "0.0.1"
# Prints what a Blender has of the extension, as one line of JSON.
STATE = """
import json, sys
import bpy, addon_utils
name = "bl_ext.sam2.sam2_splat"
module = sys.modules.get(name)
enabled = name in bpy.context.preferences.addons
print("STATE " + json.dumps({
    "repositories": [r.module for r in bpy.context.preferences.extensions.repos],
    "enabled": enabled,
    "module": getattr(module, "__file__", ""),
    "registered": "propagate" in dir(bpy.ops.sam2_splat),
    "property": "sam2_splat" in bpy.types.MovieClip.bl_rna.properties,
}))
"""
# Prints which repository a Blender takes a dragged link to come from, and whether it fits.
DRAGGED = """
from bl_pkg.bl_extension_ops import pkg_manifest_params_compatible_or_error_for_this_system as fits
from bl_pkg.bl_extension_utils import url_parse_for_blender
address, asked = url_parse_for_blender(ADDRESS)
asked = {"blender_version_min": "", "blender_version_max": "", "python_versions": "", **asked}
lists = {name: asked.pop(name) for name in ("platforms", "python_versions")}
lists = {name: value.split(",") if value else [] for name, value in lists.items()}
print("DRAGGED", address, asked.pop("repository"), fits(**asked, **lists))
"""
# What Blender keeps once it had any extension.
BLENDERS_OWN = {"userpref.blend", "compat.dat"}
# A command such as ("install", "--enable", "sam2.sam2_splat"), or ("python", code); gives what it said.
Run = Callable[..., str]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: pytest shows what matters."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback device; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def with_version(archive: Path, target: Path, version: str) -> Path:
    """Copy a zip under another version."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "blender_manifest.toml":
                text = re.sub(
                    r'^version = ".*"$', f'version = "{version}"', content.decode(), flags=re.M
                )
                assert tomllib.loads(text)["version"] == version
                content = text.encode()
            copy.writestr(entry, content)
    return target


def files_below(folder: Path) -> set[str]:
    """Every file below a folder, less the byte code and caches that Blender keeps for itself."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def live(run: Run, archive: Path, user: Path, place: Path, *, has_wheels: bool) -> None:
    """Take a release through its life in one Blender.

    Parameters
    ----------
    run
        Runs one of Blender's extension commands; fails where that fails.
    archive
        The zip that this Blender takes.
    user
        Where this Blender keeps its settings and extensions.
    place
        An empty folder.
    has_wheels
        Whether the zip has wheels, which are then unpacked.
    """

    def read_state() -> dict[str, Any]:
        said = run("python", STATE)
        found = re.search(r"^STATE (.*)$", said, re.M)
        assert found, said
        return dict(json.loads(found[1]))

    def installed_version() -> str:
        (manifest,) = user.rglob("sam2/sam2_splat/blender_manifest.toml")
        return str(tomllib.loads(manifest.read_text(encoding="utf-8"))["version"])

    version = str(
        tomllib.loads(zipfile.ZipFile(archive).read("blender_manifest.toml").decode())["version"]
    )
    folder = place / "repository"
    publish([with_version(archive, place / f"older-{archive.name}", OLDER)], folder)
    with served(folder) as address:
        # Alone: blender.org's repository would be asked at each step.
        here = ("--clear-all", "--name", "SAM2 Splat", "--url", f"{address}/index.json", "sam2")
        run("repo-add", *here)
        run("install", "--sync", "--enable", "sam2.sam2_splat")
        assert installed_version() == OLDER
        state = read_state()
        assert state["enabled"] and state["registered"] and state["property"], state
        assert f"sam2{os.sep}sam2_splat" in state["module"], state
        if has_wheels:
            # Unpacked; a module imports what its own environment has.
            assert list(user.rglob("extensions/.local/**/msgspec/__init__.py"))

        # A new release takes the old one's place on the server.
        (link,) = publish([archive], folder)
        dragged = f"ADDRESS = {urljoin(f'{address}/index.html', link.address)!r}\n{DRAGGED}"
        fits = f"DRAGGED {address}/{archive.name} {address}/index.json None\n"
        assert fits in run("python", dragged)
        run("update", "--sync")
        assert installed_version() == version
        state = read_state()
        assert state["enabled"] and state["registered"], state

        run("remove", "sam2.sam2_splat")
        run("repo-remove", "sam2")
        state = read_state()
        assert not (state["enabled"] or state["registered"] or state["property"]), state
        assert state["repositories"] == [], state
    # Blender's own settings, and the list that it fetched.
    left = {name for name in files_below(user) if "/sam2/.blender_ext/" not in name}
    assert not [name for name in left if "sam2" in name or "msgspec" in name], left
    assert {name.rpartition("/")[2] for name in left} <= BLENDERS_OWN, left
