# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what is here: on the machine, of a job before it runs, and of the masks of a job."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ...core.cameras.find import cameras_of
from ...core.cameras.found import folder_beside
from ...core.capture_job import read_job, schema
from ...core.checkpoint_catalogue import BUNDLED_WEIGHTS, CHECKPOINTS
from ...core.errors import CameraError, CheckpointError, EnvironmentSetupError, SplatError
from ...core.footage.raw_photos import FILE_NAME, RawPhotos
from ...core.mattes.run_lock import no_run
from ...core.mattes.run_record import last_run
from ...core.mattes.store import STORE_NAME, MatteStore
from ...core.printable import counted
from ...core.system.safe_read import is_there
from ...core.system.terminal import say, write
from ...core.targets import TARGETS, TARGETS_BY_NAME
from ..packages import environment as packages
from . import workplace
from .run_job import Prepared, camera_estimate
from .watch import Watch
from .workplace import Workplace

_DISTRIBUTION: Final = "sam2-splat"
_PACKAGES: Final = ("torch", "sam2", "numpy", "opencv-python-headless", "pillow")
_MOST_BYTES: Final = 4  # a baked pixel has about so many at most
_GIGABYTE: Final = 1 << 30


def version() -> str:
    """Return the name and the version of this program."""
    addon = Path(__file__).parents[2]
    for manifest in (addon / "blender_manifest.toml", addon.parent / "blender_manifest.toml"):
        if manifest.is_file():  # in the extension, or in the source
            text = manifest.read_text(encoding="utf-8")
            found = re.search(r'^version\s*=\s*"([^"]+)"', text, re.M)
            return f"SAM2 Splat {found[1]}" if found else "SAM2 Splat of unknown version"
    try:
        return f"SAM2 Splat {importlib.metadata.version(_DISTRIBUTION)}"
    except importlib.metadata.PackageNotFoundError:
        return "SAM2 Splat of unknown version"


def info(arguments: Sequence[str]) -> int:
    """Do the command `info` and return the exit code."""
    own = argparse.ArgumentParser(
        prog="sam2-splat info", description="Show versions, folders and models, or a job's masks."
    )
    own.add_argument("job", type=Path, nargs="?", metavar="JOB", help="a job file")
    own.add_argument("--json", action="store_true", help="as JSON")
    own.add_argument("--schema", action="store_true", help="print the JSON Schema of a job file")
    own.add_argument("--trainers", action="store_true", help="list the trainers to bake for")
    try:
        options = own.parse_args(list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if options.schema:
        write(schema().decode())
        return 0
    if options.trainers:
        width = max(map(len, TARGETS_BY_NAME))
        for target in TARGETS:
            write(f"{target.name:{width}}  {target.text}\n")
        return 0
    try:
        facts = list(_of_job(options.job) if options.job else _of_machine())
    except SplatError as error:
        say(f"Error: {error}", error=True)
        return 4
    if options.json:
        write(msgspec.json.encode(dict(facts)).decode() + "\n")
    else:
        for name, value in facts:
            say(f"{name}: {value}")
    return 0


def _of_machine() -> Iterator[tuple[str, str]]:
    yield "program", version()
    yield "python", platform.python_version()
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    try:
        found = workplace.environment()
    except EnvironmentSetupError as error:
        yield "packages", str(error)
    else:
        sites = [str(folder) for folder in found.site_dirs]
        yield "packages", ", ".join(sites)
        known = {
            one.name.lower(): one.version
            for one in importlib.metadata.distributions(path=sites)
            if one.name
        }
        for name in _PACKAGES:
            yield name, known.get(name, "missing")
    yield "cache", str(workplace.cache_folder())
    yield "models", str(workplace.model_folder())
    yield "bundled", "here" if BUNDLED_WEIGHTS.is_file() else f"missing: {BUNDLED_WEIGHTS}"
    for entry in CHECKPOINTS.values():
        path = workplace.model_folder() / entry.file_name
        yield entry.name, "here" if is_there(path) else "not downloaded"


def _of_job(path: Path) -> Iterator[tuple[str, str]]:
    job = read_job(path)
    photos = Path(job.photos)
    yield "photos", job.photos
    yield "steps", ", ".join(job.steps)
    yield "subjects", ", ".join(job.names().values())
    beside = photos if photos.is_dir() else photos.parent
    store = MatteStore(Path(job.store) if job.store else beside / STORE_NAME)
    yield "masks", str(store.folder)
    manifest = last_run(store)
    if manifest is not None:
        yield "model", manifest.model
        yield "machine", f"{manifest.machine.device}, {manifest.machine.dtype}"
    for object_id, name in job.names().items():
        yield f"masks of {name}", str(len(store.frames(object_id)))


def checked(ready: Prepared, at: Workplace, watch: Watch) -> None:
    """Tell what was found out about a job. Raises SplatError if it could not run.

    `prepared` has raised for photos, prompts, settings and places already.
    """
    job, footage = ready.job, ready.footage
    if ready.checkpoint and not is_there(Path(ready.checkpoint)):
        raise CheckpointError(f"{ready.checkpoint} does not exist.", "Correct the path.")
    if not ready.checkpoint and not BUNDLED_WEIGHTS.is_file():
        raise CheckpointError(f"{BUNDLED_WEIGHTS} is missing.", "Install SAM2 Splat again.")
    missing = packages.check(workplace.environment())
    if missing:
        raise EnvironmentSetupError(
            f"Packages are missing: {', '.join(map(str, missing))}.", "Install SAM 2 again."
        )
    store = MatteStore(ready.store)
    if is_there(store.folder):
        store.require_there()
        with no_run(store.folder):
            pass
    for entry in job.prompts.objects:
        watch.said(
            f"{entry.name}: prompts on {counted(len(entry.frames), 'photo')},"
            f" {counted(len(store.frames(entry.id)), 'mask')} from earlier runs"
        )
    if job.drawn:
        watch.said(f"{counted(len(job.drawn), 'drawn mask')}")
    _check_cameras(ready, at, watch)
    _check_space(ready, watch)
    watch.said(f"Ready: {', '.join(job.steps)} over {counted(len(footage), 'photo')}")


def _check_cameras(ready: Prepared, at: Workplace, watch: Watch) -> None:
    job, footage = ready.job, ready.footage
    try:
        found = cameras_of(
            footage.paths,
            footage.width,
            footage.height,
            Path(job.cameras) if job.cameras else None,
            footage.sizes.odd,
            RawPhotos(at.cache / FILE_NAME).of,
            folder_beside(ready.store),
        )
    except CameraError as error:
        if job.does("cameras"):
            watch.said(f"Finding the cameras takes {camera_estimate(ready)}")
            return
        if job.does("compare") or job.does("agree") or job.bake.clip_to_hull or job.cameras:
            raise
        watch.said(error.message)
    else:
        watch.said(found.summary())
        for warning in found.warnings:
            watch.warned(warning)


def _check_space(ready: Prepared, watch: Watch) -> None:
    if not ready.job.does("bake"):
        return
    place = Path(ready.job.output or ready.job.output_in or ready.footage.folder)
    while not is_there(place):
        place = place.parent
    free = shutil.disk_usage(place).free
    pixels = sum(at.header.width * at.header.height for at in ready.footage.frames)
    most = pixels * _MOST_BYTES * len(ready.job.targets)
    if most > free:
        watch.warned(
            f"The disk of {place} has {free / _GIGABYTE:.1f} GB free, and the bake may need"
            f" {most / _GIGABYTE:.1f} GB."
        )
