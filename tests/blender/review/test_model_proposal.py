# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2.1 is proposed when the bundled model is lost, and never again after the user has refused."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import msgspec
import pytest

from sam2_splat_addon.core import checkpoint_catalogue
from sam2_splat_addon.core.checkpoint_catalogue import CHECKPOINTS
from sam2_splat_addon.core.mattes.run_manifest import Machine, RunManifest, write_manifest
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.review.judge import is_lost
from sam2_splat_addon.core.settings import RunSettings
from tests.blender.masked_clip import masked_clip, store_of

pytestmark = pytest.mark.usefixtures("addon", "enabled")
MakePhotos = Callable[..., Path]
COUNT = 12
TINY = "sam2.1_hiera_tiny"


@pytest.fixture
def enabled(
    addon: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bpy.types.Addon]:
    """The add-on with preferences, as if the user had enabled it, and with its own model folder."""
    monkeypatch.setenv("SAM2_SPLAT_MODELS", str(tmp_path / "models"))
    entry = bpy.context.preferences.addons.new()
    entry.module = "sam2_splat_addon"
    yield entry
    bpy.context.preferences.addons.remove(entry)


@pytest.fixture
def clip(make_photos: MakePhotos) -> bpy.types.MovieClip:
    """Twelve frames with masks of the bundled model, which was sure of all."""
    clip = masked_clip(make_photos(count=COUNT), ("square",))
    made_by(clip, "bundled")
    return clip


def made_by(clip: bpy.types.MovieClip, model: str) -> None:
    """Note that a run with this model made the mattes."""
    store = store_of(clip)
    width, height = clip.size
    machine = Machine("cpu", "float32", 1, "", {})
    manifest = RunManifest(
        "", width, height, COUNT, model, "0" * 64, RunSettings(), machine, PromptSet(())
    )
    write_manifest(store.manifest_path, manifest)


def doubt(clip: bpy.types.MovieClip, frames: range, predicted_iou: float = 0.3) -> None:
    """Let the model be unsure of these frames, and review the clip."""
    store = store_of(clip)
    for frame in frames:
        record = store.read(1, frame)
        scores = msgspec.structs.replace(record.scores, predicted_iou=predicted_iou)
        store.write(msgspec.structs.replace(record, scores=scores))
    assert bpy.ops.sam2_splat.review() == {"FINISHED"}


