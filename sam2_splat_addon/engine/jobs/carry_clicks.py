# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry clicks to other photos before a propagation (`agreement.carry`), where that helps.

It is for captures of several passes: where another pass begins, tracking has no photo before it. What was
carried is kept in the store. It is the same for the same photos, cameras, anchors and model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...core.cameras.find import PhotoCameras
from ...core.edited_prompts import with_edited
from ...core.errors import CameraError, Cancelled, DamagedPhoto
from ...core.mattes.carried import (
    CarriedClicks,
    anchors_of,
    forget_carried,
    read_carried,
    write_carried,
)
from ...core.mattes.run_lock import only_run
from ...core.mattes.run_record import require_own_capture
from ...core.mattes.store import MatteStore
from ...core.printable import counted
from ...core.prompts import FramePrompts, ObjectPrompts, PromptSet
from ...core.protocol import Log, Progress, PropagateRequest
from ..agreement.carry import carry, targets
from ..agreement.kept_hull import camera_bytes
from ..models.checkpoints import checkpoint_path, sha256_of
from .compare import cameras_for
from .find_subject import mask_of

CARRY_VERSION: Final = "1"
"""Raise it when the same inputs give other clicks than before."""

_STEPS: Final = 80
"""About how many steps it takes for a subject, for the progress bar."""


def prepared(
    request: PropagateRequest,
    *,
    on_progress: Callable[[Progress], None],
    on_log: Callable[[Log], None],
    cancelled: Callable[[], bool],
    image_size: int = 0,
) -> PropagateRequest:
    """Return the request with clicks that were carried to other photos, if that is wanted and helps.

    Raises
    ------
    CameraError
        The user wants it, but there are no cameras of these photos.
    SplatError
        Prompts, model, device or store are wrong.
    Cancelled
        ``cancelled`` returned True.
    """
    wish = request.settings.carry_clicks
    footage = request.footage
    if wish == "off" or request.settings.panorama:
        return request
    if wish == "automatic" and not footage.cuts:
        forget_carried(MatteStore(Path(request.store)))
        return request
    try:
        found = cameras_for(footage, request.cameras, request.store)
    except CameraError:
        if wish == "on":
            raise
        forget_carried(MatteStore(Path(request.store)))
        return request
    prompts = with_edited(request.prompts, request.edited, footage.sizes)
    prompts = prompts.checked(footage.sizes, len(footage.paths))
    require_own_capture(MatteStore(Path(request.store)), footage)
    store = MatteStore.open(Path(request.store), create=True)
    objects = []
    with only_run(store.folder):
        for entry in prompts.objects:
            anchors = anchors_of(entry)
            key = _key(request, found, anchors)
            kept = read_carried(store, entry.id)
            if kept is None or kept.key != key or kept.anchors != anchors:
                steps = _Steps(entry.name, on_progress, cancelled)
                frames = _carried(request, found, anchors, steps, cancelled, image_size)
                kept = CarriedClicks(key, anchors, frames)
                write_carried(store, entry.id, kept)
            told = {at.frame for at in entry.frames}
            frames = tuple(at for at in kept.frames if at.frame not in told)
            on_log(
                Log(
                    "info",
                    f"Clicks on {entry.name} were carried to {counted(len(frames), 'photo')}.",
                )
            )
            if frames:
                objects.append(ObjectPrompts(entry.id, entry.name, frames))
    return replace(request, carried=PromptSet(tuple(objects)))


class _Steps:
    """Say how far it is after each step, and stop it if the user has cancelled."""

    def __init__(
        self, name: str, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> None:
        self._name, self._on_progress, self._cancelled = name, on_progress, cancelled
        self._done = 0

    def __call__(self) -> None:
        if self._cancelled():
            raise Cancelled
        self._done = min(self._done + 1, _STEPS - 1)
        self._on_progress(Progress("carrying", self._done, _STEPS, object_name=self._name))


def _carried(
    request: PropagateRequest,
    cameras: PhotoCameras,
    anchors: tuple[FramePrompts, ...],
    go_on: Callable[[], None],
    cancelled: Callable[[], bool],
    image_size: int,
) -> tuple[FramePrompts, ...]:
    footage = request.footage

    def segment(prompts: FramePrompts) -> NDArray[np.float16] | None:
        try:
            return mask_of(footage, prompts, request.model, request.settings, cancelled, image_size)
        except DamagedPhoto:
            return None

    given = {}
    for at in anchors:
        go_on()
        logits = segment(at) if at.frame in cameras.by_frame else None
        if logits is not None:
            given[at.frame] = (at, logits)
    wanted = targets(cameras, footage.cuts, [at.frame for at in anchors])
    return carry(cameras, given, wanted, segment, go_on)


def _key(
    request: PropagateRequest, cameras: PhotoCameras, anchors: tuple[FramePrompts, ...]
) -> str:
    """Return the digest of everything that decides the carried clicks."""
    model, footage = request.model, request.footage
    told = (
        CARRY_VERSION,
        footage.fingerprint,
        footage.cuts,
        sha256_of(checkpoint_path(model.name, model.checkpoint)),
        request.settings.without_way(),
        anchors,
    )
    digest = hashlib.sha256(msgspec.json.encode(told, order="deterministic"))
    for frame, camera in sorted(cameras.by_frame.items()):
        digest.update(f"{frame}".encode() + camera_bytes(camera))
        digest.update(np.ascontiguousarray(cameras.shown.get(frame, ())).tobytes())
    digest.update(np.ascontiguousarray(cameras.points).tobytes())
    return digest.hexdigest()
