# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, as the README has it, over the sample's first photos: what it prints and leaves behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
# Below what the bundled model reaches on these photos, above what a broken one would.
IOU_FLOOR = 0.8


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Run it over six photos; what it printed and where its files are."""
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "tools/demo.py", "--frames", "1-6", "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_the_table_has_a_row_for_every_photo_and_the_mean_is_theirs(demo: tuple[str, Path]) -> None:
    rows = re.findall(r"^ +(\d+)  (IMG_\d+\.JPG) +chair +(\d\.\d+)", demo[0], re.MULTILINE)
    assert [int(frame) for frame, _, _ in rows] == [1, 2, 3, 4, 5, 6]
    match = re.search(r"Mean IoU +(\d\.\d+) over 6 frames", demo[0])
    assert match is not None
    mean = float(match.group(1))
    assert mean == pytest.approx(np.mean([float(iou) for _, _, iou in rows]), abs=1e-3)
    assert mean > IOU_FLOOR


def test_pngs_hold_the_photos_colours_and_a_matte(demo: tuple[str, Path]) -> None:
    baked = sorted((demo[1] / "postshot_v001").glob("*.png"))
    assert len(baked) == 6
    for path in baked:
        pixels = np.asarray(Image.open(path))
        photo = np.asarray(Image.open(ROOT / "sample" / "photos" / f"{path.stem}.JPG"))
        assert np.array_equal(pixels[..., :3], photo)
        assert set(np.unique(pixels[..., 3])) == {0, 255}


def test_a_contact_sheet_and_a_blender_file_are_left(demo: tuple[str, Path]) -> None:
    with Image.open(demo[1] / "contact_sheet.jpg") as sheet:
        assert sheet.width > 6 * 100
    # Blender compresses with Zstandard or not at all.
    start = (demo[1] / "demo.blend").read_bytes()[:7]
    assert start == b"BLENDER" or start.startswith(b"\x28\xb5\x2f\xfd")


def test_footage_of_ones_own_wants_prompts(tmp_path: Path) -> None:
    command = [sys.executable, "tools/demo.py", "--footage", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--prompts" in done.stderr
