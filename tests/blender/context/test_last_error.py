# SPDX-License-Identifier: GPL-3.0-or-later
"""An error stays in the panel with what helps, and a part of the photos can be propagated alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core import errors

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def load(folder: Path) -> bpy.types.MovieClip:
    bpy.ops.sam2_splat.load(filepath=str(folder))
    return present(bpy.context.scene.active_clip)


def fail_to_propagate(clip: bpy.types.MovieClip) -> None:
    """Propagate a frame outside the chosen range, which is refused."""
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    clip.sam2_splat.use_range = True
    clip.sam2_splat.first_frame = clip.sam2_splat.last_frame = 2
    bpy.context.scene.frame_current = 1
    with pytest.raises(RuntimeError):
        bpy.ops.sam2_splat.propagate(span="frame")


def test_an_error_stays_until_it_is_closed(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.context import last_error

    clip = load(make_photos(count=2))
    fail_to_propagate(clip)
    found = last_error.last("propagate", clip.session_uid)
    assert found is not None and found.kind is errors.PromptError
    assert "outside" in found.sentence
    bpy.ops.sam2_splat.dismiss(panel="bake")
    assert last_error.last("propagate", clip.session_uid) is found
    bpy.ops.sam2_splat.dismiss(panel="propagate")
    assert last_error.last("propagate", clip.session_uid) is None


def test_an_error_belongs_to_its_clip_and_to_the_panel_of_its_button(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.ui import error_panel

    clip = load(make_photos(count=2))
    other = load(make_photos(count=2, name="other"))
    bpy.context.scene.active_clip = clip
    fail_to_propagate(clip)
    shown = {
        (one.name, panel): error_panel.current(panel, one) is not None
        for one in (clip, other)
        for panel in ("propagate", "bake", "review")
    }
    assert [key for key, is_shown in shown.items() if is_shown] == [(clip.name, "propagate")]


def test_an_error_vanishes_with_its_cause(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.ui import error_panel

    clip = load(make_photos(count=2))
    fail_to_propagate(clip)
    assert error_panel.current("propagate", clip) is not None
    clip.sam2_splat.grow_px = 2.0  # nothing to do with it
    assert error_panel.current("propagate", clip) is not None
    clip.sam2_splat.use_range = False
    assert error_panel.current("propagate", clip) is None
    clip.sam2_splat.use_range = True
    assert error_panel.current("propagate", clip) is None, "an old error came back"


def test_an_edit_that_was_not_kept_is_an_error_on_its_frame_only(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.context import last_error
    from sam2_splat_addon.blender.ui import error_panel

    clip = load(make_photos(count=2))
    error = errors.EditError("The mask was changed.", "Press I.")
    last_error.remember(error, "bake", clip.session_uid)
    assert error_panel.current("bake", clip) is not None
    bpy.context.scene.frame_current = 2
    assert error_panel.current("bake", clip) is None


def test_photos_that_cannot_be_loaded_are_an_error_of_no_clip(tmp_path: Path) -> None:
    from sam2_splat_addon.blender.ui import error_panel

    with pytest.raises(RuntimeError):
        bpy.ops.sam2_splat.load(filepath=str(tmp_path / "nothing"))
    assert error_panel.current("load", None) is not None
    assert error_panel.current("propagate", None) is None


def test_what_is_wrong_with_the_packages_is_said_once_whatever_button_failed(
    make_photos: MakePhotos,
) -> None:
    from sam2_splat_addon.blender.context import last_error, task_runner

    class Propagate:
        panel = "propagate"

        def report(self, kind: set[str], text: str) -> None:
            assert kind == {"ERROR"}

    clip = load(make_photos(count=2))
    error = errors.EnvironmentSetupError("A package is missing.", "Install SAM 2 again.")
    task_runner.report_error(Propagate(), error)
    assert last_error.last("propagate", clip.session_uid) is None
    assert last_error.last("install", clip.session_uid) is not None


def test_every_kind_of_error_that_can_be_mended_has_a_fix() -> None:
    from sam2_splat_addon.blender.ui import error_panel

    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and errors.SplatError in kind.__bases__
    }
    assert kinds == set(error_panel._FIXES)  # each also helps with its subclasses


def test_parts_of_the_footage_are_brought_up_to_date_and_the_rest_stays(
    make_photos: MakePhotos,
) -> None:
    folder = make_photos(count=4)
    clip = load(folder)
    bpy.ops.sam2_splat.click(frame=2, x=50.5, y=90.5)
    bpy.context.scene.frame_current = 3
    bpy.ops.sam2_splat.propagate(span="forward")
    assert sorted(path.stem for path in folder.rglob("*.matte")) == ["000003", "000004"]
    bpy.context.scene.frame_current = 2
    bpy.ops.sam2_splat.propagate(span="frame")
    assert sorted(path.stem for path in folder.rglob("*.matte")) == ["000002", "000003", "000004"]
    clip.sam2_splat.use_range = True
    clip.sam2_splat.first_frame, clip.sam2_splat.last_frame = 3, 4
    with pytest.raises(RuntimeError, match="Frame 2 is outside"):
        bpy.ops.sam2_splat.propagate(span="frame")


def test_the_bake_goes_to_the_chosen_folder(make_photos: MakePhotos, tmp_path: Path) -> None:
    clip = load(make_photos(count=2))
    bpy.ops.sam2_splat.click(frame=1, x=50.5, y=90.5)
    bpy.ops.sam2_splat.propagate()
    chosen = tmp_path / "elsewhere"
    chosen.mkdir()
    clip.sam2_splat.bake_folder = str(chosen)
    bpy.ops.sam2_splat.bake()
    assert [path.name for path in chosen.iterdir()] == ["postshot_v001"]
    assert len(list(chosen.rglob("*.png"))) == 2
