# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what somebody who helps must know: versions, device, settings, errors and the log.

The report is in English, whatever the interface's language: it is for those who help.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import bpy
from bpy.types import MovieClip

from ...client.command.inform import version
from ...client.packages import installer
from ...core.errors import SplatError
from ...core.settings import CLIP_SETTINGS, declared
from .. import ADDON_PACKAGE
from ..clip import markers, matte_run
from ..context import console, last_error, preferences, properties, worker_session
from ..context.active_clip import active_clip
from ..context.present import present

# The packages whose versions decide a result.
_PACKAGES: Final = ("torch", "sam2", "numpy", "opencv-python-headless", "pillow", "openexr")
# What is left of a path that is none of the known folders: "/home/eva/x.png", "C:\\Users\\eva\\x.png".
_PATH: Final = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[\\/](?:[^\s\\/:'\"|<>]+[\\/])+(?=[^\s\\/])")


def report() -> str:
    """Return the report, in lines, without any private path."""
    clip = active_clip(bpy.context)
    lines = [*_versions(), "", *_of_clip(clip), "", *_problems(), "", "Last lines of the log:"]
    lines += [f"  {line}" for line in console.last_lines()] or ["  none"]
    return without_paths("\n".join(lines), _folders(clip)) + "\n"


def without_paths(text: str, folders: Mapping[str, str]) -> str:
    """Return a text with names in place of folders, and without all other folders.

    Parameters
    ----------
    folders
        Path of a folder -> the name to write in its place.
    """
    for folder in sorted(folders, key=len, reverse=True):
        for written in (folder, folder.replace("\\", "/"), folder.replace("\\", "\\\\")):
            text = text.replace(written, folders[folder])
    return _PATH.sub(".../", text)


def _folders(clip: MovieClip | None) -> dict[str, str]:
    """Return the folders that a report may name, and what it writes instead."""
    found = {
        str(preferences.packages_folder()): "<packages>",
        str(preferences.model_folder()): "<models>",
        str(preferences.cache_folder()): "<cache>",
        str(Path(__file__).parents[2]): "<add-on>",
        str(Path.home()): "<home>",
        bpy.path.abspath("//"): "<file>/",
    }
    if clip is not None:
        settings = properties.of_clip(clip)
        for folder, name in (
            (settings.footage_folder, "<photos>"),
            (settings.store_folder, "<masks>"),
            (settings.bake_folder, "<bake>"),
            (settings.cameras, "<cameras>"),
            (settings.output_folder, "<output>"),
        ):
            found[bpy.path.abspath(folder).rstrip("/\\")] = name
    return {folder: name for folder, name in found.items() if len(folder) > 1}


def _versions() -> Iterator[str]:
    enabled = ADDON_PACKAGE in present(bpy.context.preferences).addons
    yield f"{version()}{'' if enabled else ' (not enabled as an add-on)'}"
    yield f"Blender {bpy.app.version_string}, Python {platform.python_version()}"
    yield f"{platform.system()} {platform.release()}, {platform.machine()}"
    if not bpy.app.background:
        import gpu

        yield f"Graphics: {gpu.platform.renderer_get()}, {gpu.platform.backend_type_get()}"
    try:
        sites = [str(folder) for folder in worker_session.environment().site_dirs]
    except SplatError as error:
        yield f"Packages: {error.message}"
        return
    stamp = installer.read_stamp(preferences.packages_folder())
    known = {one.name.lower(): one.version for one in importlib.metadata.distributions(path=sites)}
    versions = [f"{name} {known[name]}" for name in _PACKAGES if name in known]
    yield f"Packages: {', '.join(versions)}; build {stamp.torch if stamp else 'of this Python'}"


def _of_clip(clip: MovieClip | None) -> Iterator[str]:
    yield f"Device: {preferences.device()}, {preferences.threads()} threads (0: all)"
    if clip is None:
        yield "No photos are loaded."
        return
    settings = properties.of_clip(clip)
    yield f"Photos: {settings.frame_count}, {clip.size[0]} x {clip.size[1]} px"
    for subject in markers.subjects(clip):
        yield f"Subject: {len(subject.tracks)} clicks or boxes"
    told = [
        f"{one.name}={getattr(settings, one.name)}"
        for kind in CLIP_SETTINGS
        for one in declared(kind)
    ]
    yield f"Settings: model={settings.model}, {', '.join(told)}"
    run = matte_run.last_run(clip)
    if run is not None:
        machine = run.machine
        yield (
            f"Last run: {run.model} at {run.input_size} px on {machine.device}, {machine.dtype},"
            f" {machine.threads} threads, {machine.cpu_capability}"
        )


def _problems() -> Iterator[str]:
    problems = last_error.all_known()
    yield "Errors:" if problems else "Errors: none"
    for panel, problem in problems:
        yield f"  {panel}: {problem.kind.__name__}: {problem.sentence}"
