# SPDX-License-Identifier: GPL-3.0-or-later
"""How far *Agree* has come with a store, so that a stopped one goes on there.

It is kept in the store. It counts for the same photos, cameras, prompts, drawn masks, model and settings.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Final

import msgspec

from ...core.cameras.find import PhotoCameras
from ...core.mattes.store import AGREED_NAME, MatteStore
from ...core.prompts import PromptSet
from ...core.protocol import PropagateRequest
from ...core.system.safe_read import UNREADABLE, read_plain
from ..agreement.kept_hull import camera_bytes
from ..models.checkpoints import checkpoint_path, sha256_of

AGREE_VERSION: Final = "3"
"""Raise it when the same inputs get other prompts than before."""


class AgreedRounds(msgspec.Struct, frozen=True):
    """The rounds until now.

    Attributes
    ----------
    key
        Digest of everything that decides them.
    begun
        How far the masks agreed before the first round, 0 to 1.
    prompts
        Those of the request, and those of the rounds that were taken.
    done
        Number of rounds of which is known whether they help.
    trying
        The prompts of the round after these, as far as they are known.
    ended
        Whether no round after these helps.
    """

    key: str
    begun: float
    prompts: PromptSet
    done: int = 0
    trying: PromptSet | None = None
    ended: bool = False


def read_rounds(store: MatteStore, key: str) -> AgreedRounds | None:
    """Return what is known; None if nothing is known, it is damaged, or something has changed."""
    for path in sorted(store.folder.glob(f"state/*/{AGREED_NAME}")):
        with contextlib.suppress(OSError, *UNREADABLE):
            found = msgspec.json.decode(read_plain(path), type=AgreedRounds)
            if found.key == key:
                return found
    return None


def write_rounds(store: MatteStore, rounds: AgreedRounds) -> None:
    """Write it with the first subject, whole or not at all; raises StoreError."""
    first = min(entry.id for entry in rounds.prompts.objects)
    store.write_state(first, AGREED_NAME, msgspec.json.encode(rounds))


def rounds_key(request: PropagateRequest, prompts: PromptSet, cameras: PhotoCameras) -> str:
    """Return the digest of everything that decides which prompts are added."""
    model, footage, settings = request.model, request.footage, request.settings
    told = (
        AGREE_VERSION,
        footage.fingerprint,
        footage.cuts,
        sha256_of(checkpoint_path(model.name, model.checkpoint)),
        settings,
        prompts,
        request.edited,
        request.carried,
    )
    digest = hashlib.sha256(msgspec.json.encode(told, order="deterministic"))
    for frame, camera in sorted(cameras.by_frame.items()):
        digest.update(f"{frame}".encode() + camera_bytes(camera))
    return digest.hexdigest()
