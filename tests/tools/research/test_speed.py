# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark compares like with like: the same frames, clicks and weights in every program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from sam2_splat_addon.core.settings import SPEEDS
from tools.research.bench.timing.propagation import OURS_BITWISE, SAM2
from tools.research.bench.timing.rows import OURS, Row

ROOT = Path(__file__).parents[3]
SPEED = ROOT / "tools" / "research" / "bench" / "speed.py"


def _rows(target: Path, *arguments: str) -> list[Row]:
    command = [sys.executable, str(SPEED), "--json", str(target), *arguments]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return msgspec.json.decode(target.read_bytes(), type=list[Row])


def test_propagation_rows_say_that_bitwise_logits_equal_those_of_sam2(tmp_path: Path) -> None:
    size = ("--size", "64", "--frames", "3", "--objects", "2")
    programs = ("--programs", SAM2, OURS_BITWISE)
    rows = _rows(tmp_path / "rows.json", "--parts", "propagation", *size, *programs)
    assert [row.program for row in rows] == [SAM2, OURS_BITWISE]
    assert {row.task for row in rows} == {"3 frames at 64 px, 2 objects"}
    assert [row.note for row in rows] == ["logits equal to the bit"] * 2
    assert all(row.cpu_s > 0 and row.memory_mb > 100 for row in rows)


def test_bake_rows_hold_our_stages_and_encoders_of_the_same_picture(tmp_path: Path) -> None:
    photo = sorted((ROOT / "sample" / "photos").iterdir())[0]
    rows = _rows(tmp_path / "rows.json", "--parts", "bake", "--photo", str(photo))
    pngs = {row.program: row.size_mb for row in rows if row.task.startswith("RGBA PNG")}
    assert {OURS, "OpenCV, level 1", "Pillow, level 1"} <= pngs.keys()
    assert 0 < pngs[OURS] < 1.3 * pngs["Pillow, level 1"]
    assert sum(row.program == OURS for row in rows) == 3  # decode, alpha, PNG


def test_mode_rows_are_quicker_from_mode_to_mode_and_linear_in_objects(tmp_path: Path) -> None:
    size = ("--model", "bundled", "--objects", "1", "3")
    rows = _rows(tmp_path / "rows.json", "--parts", "modes", *size)
    assert [(row.task, row.program) for row in rows] == [
        (task, speed.name) for task in ("frame, 1 object", "frame, 3 objects") for speed in SPEEDS
    ]
    assert [row.note.split(" px")[0] for row in rows[:3]] == ["512", "448", "384"]
    assert all(one.cpu_s < three.cpu_s for one, three in zip(rows[:3], rows[3:], strict=True))


def test_preview_and_large_rows_hold_the_same_tasks_of_sam2_and_of_ours(tmp_path: Path) -> None:
    photo = sorted((ROOT / "sample" / "photos").iterdir())[0]
    size = ("--size", "64", "--photo", str(photo))
    rows = _rows(tmp_path / "rows.json", "--parts", "preview", "large", *size)
    tasks = {row.task: [r.program for r in rows if r.task == row.task] for row in rows}
    assert len(tasks) == 3
    assert all(len(programs) == 2 and OURS in programs for programs in tasks.values())
    large = [row for row in rows if row.size_mb]
    assert [row.program == OURS for row in large] == [False, True]
    assert large[1].size_mb < 1.2 * large[0].size_mb


def test_photo_rows_compare_the_same_pixels_of_ours_pillow_and_opencv(tmp_path: Path) -> None:
    target = tmp_path / "rows.json"
    script = SPEED.with_name("photos.py")
    size = ("--count", "60", "--photo-size", "600x400", "--scratch", str(tmp_path))
    command = [sys.executable, str(script), "--json", str(target), *size]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    rows = msgspec.json.decode(target.read_bytes(), type=list[Row])
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    assert len(tasks) == 1 + 2 * 2 + 2  # headers; two photos, two sizes; two photos
    for own in tasks.values():
        assert own[0].program == OURS
        assert {"Pillow", "OpenCV"} <= {row.program for row in own}
    for row in rows:
        if " to " in row.task and row.program == OURS:
            assert float(row.note.split()[0]) < 1  # levels from the exact picture
