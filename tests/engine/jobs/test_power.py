# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut at any moment: finished mattes stay, torn ones count as missing, runs never mix."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.errors import Cancelled
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.mattes.run_record import last_run
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.mattes.unfinished_run import void_keys
from sam2_splat_addon.core.protocol import BakeRequest, FootageFiles, PropagateRequest
from sam2_splat_addon.engine.jobs import propagate
from sam2_splat_addon.engine.jobs.bake import bake
from sam2_splat_addon.engine.jobs.bake_manifest import MANIFEST_NAME

from ...power_cut import WAYS, Disk, Way
from ..photo_footage import clicked, request, write_photos
from ..random_models import IMAGE_SIZE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_FRAMES = 4
_OLD, _NEW = clicked(1, 2, 70.0, 40.0), clicked(1, 2, 30.0, 20.0)


def _run(wish: PropagateRequest, done: list[int] | None = None, stop_after: int = -1) -> None:
    reported: list[int] = [] if done is None else done
    propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=lambda event: reported.append(event.frame),
        on_log=lambda _: None,
        cancelled=lambda: len(reported) == stop_after,
        image_size=IMAGE_SIZE,
    )


def _mattes(folder: Path) -> dict[int, bytes]:
    """Return the usable mattes by frame."""
    store = MatteStore(folder)
    whole = [frame for frame in store.frames(1) if store.mark(1, frame) is not None]
    return {frame: store.path(1, frame).read_bytes() for frame in whole}


class Footage:
    """Photos, and the mattes that two runs give them: an earlier run, and the run that is cut off."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        photos = write_photos(folder / "photos", _FRAMES)
        self.before = request(photos, checkpoint, folder / "before", _OLD)
        self.wish = request(photos, checkpoint, folder / "new", _NEW)
        _run(self.before)
        _run(self.wish)
        self.old = _mattes(folder / "before")
        self.new = _mattes(folder / "new")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Footage:
    return Footage(tmp_path_factory.mktemp("power"), checkpoint)


@pytest.mark.parametrize("stop_after", [-1, 2])
def test_at_any_moment_of_a_run_over_another_ones_mattes(
    stop_after: int, footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each frame has the old matte or the new one. Every frame that was reported has the new one."""
    store = tmp_path / "store"
    _run(replace(footage.before, store=str(store)))
    disk = Disk(store)
    done: list[Any] = []
    cuts = 0
    seen: set[tuple[int, ...]] = set()

    def cut() -> None:
        nonlocal cuts
        for way in WAYS:
            left = disk.left(tmp_path / f"{way}{cuts}", way, cuts)
            new = _look(left, footage, done)
            seen.add(new)
        cuts += 1

    with disk.looking_on(cut):
        try:
            _run(replace(footage.wish, store=str(store)), done, stop_after)
        except Cancelled:
            assert stop_after >= 0
    finished = disk.left(tmp_path / "over", "nothing")
    assert _mattes(finished) == _mattes(store)
    assert set(_look(finished, footage, done)) == set(done)
    assert {len(new) for new in seen} == set(range((_FRAMES if stop_after < 0 else stop_after) + 1))
    disk.close()
    for number in (cuts // 3, cuts // 2, cuts - 3):
        for way in WAYS:
            _run(replace(footage.wish, store=str(tmp_path / f"{way}{number}")))
            assert _mattes(tmp_path / f"{way}{number}") == footage.new


def _look(left: Path, footage: Footage, done: list[int]) -> tuple[int, ...]:
    """Check what a power cut has left; return the frames with a matte of the new run."""
    found = _mattes(left)
    new = tuple(frame for frame, data in found.items() if data == footage.new[frame])
    assert found.keys() == footage.old.keys()
    assert all(found[frame] == footage.old[frame] for frame in found if frame not in new)
    assert set(done) <= set(new)
    store = MatteStore(left)
    run, void = last_run(store), void_keys(store).get(1, {})
    assert run is not None
    # A bake takes the valid mattes: either all of the new run, or all of the earlier one.
    assert {frame for frame in found if frame not in void} == (set(new) or set(found))
    return new


@pytest.mark.parametrize("way", WAYS)
def test_a_first_run_that_was_cut_goes_on_to_the_same_mattes(
    way: Way, footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing syncs the memories, so they are missing or torn, and some names are not there yet."""
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    done: list[Any] = []
    store, wish = tmp_path / "disk" / "store", footage.wish

    def cut() -> None:
        if len(done) == 3 and not (tmp_path / "left").exists():
            disk.left(tmp_path / "left", way)

    with disk.looking_on(cut):
        _run(replace(wish, store=str(store)), done)
    disk.close()
    _run(replace(wish, store=str(tmp_path / "left" / "store")))
    assert _mattes(tmp_path / "left" / "store") == footage.new


def test_a_bake_that_says_it_is_complete_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    disk, photos = Disk(tmp_path / "disk"), tmp_path / "photos"
    write_photos(photos, 3)
    files = FootageFiles.of(scan(photos))
    store = MatteStore.open(tmp_path / "store", create=True)
    for frame in (1, 2, 3):
        logits = np.full((8, 8), 5.0, np.float16)
        scores = MatteScores(1.0, 1.0, 1.0)
        store.write(MatteRecord(1, frame, files.width, files.height, logits, scores))
    out = tmp_path / "disk" / "out"
    options = BakeOptions(sidecar_masks="postshot")
    numbers = iter(range(10**6))

    def look(left: Path) -> bool:
        if not (left / "out" / MANIFEST_NAME).is_file():
            return False
        for folder in ("out", "out_masks"):
            for photo in files.paths:
                with Image.open(left / folder / f"{Path(photo).stem}.png") as image:
                    image.load()
        return True

    def cut() -> None:
        for way in WAYS:
            number = next(numbers)
            look(disk.left(tmp_path / f"cut{number}", way, number))

    with disk.looking_on(cut):
        wish = BakeRequest(files, str(store.folder), str(out), options)
        bake(wish, store, lambda _: None, lambda: False, threads=1)
    assert look(disk.left(tmp_path / "over", "nothing"))
    disk.close()