class Layout:
    """A stand-in that notes what a panel draws."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, str]] = []

    def label(self, text: str = "", icon: str = "") -> None:
        self.drawn.append(("label", text))

    def operator(self, name: str, text: str = "", **_: Any) -> SimpleNamespace:
        self.drawn.append((name, text))
        return SimpleNamespace()

    def box(self) -> Layout:
        return self

    def row(self, **_: Any) -> Layout:
        return self

    column = row

    def template_list(self, *_: Any, **__: Any) -> None: ...


def drawn() -> list[tuple[str, str]]:
    """Return what the Review panel shows between its first line and its list."""
    from sam2_splat_addon.blender.ui.panel_review import SAM2SPLAT_PT_review

    layout = Layout()
    SAM2SPLAT_PT_review.draw(SimpleNamespace(layout=layout), bpy.context)  # type: ignore[arg-type]
    names = [name for name, _ in layout.drawn]
    first, last = names.index("sam2_splat.review"), names.index("sam2_splat.review_step")
    return layout.drawn[first + 1 : last]


def test_half_of_the_frames_and_no_fewer_than_four_are_many() -> None:
    assert is_lost(4, 8)
    assert not is_lost(4, 9)
    assert not is_lost(3, 3)
    assert not is_lost(0, 0)


def test_a_few_doubtful_frames_propose_nothing(clip: bpy.types.MovieClip) -> None:
    doubt(clip, range(3, 8))
    assert drawn() == []


def test_frames_that_are_only_worth_a_look_propose_nothing(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.review import live_review

    doubt(clip, range(2, COUNT + 1), predicted_iou=0.78)
    found = live_review.of_clip(clip)
    assert found is not None
    assert (found.counts, found.lost) == ((COUNT - 1, COUNT), 0)
    assert drawn() == []


def test_many_lost_frames_propose_sam2_with_what_it_costs(clip: bpy.types.MovieClip) -> None:
    doubt(clip, range(3, 9))
    assert drawn() == [
        ("label", "Lost on 6 of 12 photos"),
        ("sam2_splat.dismiss_proposal", ""),
        ("sam2_splat.use_sam2", "Use SAM 2.1 (156 MB)"),
    ]


def test_nothing_is_proposed_for_masks_of_another_model_or_once_it_is_chosen(
    clip: bpy.types.MovieClip,
) -> None:
    doubt(clip, range(3, 9))
    clip.sam2_splat.model = TINY
    assert drawn() == []
    clip.sam2_splat.model = "bundled"
    assert drawn() != []
    made_by(clip, TINY)
    doubt(clip, range(3, 9))
    assert drawn() == []


def test_the_button_chooses_sam2_where_it_is_there(
    clip: bpy.types.MovieClip, tmp_path: Path
) -> None:
    doubt(clip, range(3, 9))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / CHECKPOINTS[TINY].file_name).touch()
    assert drawn()[-1] == ("sam2_splat.use_sam2", "Use SAM 2.1")
    clip.sam2_splat.checkpoint = "/some/other/model.pt"
    assert bpy.ops.sam2_splat.use_sam2() == {"FINISHED"}
    assert (clip.sam2_splat.model, clip.sam2_splat.checkpoint) == (TINY, "")
    assert drawn() == []


def test_the_button_chooses_it_offline_too_and_downloads_nothing(
    clip: bpy.types.MovieClip, tmp_path: Path
) -> None:
    assert not bpy.app.online_access
    doubt(clip, range(3, 9))
    assert bpy.ops.sam2_splat.use_sam2() == {"FINISHED"}
    assert clip.sam2_splat.model == TINY
    assert not (tmp_path / "models").exists()


def test_the_button_downloads_it_where_it_is_missing(
    clip: bpy.types.MovieClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 4096
    source = tmp_path / "published"
    source.mkdir()
    (source / f"{TINY}.pt").write_bytes(content)
    entry = checkpoint_catalogue.Checkpoint(TINY, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(checkpoint_catalogue.CHECKPOINTS, TINY, entry)
    monkeypatch.setattr("sam2_splat_addon.blender.context.worker_session.online", lambda: True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(source))
    doubt(clip, range(3, 9))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            checkpoint_catalogue, "_ADDRESS", f"http://127.0.0.1:{server.server_address[1]}/"
        )
        assert bpy.ops.sam2_splat.use_sam2() == {"FINISHED"}
        server.shutdown()
    assert (tmp_path / "models" / f"{TINY}.pt").read_bytes() == content
    assert clip.sam2_splat.model == TINY


def test_declined_once_it_is_never_proposed_again_until_the_preferences_say_so(
    clip: bpy.types.MovieClip, enabled: bpy.types.Addon, make_photos: MakePhotos
) -> None:
    doubt(clip, range(3, 9))
    bpy.context.preferences.is_dirty = False
    assert bpy.ops.sam2_splat.dismiss_proposal() == {"FINISHED"}
    assert drawn() == []
    assert bpy.context.preferences.is_dirty  # so Blender saves them when it quits
    other = masked_clip(make_photos(count=COUNT, name="others"), ("square",))
    made_by(other, "bundled")
    doubt(other, range(2, COUNT))
    assert drawn() == []
    enabled.preferences.propose_sam2 = True
    assert drawn() != []


def test_nothing_is_proposed_where_a_no_could_not_be_kept(
    clip: bpy.types.MovieClip, enabled: bpy.types.Addon
) -> None:
    doubt(clip, range(3, 9))
    enabled.module = "something else"
    assert drawn() == []
    enabled.module = "sam2_splat_addon"
