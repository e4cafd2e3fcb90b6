# SPDX-License-Identifier: GPL-3.0-or-later
"""Full circles round a subject with true cameras and true masks, for everything that uses the cameras.

Seeds are under 1000, so no training has seen these scenes. There are four sorts: somebody walks past
(``walker``), things that look like the subject stand beside it (``alike``), a screen hides it for five
photos (``hidden``), and nothing of all that (``plain``). Each is rendered once, and propagated once from
one click, or from three, on its first photo.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

import msgspec
import numpy as np
from PIL import Image

from sam2_splat_addon.core.cameras.find import PhotoCameras, cameras_of
from sam2_splat_addon.core.footage.scan import Footage, scan
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PromptSet
from sam2_splat_addon.core.protocol import FootageFiles, ModelChoice, PropagateRequest
from sam2_splat_addon.core.system.atomic_file import write_atomic
from tools.research.bench.evaluation import lookalikes, orbits
from tools.research.bench.review import Bools, clicked
from tools.research.capture.identity import SUBJECT
from tools.research.capture.scene_file import SceneFacts, decode
from tools.research.capture.stage import Stage, StagePlan

FIRST_SEED: Final = 800
FRAMES: Final = 36
SIZE: Final = (320, 480)  # px
Order = Literal["circle", "unordered", "passes"]
"""How photos follow each other: round the subject, anyhow, or twice round it in opposite directions."""

SORTS: Final = ("walker", "alike", "hidden", "plain")
KINDS: Final = ("teapot", "table", "office_chair", "plant", "figure", "bicycle", "statue", "stool")
"""The first ones are those of each sort, if fewer are wanted."""


@dataclass(frozen=True)
class Circle:
    """A rendered capture.

    Attributes
    ----------
    folder
        Photos, true ids, and ``scene.json``.
    photos
        A folder with links to the photos alone.
    found
        The model that *Find Cameras* has found, if it is to be used in place of the true cameras.
    """

    sort: str
    kind: str
    folder: Path
    photos: Path
    found: Path | None = None

    @property
    def name(self) -> str:
        """For people, and for folders."""
        return f"{self.sort}_{self.kind}"

    def footage(self) -> Footage:
        """Return the photos."""
        return scan(self.photos)

    def truth(self, frame: int) -> Bools:
        """Where the subject is visible on a frame, (height, width)."""
        found: Bools = np.asarray(Image.open(self.folder / f"{frame - 1:04d}.png")) == SUBJECT
        return found

    def facts(self) -> SceneFacts:
        """Return what the renderer says of the capture."""
        return decode((self.folder / "scene.json").read_bytes())

    @property
    def cameras_file(self) -> Path:
        """The cameras to use: the true ones, as nerfstudio would write them, or found ones."""
        return self.found or self.true_cameras_file

    @property
    def true_cameras_file(self) -> Path:
        """The true cameras, as nerfstudio would write them."""
        return self.folder / "transforms.json"

    def cameras(self) -> PhotoCameras:
        """Return the cameras to use."""
        return cameras_of(self.footage().paths, *self.facts().size, self.cameras_file)


def _write_cameras(circle: Circle) -> None:
    facts = circle.facts()
    width, height = facts.size
    frames = []
    for one in facts.frames:
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(one.camera.axes).T
        matrix[:3, 3] = one.camera.position
        focal = one.camera.lens * max(width, height) / 36.0
        frames.append({"file_path": one.file, "fl_x": focal, "transform_matrix": matrix.tolist()})
    told = {"w": width, "h": height, "frames": frames}
    write_atomic(circle.true_cameras_file, msgspec.json.encode(told))


def rendered(sort: str, kind: str, cache: Path, report: Callable[[str], None]) -> Circle:
    """Return a capture of a sort. It is rendered now if it is not in the cache yet."""
    occluder = "walker" if sort == "walker" else ""
    sweep = 2 * math.pi
    plan = StagePlan(kind, FIRST_SEED + KINDS.index(kind), SIZE, FRAMES, sweep, occluder=occluder)
    cache.mkdir(parents=True, exist_ok=True)
    if sort == "alike":
        folder = lookalikes.rendered(plan, cache, report)
    elif sort == "hidden":
        folder = orbits.hidden_orbit(plan, cache, report)
    else:
        suffix = "_walker" if sort == "walker" else ""
        folder = orbits.rendered_stage(Stage, plan, cache, report, suffix=suffix)
    photos = cache / "photos" / folder.name
    if not photos.exists():
        photos.mkdir(parents=True)
        for path in sorted(folder.glob("*.jpg")):
            (photos / path.name).symlink_to(path.resolve())
    circle = Circle(sort, kind, folder, photos)
    _write_cameras(circle)
    return circle


def frames_in(order: Order, count: int) -> list[int]:
    """Return the frames of the circle, from 1, in the order in which the photos shall follow."""
    frames = list(range(1, count + 1))
    if order == "unordered":
        Random(5).shuffle(frames)
    elif order == "passes":
        # The second pass has the photos between, begins on the other side, and goes back.
        second = frames[1::2][::-1]
        middle = len(second) // 2
        return frames[0::2] + second[middle:] + second[:middle]
    return frames


def reordered(circle: Circle, order: Order, cache: Path) -> Circle:
    """Return the same photos in another order, with their cameras and truths."""
    if order == "circle":
        return circle
    folder = cache / order / circle.name
    shutil.rmtree(folder, ignore_errors=True)
    photos = folder / "photos"
    photos.mkdir(parents=True)
    told = msgspec.json.decode(circle.cameras_file.read_bytes())
    known = {Path(one["file_path"]).stem: one for one in told["frames"]}
    cameras = []
    for frame, before in enumerate(frames_in(order, len(circle.footage()))):
        for at, suffix in ((photos, ".jpg"), (folder, ".png")):
            original = circle.folder / f"{before - 1:04d}{suffix}"
            (at / f"{frame:04d}{suffix}").symlink_to(original.resolve())
        cameras.append({**known[f"{before - 1:04d}"], "file_path": f"{frame:04d}.jpg"})
    (folder / "scene.json").symlink_to((circle.folder / "scene.json").resolve())
    write_atomic(folder / "transforms.json", msgspec.json.encode({**told, "frames": cameras}))
    return Circle(f"{order}_{circle.sort}", circle.kind, folder, photos)


def request_of(circle: Circle, clicks: int, store: Path) -> PropagateRequest:
    """Return the propagation of so many clicks on the first photo by the bundled model, on one thread."""
    footage = circle.footage()
    frame = FramePrompts(1, clicked(circle.truth(1), clicks))
    prompts = PromptSet((ObjectPrompts(1, "subject", (frame,)),), footage.width, footage.height)
    model = ModelChoice("bundled", device="cpu", threads=1)
    return PropagateRequest(FootageFiles.of(footage), prompts, str(store), model)


def track(request: PropagateRequest) -> None:
    """Propagate, and tell nobody how far it is."""
    from sam2_splat_addon.engine.jobs import propagate

    propagate.run(
        request,
        on_progress=lambda event: None,
        on_frame_done=lambda event: None,
        on_log=lambda event: None,
        cancelled=lambda: False,
    )


def propagated(circle: Circle, clicks: int, cache: Path) -> MatteStore:
    """Return the mattes from so many clicks. Those in the cache are taken, if they are up to date."""
    from sam2_splat_addon.engine.models.bundled_model import BUNDLED_WEIGHTS

    digest = hashlib.sha256(BUNDLED_WEIGHTS.read_bytes()).hexdigest()[:12]
    store = MatteStore.open(cache / digest / f"{circle.name}_{clicks}", create=True)
    track(request_of(circle, clicks, store.folder))
    return store
