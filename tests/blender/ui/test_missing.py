# SPDX-License-Identifier: GPL-3.0-or-later
"""What a click needs and does not have is said in one sentence, with the button that gets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from tests.blender.tasks.test_silent_worker import Drawn

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


class Popover(Drawn):
    """A layout that also notes the values that can be chosen in it."""

    def prop_enum(self, _: object, name: str, value: str, *, text: str) -> None:
        self.words.append(f"{name}={value}")


@pytest.fixture
def clip(make_photos: MakePhotos) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(make_photos(count=2)))
    return present(bpy.context.scene.active_clip)


def drawn(clip: bpy.types.MovieClip) -> list[str]:
    """Return what a click's popover would show."""
    from sam2_splat_addon.blender.ui import missing

    layout: Any = Popover()
    assert missing.draw(layout, clip.sam2_splat) is bool(layout.words)
    return list(layout.words)


def test_nothing_is_missing_with_packages_and_the_bundled_model(clip: bpy.types.MovieClip) -> None:
    from sam2_splat_addon.blender.ui import missing

    assert missing.sentence(clip.sam2_splat) == ""
    assert drawn(clip) == []


@pytest.mark.parametrize(
    ("online", "override", "wanted"),
    [
        (True, False, "sam2_splat.install_packages"),
        (False, False, "extensions.userpref_allow_online"),
        (False, True, "Start it without --offline-mode"),
    ],
)
def test_without_packages_there_is_the_button_that_can_help_now(
    clip: bpy.types.MovieClip,
    monkeypatch: pytest.MonkeyPatch,
    online: bool,
    override: bool,
    wanted: str,
) -> None:
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.ui import missing

    app = SimpleNamespace(online_access_override=override)
    monkeypatch.setattr(missing, "bpy", SimpleNamespace(app=app))
    monkeypatch.setattr(worker_session, "online", lambda: online)
    monkeypatch.setattr(worker_session, "packages_ready", lambda: False)
    assert missing.sentence(clip.sam2_splat) == "SAM 2 is not installed yet"
    buttons = {
        "sam2_splat.install_packages",
        "extensions.userpref_allow_online",
        "Start it without --offline-mode",
    }
    assert buttons & set(drawn(clip)) == {wanted}


def test_a_model_that_is_not_downloaded_can_be_downloaded_or_left(
    clip: bpy.types.MovieClip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.ui import missing
    from sam2_splat_addon.core.checkpoint_catalogue import CHECKPOINTS

    monkeypatch.setenv("SAM2_SPLAT_MODELS", str(tmp_path))
    monkeypatch.setattr(worker_session, "online", lambda: True)
    clip.sam2_splat.model = "sam2.1_hiera_tiny"
    assert missing.sentence(clip.sam2_splat) == "SAM 2.1 Tiny is not downloaded yet"
    assert {"sam2_splat.download_model", "model=bundled"} <= set(drawn(clip))
    (tmp_path / CHECKPOINTS["sam2.1_hiera_tiny"].file_name).touch()
    assert missing.sentence(clip.sam2_splat) == ""


def test_without_packages_a_click_is_kept_and_its_sign_says_why(
    clip: bpy.types.MovieClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.context import worker_session
    from sam2_splat_addon.blender.ui import click_sign

    monkeypatch.setattr(worker_session, "packages_ready", lambda: False)
    assert click_sign.text_for(clip, 1) == ""
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    assert click_sign.text_for(clip, 1) == "SAM 2 is not installed yet"
    assert click_sign.text_for(clip, 2) == ""
    assert click_sign._newest_click(clip, 1) == pytest.approx((50.5, 90.5), abs=0.01)
