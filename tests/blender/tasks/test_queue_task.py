# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue: captures are added, clicked on, run together, and the list says what needs a look."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from sam2_splat_addon.core.prompts import PointPrompt
from tests.captures import make_photos

pytestmark = [pytest.mark.usefixtures("addon"), pytest.mark.slow]


class Drawing:
    """Stands in for a layout, and keeps the texts and operators of a panel."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __getattr__(self, name: str) -> object:
        def draw(*arguments: object, **more: object) -> Drawing:
            self.words += [str(one) for one in (*arguments, *more.values())]
            return self

        return draw


def panel() -> list[str]:
    from sam2_splat_addon.blender.ui import panel_queue

    drawing = Drawing()
    stand_in = type("StandIn", (), {"layout": drawing})()
    panel_queue.SAM2SPLAT_PT_queue.draw(stand_in, bpy.context)
    return drawing.words


def click(name: str) -> bpy.types.MovieClip:
    from sam2_splat_addon.blender.clip import markers

    clip = bpy.data.movieclips[name]
    owner = clip.tracking.objects.new("square")
    markers.add_point(owner, 1, PointPrompt(50.3, 90.7), 120, 180)
    return clip


def test_captures_are_added_clicked_on_and_run_with_a_list_of_what_needs_a_look(
    tmp_path: Path,
) -> None:
    from sam2_splat_addon.blender.tasks.queue_task import queued_clips, said_of

    for name in ("chair é", "vase", "unclicked", "changed"):
        make_photos(tmp_path / name, 2)
    (tmp_path / "empty").mkdir()
    files = [{"name": name} for name in ("chair é", "vase", "empty", "unclicked", "changed")]
    assert not bpy.ops.sam2_splat.queue_start.poll()
    assert bpy.ops.sam2_splat.queue_add(directory=str(tmp_path), files=files) == {"FINISHED"}
    assert [clip.name for clip in queued_clips()] == ["chair é", "changed", "unclicked", "vase"]
    assert "Click on the subject" in panel()
    with pytest.raises(RuntimeError, match="No capture of the queue has a click"):
        bpy.ops.sam2_splat.queue_start()
    chair, vase, changed = click("chair é"), click("vase"), click("changed")
    max((tmp_path / "changed").iterdir()).unlink()
    bpy.context.scene.sam2_splat.queue_bakes = True
    assert bpy.ops.sam2_splat.queue_start() == {"FINISHED"}
    for clip in (chair, vase):
        said = said_of(clip)
        assert said.state == "done", said.text
        assert said.text == (f"{said.look} to look at" if said.look else "Nothing to look at")
        assert clip.sam2_splat.mask.layers.keys() == ["square"]
        assert len(list(Path(clip.sam2_splat.output_folder).glob("*.png"))) == 2
    assert "There is no click yet" in said_of(bpy.data.movieclips["unclicked"]).text
    assert "had 2 photos when it was loaded" in said_of(changed).text
    assert said_of(changed).state == "failed"
    words = panel()
    assert "sam2_splat.queue_start" in words and "vase" in words
    # The masks are the clip's own: a bake needs no propagation, and another start computes nothing.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.matte")}
    bpy.context.scene.active_clip = chair
    assert bpy.ops.sam2_splat.bake() == {"FINISHED"}
    assert bpy.ops.sam2_splat.queue_remove(clip="changed") == {"FINISHED"}
    assert len(queued_clips()) == 3
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.matte")} == before


def test_the_shown_capture_is_added_and_cancel_keeps_what_is_finished(tmp_path: Path) -> None:
    import time

    from sam2_splat_addon.blender.tasks.queue_task import QueueTask, queued_clips, said_of

    bpy.ops.sam2_splat.load(filepath=str(make_photos(tmp_path / "long", 30)))
    assert bpy.ops.sam2_splat.queue_this() == {"FINISHED"}
    assert not bpy.ops.sam2_splat.queue_this.poll()
    clip = click("long")
    task = QueueTask(queued_clips(), bakes=False)
    end = time.monotonic() + 120
    while not list(tmp_path.rglob("*.matte")):
        assert not task.step(time.monotonic() + 0.1) and time.monotonic() < end
    task.cancel()
    while not task.step(time.monotonic() + 0.1):
        assert time.monotonic() < end
    assert task.cancelled and task.summary.startswith("Cancelled")
    assert said_of(clip).state == "cancelled"
    assert 0 < len(list(tmp_path.rglob("*.matte"))) < 30
