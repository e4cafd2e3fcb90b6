# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks of memory and waiting: each prints a table and leaves the same as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sam2_splat_addon.core.errors import FootageError
from tools.research.bench import command, memory
from tools.research.bench.timing.long_footage import clicks, long_footage, parsed_size

ROOT = Path(__file__).parents[3]
PHOTOS = ROOT / "sample" / "photos"


def _figures(script: str, target: Path, *arguments: str) -> Any:
    program = [sys.executable, str(ROOT / "tools" / "research" / "bench" / script)]
    subprocess.run([*program, "--json", str(target), *arguments], check=True, cwd=ROOT)
    return json.loads(target.read_bytes())


def test_memory_is_told_by_frames_and_of_the_bake_in_a_worker_of_its_own(tmp_path: Path) -> None:
    size = ("--frames", "3", "--objects", "2", "--photo-size", "40x60", "--speed", "fast")
    figures = _figures("memory.py", tmp_path / "memory.json", *size, "--threads", "1", "--bake")
    assert figures["photo_size"] == [40, 60]
    peaks = {int(frames): peak for frames, peak in figures["peaks_mb"].items()}
    assert max(peaks) == 3
    assert 100 < min(peaks.values()) <= peaks[3]
    assert figures["bake_peak_mb"] > 50
    assert figures["rise_mb"] == 0.0  # too short to tell


def test_what_a_run_adds_to_blender_is_told_step_by_step(tmp_path: Path) -> None:
    size = ("--frames", "2", "--objects", "2", "--photo-size", "400x600", "--threads", "1")
    figures = _figures("blender.py", tmp_path / "blender.json", *size)
    steps = [moment["after"] for moment in figures["moments"]]
    assert steps == ["start", "clip and clicks", "propagation and masks", "bake"]
    peaks = [moment["peak_mb"] for moment in figures["moments"]]
    assert peaks == sorted(peaks)
    assert figures["worker_peak_mb"] > 100


def test_waiting_for_a_click_is_told_for_the_photos_asked_for(tmp_path: Path) -> None:
    figures = _figures("preview.py", tmp_path / "preview.json", "--no-large", "--threads", "1")
    assert figures.keys() == {"sample"}
    assert figures["sample"]["cold_start"] > figures["sample"]["further_clicks"] > 0


def test_rise_counts_from_the_frame_on_which_memory_is_full() -> None:
    assert memory.slope({1: 300.0, 40: 400.0}) == 0.0
    assert memory.slope({1: 300.0, 50: 400.0, 150: 410.0}) == pytest.approx(0.1)


def test_footage_is_as_long_and_as_large_as_asked_for_and_has_a_click_an_object(
    tmp_path: Path,
) -> None:
    footage = long_footage(PHOTOS, parsed_size("40x60"), 10, tmp_path)
    assert (len(footage), footage.width, footage.height) == (10, 40, 60)
    assert len({frame.path.resolve() for frame in footage.frames}) == 8
    prompts = clicks(footage, 3)
    assert [entry.id for entry in prompts.objects] == [1, 2, 3]
    assert all(len(entry.frames) == 1 for entry in prompts.objects)


def test_an_error_of_ours_is_one_sentence_and_exit_code_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(folder: Path) -> None:
        raise FootageError(f"{folder.name} holds no photos.", "Choose another folder.")

    assert command.run(fail, Path("empty")) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: empty holds no photos.")
    assert said.count("\n") == 1


def test_nothing_is_written_without_a_path_and_folders_are_made_with_one(tmp_path: Path) -> None:
    command.write_json(None, [1])
    command.write_json(tmp_path / "deep" / "figures.json", {"j": 0.5})
    assert json.loads((tmp_path / "deep" / "figures.json").read_bytes()) == {"j": 0.5}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["figures.json"]


def test_a_bake_of_masks_is_timed_beside_other_encoders(tmp_path: Path) -> None:
    figures = _figures("masks.py", tmp_path / "masks.json", "--masks", "3", "--photo-size", "90x60")
    assert figures["bake_s"] > 0
    encoders = figures["encoders"]
    assert {"ours", "OpenCV", "Pillow"} < encoders.keys()
    assert all(row["ms"] > 0 and row["bytes"] > 0 for row in encoders.values())
