# SPDX-License-Identifier: GPL-3.0-or-later
"""The report for those who help: what it names, and that no private path is in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

from sam2_splat_addon.blender.context.present import present
from sam2_splat_addon.core.errors import PromptError

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


def test_a_report_names_versions_settings_errors_and_the_log(make_photos: MakePhotos) -> None:
    from sam2_splat_addon.blender.context import console, last_error
    from sam2_splat_addon.blender.ui.help_report import report

    folder = make_photos(count=3)
    bpy.ops.sam2_splat.load(filepath=str(folder))
    uid = present(bpy.context.scene.active_clip).session_uid
    last_error.remember(PromptError("There is no click.", "Click first."), "propagate", uid)
    console.log.info(f"Photo {folder / 'a.jpg'} of {Path.home() / 'secret' / 'b.jpg'}")
    told = report()
    assert re.search(r"^SAM2 Splat \d+\.\d+\.\d+", told)
    for part in (bpy.app.version_string, "torch ", "sam2 ", "Photos: 3, ", "model=bundled"):
        assert part in told
    assert "propagate: PromptError: There is no click. Click first." in told
    assert "Photo <photos>/a.jpg of <home>" in told
    assert str(folder) not in told
    assert str(Path.home()) not in told
    assert not re.search(r"(?<![\w.:/])/(tmp|root|home|usr|work)/", told), told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("The photo /home/eva/My photos/a.jpg is damaged.", "The photo <photos>/a.jpg is damaged."),
        (r"C:\Users\eva\secret\b.png is gone.", ".../b.png is gone."),
        ("File /opt/blender/4.5/x.py, line 3", "File .../x.py, line 3"),
        (
            "1/2 of 3/4, and/or https://example.org/a/b",
            "1/2 of 3/4, and/or https://example.org/a/b",
        ),
    ],
)
def test_no_path_is_left(text: str, told: str) -> None:
    from sam2_splat_addon.blender.ui.help_report import without_paths

    assert without_paths(text, {"/home/eva/My photos": "<photos>"}) == told


def test_the_button_fills_the_clipboard() -> None:
    assert bpy.ops.sam2_splat.copy_report() == {"FINISHED"}
