# SPDX-License-Identifier: GPL-3.0-or-later
"""Small real photos, a small random checkpoint, and propagate requests over them, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import save_file

from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import FootageFiles, ModelChoice, PropagateRequest
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import propagate
from sam2_splat_addon.engine.models.architectures import BUNDLED

from .random_models import HEIGHT, IMAGE_SIZE, WIDTH, random_model


def write_photos(folder: Path, count: int) -> FootageFiles:
    """Write JPEGs of smooth noise."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[str] = []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (12, 20, 3), dtype=np.uint8)
        path = folder / f"IMG_{number:04d}.jpg"
        Image.fromarray(noise).resize((WIDTH, HEIGHT)).save(path, quality=95)
        paths.append(str(path))
    return FootageFiles(str(folder), tuple(paths), WIDTH, HEIGHT, "fingerprint")


def write_checkpoint(path: Path) -> Path:
    """Write random weights of the bundled model, whose masks and scores have both signs."""
    weights = random_model(BUNDLED).state_dict()
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    return path


def clicked(object_id: int, frame: int, x: float, y: float, name: str = "thing") -> ObjectPrompts:
    """Return an object with one click."""
    return ObjectPrompts(object_id, name, (FramePrompts(frame, (PointPrompt(x, y),)),))


def with_click(
    thing: ObjectPrompts, frame: int, x: float = 30.0, y: float = 60.0, *, anew: bool = False
) -> ObjectPrompts:
    """Return the object with one more prompted frame."""
    prompts = FramePrompts(frame, (PointPrompt(x, y),), anew=anew)
    return replace(thing, frames=(*thing.frames, prompts))


def all_anew(thing: ObjectPrompts) -> ObjectPrompts:
    """Return the object, segmented from its prompts alone on each of its frames."""
    return replace(thing, frames=tuple(replace(at, anew=True) for at in thing.frames))


def request(
    footage: FootageFiles,
    checkpoint: Path,
    store: Path,
    *objects: ObjectPrompts,
    settings: RunSettings = RunSettings(),  # noqa: B008 - frozen
) -> PropagateRequest:
    """Return a request to propagate on one CPU thread."""
    model = ModelChoice(BUNDLED, str(checkpoint), "cpu", 1)
    return PropagateRequest(footage, PromptSet(objects), str(store), model, settings)


def propagated(wish: PropagateRequest, image_size: int = IMAGE_SIZE) -> MatteStore:
    """Propagate to the end, with a small model or at another size, and return the mattes."""
    propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=lambda _: None,
        on_log=lambda _: None,
        cancelled=lambda: False,
        image_size=image_size,
    )
    return MatteStore.open(Path(wish.store))


def store_bytes(store: Path) -> dict[str, bytes]:
    """Return every file of a store by its relative path."""
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}
