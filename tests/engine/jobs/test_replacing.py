# SPDX-License-Identifier: GPL-3.0-or-later
"""An old matte goes only when the new one is there. A run can only lose its own work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.errors import Cancelled, SplatError, StoreError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.mattes.run_manifest import read_manifest
from sam2_splat_addon.core.mattes.run_record import last_run, require_same_photos
from sam2_splat_addon.core.mattes.store import BAKED_NAME, MatteStore
from sam2_splat_addon.core.mattes.unfinished_run import is_void, run_stamp, void_keys
from sam2_splat_addon.core.protocol import (
    BakeRequest,
    FootageFiles,
    FrameRange,
    Log,
    ModelChoice,
    PropagateRequest,
)
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import propagate
from sam2_splat_addon.engine.jobs.bake import BakeReport, bake

from ..photo_footage import clicked, request, store_bytes, write_photos
from ..random_models import IMAGE_SIZE

_FRAMES = 5
_A, _MOVED = clicked(1, 2, 70.0, 40.0, "a"), clicked(1, 2, 30.0, 20.0, "a")
_B = clicked(2, 1, 120.0, 70.0, "b")


def _files(folder: Path) -> FootageFiles:
    return FootageFiles.of(scan(folder))


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> FootageFiles:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, _FRAMES)
    return _files(folder)


def _run(wish: PropagateRequest, stop_after: int = -1) -> list[tuple[int, int]]:
    """Return (object, frame) of every matte written. Stops after the given number."""
    done: list[tuple[int, int]] = []
    log: list[Log] = []
    try:
        propagate.run(
            wish,
            on_progress=lambda _: None,
            on_frame_done=lambda event: done.append((event.object_id, event.frame)),
            on_log=log.append,
            cancelled=lambda: len(done) == stop_after,
            image_size=IMAGE_SIZE,
        )
    except Cancelled:
        assert stop_after >= 0
    return done


def _visible(store: Path) -> dict[str, bytes]:
    """Return all that a user can notice: mattes, manifest, notes. Not memories or locks."""
    files = store_bytes(store)
    return {
        name: data for name, data in files.items() if not name.startswith(("state/", "run.lock"))
    }


def _bake(footage: FootageFiles, store: Path, out: Path) -> BakeReport:
    wish = BakeRequest(footage, str(store), str(out), BakeOptions())
    return bake(wish, MatteStore(store), lambda _: None, lambda: False, threads=1)


def _damage(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:300])


def _out_of_memory(*_: object, **__: object) -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize("trouble", ["checkpoint", "memory", "photo", "cancel"])
def test_a_run_that_puts_nothing_in_its_place_costs_nothing(
    trouble: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "photos", _FRAMES)
    photos, store = _files(tmp_path / "photos"), tmp_path / "store"
    _run(request(photos, checkpoint, store, _A))
    before, stamp = _visible(store), run_stamp(MatteStore(store))
    wish, stop_after = request(photos, checkpoint, store, _MOVED), -1
    if trouble == "checkpoint":
        (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
        model = ModelChoice("sam2.1_hiera_tiny", str(tmp_path / "bad.pt"), "cpu", 1)
        wish = replace(wish, model=model)
    elif trouble == "memory":
        monkeypatch.setattr(
            "sam2_splat_addon.engine.tracking.session.Session._condition", _out_of_memory
        )
    elif trouble == "photo":
        whole = Path(photos.paths[1]).read_bytes()
        _damage(photos.paths[1])  # the prompted photo, which is read first
    if trouble == "cancel":
        _run(wish, stop_after=0)
    else:
        with pytest.raises((SplatError, RuntimeError)):
            _run(wish, stop_after)
    assert _visible(store) == before
    assert run_stamp(MatteStore(store)) == stamp, "its .blend file would not know it again"
    if trouble == "photo":
        Path(photos.paths[1]).write_bytes(whole)
    assert _bake(photos, store, tmp_path / "out").frames == tuple(range(1, _FRAMES + 1))


def _stopped(wish: PropagateRequest, tmp_path: Path) -> None:
    _run(wish, stop_after=2)


_KILLED = """
import os, sys
import msgspec
from pathlib import Path
from sam2_splat_addon.core.protocol import PropagateRequest
from sam2_splat_addon.engine.jobs import propagate

done = []

def on_frame_done(event):
    done.append(event)
    if len(done) == 2:
        os._exit(9)

