# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake in parts, which several machines do at the same time, and know a bake that was made before.

A part is a range of frames. Its images lie ready in the store, below a digest of all that decides their
bytes. The bake itself is done as always, at the end and by one machine, but it takes what lies ready. So
its bytes are the same. What is missing, or was made of something else, it bakes itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.bake_plan import BakeItem, BakePlan
from ...core.errors import StoreError
from ...core.footage.damaged_photos import DamagedFrame
from ...core.mattes.store import BAKED_NAME, MATTES, PARTS, MatteStore
from ...core.protocol import BakeRequest, FrameRange
from ...core.system.atomic_file import make_folder, write_atomic
from ...core.system.npz_file import read_npz
from ...core.system.safe_read import UNREADABLE, read_plain
from ...core.system.shared_copy import share
from .bake_frames import BakedMattes, FrameBaker
from .bake_manifest import MANIFEST_NAME
from .bake_targets import said_as_bake_error
from .dataset import Dataset

BAKE_VERSION: Final = "1"
"""Raise it when the same inputs give other images than before."""

_PART: Final = "part.json"
_SAID: Final = "said.npz"
_DIGITS: Final = 24
_MOST_RECORDS: Final = 32
_MOST_SAID: Final = 1 << 31  # bytes


class Part(msgspec.Struct, frozen=True):
    """What lies ready. It is written last.

    Attributes
    ----------
    frames
        Frame -> size of each of its files, bytes; a photo that is only linked has none.
    damaged
        Photos of the range that don't decode whole.
    """

    frames: dict[int, tuple[int, ...]]
    damaged: tuple[DamagedFrame, ...] = ()


class BakedBefore(msgspec.Struct, frozen=True):
    """A finished bake: its folder, relative to the store, and the number of its frames."""

    folder: str
    frames: tuple[int, ...]
    damaged: tuple[DamagedFrame, ...] = ()


