# SPDX-License-Identifier: GPL-3.0-or-later
"""A real worker process with an engine that misbehaves on request."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam2_splat_addon.client.packages.environment import WorkerEnvironment
from sam2_splat_addon.client.worker.worker_pool import WorkerPool
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import FootageFiles, ModelChoice, PropagateRequest
from sam2_splat_addon.core.settings import RunSettings

HERE = Path(__file__).parent
ADDON = HERE.parents[1] / "sam2_splat_addon"
_NO_CACHE = shutil.ignore_patterns("__pycache__")

Ask = Callable[..., PropagateRequest]


@pytest.fixture(scope="session")
def environment() -> WorkerEnvironment:
    return WorkerEnvironment(Path(sys.executable), ())


@pytest.fixture(scope="session")
def unruly_addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the add-on's core and worker under another name, with ``unruly_engine.py`` as engine."""
    addon = tmp_path_factory.mktemp("extensions") / "sam2_splat"
    shutil.copytree(ADDON / "core", addon / "core", ignore=_NO_CACHE)
    shutil.copytree(ADDON / "engine" / "worker", addon / "engine" / "worker", ignore=_NO_CACHE)
    jobs = addon / "engine" / "jobs"
    jobs.mkdir()
    for package in (addon / "engine", jobs):
        shutil.copy(ADDON / "engine" / "__init__.py", package)
    shutil.copy(HERE / "unruly_engine.py", jobs / "propagate.py")
    shutil.copy(HERE / "unruly_preview.py", jobs / "preview.py")
    (addon / "__init__.py").write_text("import bpy  # the worker must not come here\n")
    return addon


@pytest.fixture
def pool(environment: WorkerEnvironment, unruly_addon: Path) -> Iterator[WorkerPool]:
    pool = WorkerPool(environment, addon_folder=unruly_addon)
    yield pool
    pool.shutdown()


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Make a request; ``behaviour`` chooses what the unruly engine does."""

    def make(behaviour: str, frames: int = 5, objects: int = 1) -> PropagateRequest:
        click = (FramePrompts(1, (PointPrompt(1, 1),)),)
        return PropagateRequest(
            FootageFiles(str(tmp_path), ("a.jpg",) * frames, 8, 8, "fingerprint"),
            PromptSet(tuple(ObjectPrompts(i + 1, "chair" * 100, click) for i in range(objects))),
            str(tmp_path / "store"),
            ModelChoice(behaviour),
            RunSettings(last_frame=frames),
        )

    return make
