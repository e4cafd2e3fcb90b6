# SPDX-License-Identifier: GPL-3.0-or-later
"""Both command lines of the installed extension do the job without a window, and tell the result."""

from __future__ import annotations

import pytest

from tests.window.capture import Capture
from tools.window.launcher import InstalledBlender

BATCH = ("-b", "--python-exit-code", "1", "-P", "/repository/tools/batch.py", "--")
COMMAND = ("--command", "sam2_splat")
WAYS = pytest.mark.parametrize("way", [BATCH, COMMAND], ids=["batch", "command"])


@WAYS
def test_photos_and_prompts_become_pngs(
    blender: InstalledBlender, capture: Capture, way: tuple[str, ...]
) -> None:
    ended = blender.blender(
        *way,
        *("--footage", blender.inside(capture.photos)),
        *("--prompts", blender.inside(capture.prompts), "--frames", "1-3", "--bake"),
    )
    assert ended.code == 0, ended.said
    baked = sorted(path.stem for path in (capture.photos / "postshot_v001").glob("*.png"))
    assert baked == capture.stems()[:3], ended.said


@WAYS
def test_exit_code_names_what_is_wrong(
    blender: InstalledBlender, capture: Capture, way: tuple[str, ...]
) -> None:
    def code(*arguments: str) -> int:
        return blender.blender(*way, *arguments).code

    photos = blender.inside(capture.photos)
    assert code("--no-such-option") == 2
    assert code("--footage", "/no/such/folder") == 3
    assert code("--footage", photos, "--prompts", blender.inside(capture.photos)) == 4
    assert code("--footage", photos) == 4
    assert code("--footage", photos, "--checkpoint", photos) == 5