def digest_of(
    request: BakeRequest,
    mattes: BakedMattes,
    dataset: Dataset | None,
    versions: Mapping[str, str],
    refines_on: str,
) -> str:
    """Return the digest of all that decides the bytes of a bake's images."""
    said = (
        BAKE_VERSION,
        request.footage.fingerprint,
        request.options,
        request.edited,
        request.raw_photos,
        sorted((*at, mark.key, mark.checksum) for at, mark in mattes.marks.items()),
        sorted(mattes.unfinished),
        sorted(mattes.damaged),
        dict(versions),
        (refines_on, request.threads) if refines_on else "",
    )
    digest = hashlib.sha256(msgspec.msgpack.encode(said, order="deterministic"))
    if dataset is not None:
        digest.update(dataset.digest())
    return digest.hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class BakeParts:
    """The parts of one bake in a store.

    Attributes
    ----------
    digest
        See `digest_of`.
    """

    store: MatteStore
    digest: str

    def laid_out(self, plan: BakePlan, part: FrameRange) -> BakePlan:
        """Return the plan of one part, whose files have their places in the store, and make these.

        Raises
        ------
        BakeError
            The store can't be written.
        """
        below = self._below(part.first)
        with said_as_bake_error(self.store.folder / below):
            MATTES.claim(self.store.folder)
            MATTES.remove(self.store.folder, below)
            folder = MATTES.make(self.store.folder, below)
            items = tuple(item for item in plan.items if part.first <= item.frame <= part.last)
            for item in items:
                make_folder(folder / f"{item.frame:06d}")
        return dataclasses.replace(plan, items=tuple(_laid(item, folder) for item in items))

    def note(
        self,
        plan: BakePlan,
        part: FrameRange,
        baker: FrameBaker,
        damaged: Mapping[int, DamagedFrame],
    ) -> None:
        """Write that a part is complete; raises BakeError."""
        folder = self.store.folder / self._below(part.first)
        said = baker.dataset.said() if baker.dataset is not None else {}
        ignored = baker.writer.always_ignored
        if ignored is not None:
            said["ignored"] = ignored
        frames = {
            item.frame: tuple(path.stat().st_size for path in _written(item))
            for item in plan.items
            if item.frame not in damaged
        }
        within = (damaged[frame] for frame in sorted(damaged) if part.first <= frame <= part.last)
        with said_as_bake_error(folder):
            data = io.BytesIO()
            np.savez_compressed(data, allow_pickle=False, **said)
            write_atomic(folder / _SAID, data.getvalue())
            write_atomic(folder / _PART, msgspec.json.encode(Part(frames, tuple(within))))

    def take(self, plan: BakePlan, baker: FrameBaker) -> tuple[set[int], dict[int, DamagedFrame]]:
        """Put into the plan's places what lies ready.

        Returns
        -------
        tuple
            The frames that are done by that, and the damaged photos among them.

        Raises
        ------
        BakeError
            A file can't be written.
        """
        items = {item.frame: item for item in plan.items}
        done: set[int] = set()
        damaged: dict[int, DamagedFrame] = {}
        for folder in self._folders():
            found = _read(folder)
            if found is None:
                continue
            part, said = found
            here = {*part.frames, *(one.frame for one in part.damaged)}
            if here & done or not here <= items.keys() | {one.frame for one in part.damaged}:
                continue
            laid = {frame: _written(_laid(items[frame], folder)) for frame in part.frames}
            if any(_sizes(laid[frame]) != sizes for frame, sizes in part.frames.items()):
                continue
            for frame, files in laid.items():
                for source, path in zip(files, _written(items[frame]), strict=True):
                    with said_as_bake_error(path):
                        share(source, path, folders=baker.writer.folders)
            ignored = said.pop("ignored", None)
            if ignored is not None:
                baker.writer.hear_ignored(ignored)
            if baker.dataset is not None:
                baker.dataset.hear(said)
            done |= here
            damaged |= {one.frame: one for one in part.damaged}
        return done, damaged

    def drop(self) -> None:
        """Remove what lies ready, also for other bakes: it is of no use after a bake."""
        if (self.store.folder / PARTS).is_dir():
            with contextlib.suppress(OSError, StoreError):
                MATTES.remove(self.store.folder, PARTS)

    def before(self, folder: Path) -> tuple[Path, BakedBefore] | None:
        """Return the folder of the same bake, if one is there and complete.

        Parameters
        ----------
        folder
            Where the bake would go. The one that is there lies beside it, or is it.
        """
        made = _records(self.store).get(self.digest)
        if made is None:
            return None
        place = Path(os.path.normpath(self.store.folder.absolute() / made.folder))
        is_here = place.parent == folder.absolute().parent
        manifests = (place / MANIFEST_NAME, *place.glob(f"*/{MANIFEST_NAME}"))
        if is_here and any(path.is_file() for path in manifests):
            return place, made
        return None

    def remember(self, made: BakedBefore) -> None:
        """Note a finished bake. A store that can't be written keeps no note."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: on another drive of Windows
            place = os.path.relpath(made.folder, self.store.folder.absolute())
            note = msgspec.structs.replace(made, folder=place)
            if MATTES.owns(self.store.folder):
                known = {at: one for at, one in _records(self.store).items() if at != self.digest}
                kept = dict(list(known.items())[1 - _MOST_RECORDS :]) | {self.digest: note}
                path = self.store.folder / BAKED_NAME
                make_folder(path.parent)
                write_atomic(path, msgspec.json.format(msgspec.json.encode(kept)))

    def _below(self, first: int) -> str:
        return f"{PARTS}/{self.digest}/{first:06d}"

    def _folders(self) -> list[Path]:
        folder = self.store.folder / PARTS / self.digest
        if not MATTES.owns(self.store.folder) or not folder.is_dir():
            return []
        return sorted(
            {
                path.parent
                for path in MATTES.files(self.store.folder, f"{PARTS}/{self.digest}")
                if path.name == _PART
            }
        )


def _laid(item: BakeItem, folder: Path) -> BakeItem:
    """Return a frame of the plan with places in a part's folder. The extension of each file stays."""
    numbers = iter(range(1, 1 + sum(len(output.files) for output in item.outputs)))

    def place(path: Path) -> Path:
        return folder / f"{item.frame:06d}" / f"{next(numbers):03d}{path.suffix}"

    return dataclasses.replace(
        item,
        outputs=tuple(
            dataclasses.replace(
                output,
                image=place(output.image),
                mask=place(output.mask) if output.mask is not None else None,
                smaller=tuple(
                    dataclasses.replace(one, image=place(one.image), mask=place(one.mask))
                    for one in output.smaller
                ),
            )
            for output in item.outputs
        ),
    )


def _written(item: BakeItem) -> list[Path]:
    """Return the files that are made for a frame: all but photos that are only linked."""
    return [
        path
        for output in item.outputs
        for path in output.files
        if not (output.is_photo and path == output.image)
    ]


def _sizes(files: list[Path]) -> tuple[int, ...]:
    try:
        return tuple(path.stat().st_size for path in files)
    except OSError:
        return (-1,)


def _read(folder: Path) -> tuple[Part, dict[str, NDArray[Any]]] | None:
    """Return a part that is complete; None for any other."""
    try:
        part = msgspec.json.decode(read_plain(folder / _PART), type=Part)
        data = read_plain(folder / _SAID)
        if len(data) > _MOST_SAID:
            return None
        return part, read_npz(data)
    except (OSError, *UNREADABLE):
        return None


def _records(store: MatteStore) -> dict[str, BakedBefore]:
    try:
        data = read_plain(store.folder / BAKED_NAME)
        return msgspec.json.decode(data, type=dict[str, BakedBefore])
    except (OSError, *UNREADABLE):
        return {}
