# SPDX-License-Identifier: GPL-3.0-or-later
"""Kept parts go with their clip, their file and the add-on, and are told of changes and undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import bpy
import pytest

from sam2_splat_addon.blender.context import changes, clip_state, session_state
from sam2_splat_addon.blender.context.clip_state import ClipPart
from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.blender.context.session_state import SessionPart

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]
MakeClip = Callable[[int, int], bpy.types.MovieClip]

_said: list[str] = []


@dataclass
class Watcher(ClipPart):
    """A part that notes what it is told."""

    told: list[object] = field(default_factory=list)

    def mattes_changed(self, object_id: int | None, frame: int | None) -> None:
        self.told.append((object_id, frame))

    def photos_changed(self) -> None:
        self.told.append("photos")

    def edits_changed(self) -> None:
        self.told.append("edits")

    def closes(self) -> None:
        _said.append("closed")


@dataclass
class Record(ClipPart):
    outlives_removal: ClassVar[bool] = True
    value: int = 0


@dataclass
class OfFile(SessionPart):
    of_file: ClassVar[bool] = True
    value: int = 0


@dataclass
class OfBlender(SessionPart):
    value: int = 0


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    _said.clear()


def test_a_part_is_made_once_a_clip(make_clip: MakeClip) -> None:
    one, other = make_clip(8, 8), make_clip(9, 9)
    assert clip_state.of(one).known(Watcher) is None
    part = clip_state.of(one).part(Watcher)
    assert clip_state.of_uid(one.session_uid).part(Watcher) is part
    assert clip_state.of(other).part(Watcher) is not part
    assert dict(clip_state.known(Watcher)).keys() == {one.session_uid, other.session_uid}


def test_a_change_is_told_to_the_parts_of_that_clip_alone(make_clip: MakeClip) -> None:
    one, other = (clip_state.of(make_clip(side, side)) for side in (8, 9))
    parts = one.part(Watcher), other.part(Watcher)
    uid = next(uid for uid, part in clip_state.known(Watcher) if part is parts[0])
    changes.mattes_changed(uid, 1, 3)
    changes.mattes_changed(uid)
    changes.photos_changed(uid)
    changes.edits_changed(uid)
    assert parts[0].told == [(1, 3), (None, None), "photos", "edits"]
    assert parts[1].told == []


def test_a_removed_clip_leaves_nothing_but_the_record_of_what_was_done(
    make_clip: MakeClip,
) -> None:
    clip, stays = make_clip(8, 8), make_clip(9, 9)
    uid = clip.session_uid
    clip_state.of(clip).part(Watcher)
    clip_state.of(clip).part(Record).value = 7
    kept = clip_state.of(stays).part(Watcher)
    bpy.data.movieclips.remove(clip)
    bpy.context.view_layer.update()
    assert _said == ["closed"]
    assert clip_state.of_uid(uid).known(Watcher) is None
    # An undo restores the clip, which must still know what it has done to its folder.
    assert clip_state.of_uid(uid).part(Record).value == 7
    assert clip_state.of(stays).known(Watcher) is kept


def test_another_file_takes_all_that_was_of_the_one_before(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip(8, 8)
    uid = clip.session_uid
    clip_state.of(clip).part(Watcher)
    clip_state.of(clip).part(Record).value = 7
    session_state.part(OfFile).value = session_state.part(OfBlender).value = 5
    blend = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert _said == ["closed"]
    assert not [known for known, _ in clip_state.known(Record)]
    assert uid not in clip_state._states
    assert (session_state.part(OfFile).value, session_state.part(OfBlender).value) == (0, 5)


def test_a_file_that_does_not_open_leaves_the_record_of_what_was_done(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    clip = make_clip(8, 8)
    clip_state.of(clip).part(Record).value = 7
    damaged = tmp_path / "damaged.blend"
    damaged.write_bytes(b"no blend file")
    with pytest.raises(RuntimeError):
        bpy.ops.wm.open_mainfile(filepath=str(damaged))
    assert clip_state.of(clip).part(Record).value == 7


def test_an_undo_is_told_to_every_clip_in_the_order_of_the_rooms(
    make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import clear_results, matte_run
    from sam2_splat_addon.blender.tasks import local_edits

    told: list[tuple[str, str]] = []
    kinds = (matte_run._OwnRuns, clear_results._Cleared, local_edits._Edits)
    for kind in kinds:

        def undone(self: ClipPart, clip: bpy.types.MovieClip, name: str = kind.__name__) -> None:
            told.append((name, clip.name))

        monkeypatch.setattr(kind, "undone", undone)
    monkeypatch.setattr(
        local_edits._Rewriting, "undone", lambda self: told.append(("_Rewriting", ""))
    )
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    bpy.ops.ed.undo_push(message="loaded")
    present(bpy.context.scene.active_clip).sam2_splat.grow_px = 2.0
    bpy.ops.ed.undo_push(message="grown")
    bpy.ops.ed.undo()
    assert told == [*((kind.__name__, "photos") for kind in kinds), ("_Rewriting", "")]
    bpy.ops.ed.redo()
    assert len(told) == 8


def test_the_mattes_of_a_clip_are_forgotten_with_it_and_told_of_undo(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.clip import matte_cache
    from tests.blender.masked_clip import masked_clip

    clip = masked_clip(make_photos(count=2), ("chair",))
    uid = clip.session_uid
    assert matte_cache.is_tracked(clip, 1, 1)
    stored = clip_state.of(clip).part(matte_cache._Mattes).stored
    assert len(stored) == 1
    bpy.ops.ed.undo_push(message="masked")
    clip.sam2_splat.grow_px = 2.0
    bpy.ops.ed.undo_push(message="grown")
    bpy.ops.ed.undo()
    assert len(stored) == 0
    bpy.data.movieclips.remove(present(bpy.context.scene.active_clip))
    bpy.context.view_layer.update()
    assert clip_state.of_uid(uid).known(matte_cache._Mattes) is None