propagate.run(
    msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=PropagateRequest),
    on_progress=lambda _: None,
    on_frame_done=on_frame_done,
    on_log=lambda _: None,
    cancelled=lambda: False,
    image_size=64,
)
"""


def _killed(wish: PropagateRequest, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_bytes(msgspec.json.encode(wish))
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "request.json")]
    assert subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode == 9


@pytest.mark.parametrize("ends", [_stopped, _killed], ids=["cancelled", "killed"])
def test_what_an_unfinished_run_did_not_come_to_is_there_and_is_not_baked_with_the_rest(
    ends: Callable[[PropagateRequest, Path], None],
    footage: FootageFiles,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    _run(request(footage, checkpoint, store, _A, _B))
    old = _visible(store)
    wish = request(footage, checkpoint, store, _MOVED, _B)
    ends(wish, tmp_path)
    now = _visible(store)
    mattes = [f"objects/001/00000{frame}.matte" for frame in range(1, _FRAMES + 1)]
    kept = [at for at, name in enumerate(mattes, start=1) if now[name] == old[name]]
    assert kept == [1, 4, 5]  # the prompted frame comes first, then the later ones
    assert void_keys(MatteStore(store)).keys() == {1}
    assert sorted(void_keys(MatteStore(store))[1]) == kept
    frames = range(1, _FRAMES + 2)
    assert [at for at in frames if is_void(MatteStore(store), 1, at)] == kept
    report = _bake(footage, store, tmp_path / "out")
    assert (report.frames, report.unfinished, report.without_matte) == ((2, 3), (1, 4, 5), ())
    assert any("did not reach them: frames 1, 4 and 5" in said for said in report.warnings())
    assert _run(wish) == [(1, 4), (1, 5), (1, 1)]
    _run(replace(wish, store=str(tmp_path / "fresh")))
    (store / BAKED_NAME).unlink()  # the bake above has noted itself
    assert store_bytes(store) == store_bytes(tmp_path / "fresh")
    assert _bake(footage, store, tmp_path / "whole").warnings() == ()


def test_a_click_taken_back_makes_the_mattes_of_before_whole_again(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    first = request(footage, checkpoint, store, _A)
    _run(first)
    _run(request(footage, checkpoint, store, _MOVED), stop_after=2)
    assert _run(first) == [(1, 2), (1, 3)]
    assert void_keys(MatteStore(store)) == {}
    assert len(_bake(footage, store, tmp_path / "out").frames) == _FRAMES


def test_some_frames_alone_leave_the_rest_to_be_baked_as_it_is(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    """The user asked for that. But mattes that an earlier run was to replace stay void."""
    store = tmp_path / "store"
    _run(request(footage, checkpoint, store, _A))
    moved = request(footage, checkpoint, store, _MOVED)
    _run(replace(moved, update=FrameRange(4, 4)))
    assert len(_bake(footage, store, tmp_path / "one").frames) == _FRAMES
    _run(request(footage, checkpoint, store, clicked(1, 2, 50.0, 60.0, "a")), stop_after=2)
    _run(replace(moved, update=FrameRange(4, 4)))
    assert _bake(footage, store, tmp_path / "two").unfinished == (1, 5)


def test_a_disk_that_is_full_at_the_first_matte_costs_nothing_of_before(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    _run(request(footage, checkpoint, store, _A))
    stamp = run_stamp(MatteStore(store))

    def full(self: MatteStore, record: object) -> None:
        raise StoreError("No space left on device.")

    with monkeypatch.context() as patched, pytest.raises(StoreError):
        patched.setattr(MatteStore, "write", full)
        _run(request(footage, checkpoint, store, _MOVED))
    assert run_stamp(MatteStore(store)) == stamp
    assert len(_bake(footage, store, tmp_path / "out").frames) == _FRAMES


def test_a_disk_that_is_full_when_a_run_goes_on_mixes_nothing(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    _run(request(footage, checkpoint, store, _A))
    _run(request(footage, checkpoint, store, _MOVED), stop_after=2)

    def full(self: MatteStore, record: object) -> None:
        raise StoreError("No space left on device.")

    for thing in (_MOVED, clicked(1, 2, 50.0, 60.0, "a")):
        with monkeypatch.context() as patched, pytest.raises(StoreError):
            patched.setattr(MatteStore, "write", full)
            _run(request(footage, checkpoint, store, thing))
        frames = set(range(1, _FRAMES + 1)) - void_keys(MatteStore(store))[1].keys()
        assert frames in ({2, 3}, set())


def test_a_run_without_a_frame_to_come_to_keeps_what_was_there(
    checkpoint: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    write_photos(photos, _FRAMES)
    store, all_photos = photos / "sam2_splat_mattes", _files(photos)
    _run(request(all_photos, checkpoint, store, _A))
    before = _visible(store)
    last = Path(all_photos.paths[-1])
    last.rename(tmp_path / "culled")
    nowhere = RunSettings(3, 4, "backward")
    assert _run(request(_files(photos), checkpoint, store, _A, settings=nowhere)) == []
    (tmp_path / "culled").rename(last)
    assert _run(request(all_photos, checkpoint, store, _A)) == []
    assert _visible(store) == before


def _recoloured(source: FootageFiles, folder: Path, count: int) -> FootageFiles:
    """Make photos with the same names and sizes that show something else."""
    folder.mkdir()
    for path in source.paths[:count]:
        with Image.open(path) as image:
            turned = Image.fromarray(255 - np.asarray(image))
        turned.save(folder / Path(path).name, quality=95)
    return _files(folder)


@pytest.mark.parametrize("count", [_FRAMES, 3])
def test_a_store_of_another_capture_is_refused_before_anything_is_touched(
    count: int, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    _run(request(footage, checkpoint, store, _A))
    before = store_bytes(store)
    other = _recoloured(footage, tmp_path / "other", count)
    with pytest.raises(StoreError, match="are of other photos") as told:
        _run(request(other, checkpoint, store, _A))
    assert "Choose another folder" in told.value.fix
    assert store_bytes(store) == before


def test_mattes_of_photos_that_have_gone_come_back_with_them(
    checkpoint: Path, tmp_path: Path
) -> None:
    """If the user culls a photo by mistake, its old mattes are lost only after a whole run."""
    photos = tmp_path / "photos"
    write_photos(photos, _FRAMES)
    store, all_photos = photos / "sam2_splat_mattes", _files(photos)
    _run(request(all_photos, checkpoint, store, _A))
    before = _visible(store)
    last = Path(all_photos.paths[-1])
    last.rename(tmp_path / "culled")
    fewer = request(_files(photos), checkpoint, store, _A)
    _run(fewer, stop_after=0)
    assert _visible(store) == before
    _run(fewer, stop_after=2)
    assert MatteStore(store).frames(1) == [2, 3]
    assert _bake(_files(photos), store, tmp_path / "out").frames == (2, 3)
    (tmp_path / "culled").rename(last)
    assert _run(request(all_photos, checkpoint, store, _A)) == []
    assert _visible(store) == before
    last.unlink()
    assert len(_run(fewer)) == _FRAMES - 1
    assert not (store / "earlier").exists()


@pytest.mark.parametrize("left", [None, b"", bytes(300), b'{\n  "footage": "9ab'])
def test_a_store_without_its_manifest_is_mended_from_its_mattes(
    left: bytes | None, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    wish = request(footage, checkpoint, store, _A)
    _run(wish)
    path = MatteStore(store).manifest_path
    whole, manifest = path.read_bytes(), read_manifest(path)
    path.unlink() if left is None else path.write_bytes(left)
    told = last_run(MatteStore(store))
    assert told is not None and manifest is not None
    assert (told.footage, told.model, told.key()) == (
        manifest.footage,
        manifest.model,
        manifest.key(),
    )
    require_same_photos(MatteStore(store), footage.fingerprint)
    with pytest.raises(StoreError, match="no longer those"):
        require_same_photos(MatteStore(store), "of other photos")
    assert run_stamp(MatteStore(store)) == ""
    assert len(_bake(footage, store, tmp_path / "out").frames) == _FRAMES
    assert _run(wish) == []
    assert path.read_bytes() == whole


@pytest.mark.parametrize("size", [0, 200])
def test_torn_mattes_count_as_absent_and_are_made_again(
    size: int, footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    wish = request(footage, checkpoint, store, _A)
    _run(wish)
    for frame in (1, 3):
        path = MatteStore(store).path(1, frame)
        path.write_bytes(path.read_bytes()[:size])
    report = _bake(footage, store, tmp_path / "out")
    assert report.frames == (2, 4, 5)
    assert any("frames 1 and 3" in said for said in report.warnings())
    assert sorted(_run(wish)) == [(1, 1), (1, 3)]


def test_images_that_a_bake_takes_are_all_of_one_run(
    footage: FootageFiles, checkpoint: Path, tmp_path: Path
) -> None:
    """Another Blender propagates during this bake. Sizes and times of the files may stay the same."""
    store = tmp_path / "store"
    _run(request(footage, checkpoint, store, _A))
    wish = BakeRequest(footage, str(store), str(tmp_path / "out"), BakeOptions())

    def meanwhile(event: object) -> None:
        moved = request(footage, checkpoint, store, _MOVED)
        _run(moved)

    with pytest.raises(StoreError, match="another mask meanwhile"):
        bake(
            wish,
            MatteStore(store),
            lambda _: None,
            lambda: False,
            on_frame_done=meanwhile,
            threads=1,
        )
