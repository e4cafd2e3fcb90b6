# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: what it refuses, with which exit code, and the whole job with the bundled model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """One click in the middle of the bright square of frame 1."""
    path = tmp_path / "prompts.json"
    frames = [{"frame": 1, "points": [{"x": 50.5, "y": 90.5}]}]
    path.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "square", "frames": frames}]})
    )
    return path


def run(*arguments: object) -> int:
    from sam2_splat_addon.blender import batch

    return batch.main([str(argument) for argument in arguments])


def test_the_whole_job_runs_to_pngs(
    make_photos: MakePhotos, prompts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_photos(count=3)
    blend = tmp_path / "result.blend"
    code = run("--footage", folder, "--prompts", prompts, "--bake", "--save", blend)
    output = capfd.readouterr()
    assert code == 0, output.err
    baked = folder / "postshot_v001"
    assert sorted(path.name for path in baked.glob("*.png")) == [
        f"{path.stem}.png" for path in sorted(folder.glob("*.JPG"))
    ]
    for source in folder.glob("*.JPG"):
        pixels = np.asarray(Image.open(baked / f"{source.stem}.png"))
        assert np.array_equal(pixels[..., :3], np.asarray(Image.open(source)))
    assert "Propagated square over 3 frames" in output.out
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    (clip,) = bpy.data.movieclips
    assert clip.sam2_splat.mask.layers.keys() == ["square"]
    assert clip.sam2_splat.output_folder == str(baked)


def test_a_second_run_bakes_beside_the_first_and_computes_nothing_anew(
    make_photos: MakePhotos, prompts: Path
) -> None:
    folder = make_photos(count=3)
    assert run("--footage", folder, "--prompts", prompts, "--bake") == 0
    mattes = {path: path.stat().st_mtime_ns for path in folder.rglob("*.matte")}
    assert len(mattes) == 3
    assert run("--footage", folder, "--prompts", prompts, "--bake") == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.matte")} == mattes
    first = {path.name: path.read_bytes() for path in (folder / "postshot_v001").iterdir()}
    second = {path.name: path.read_bytes() for path in (folder / "postshot_v002").iterdir()}
    assert first == second


def test_a_range_of_frames_leaves_the_others_out(make_photos: MakePhotos, prompts: Path) -> None:
    folder = make_photos(count=4)
    assert run("--footage", folder, "--prompts", prompts, "--frames", "1-2") == 0
    assert sorted(int(path.stem) for path in folder.rglob("*.matte")) == [1, 2]


def test_a_speed_reaches_the_run_and_another_computes_all_anew(
    make_photos: MakePhotos, prompts: Path
) -> None:
    folder = make_photos(count=2)
    written: list[set[bytes]] = []
    for speed in ("fast", "balanced"):
        assert run("--footage", folder, "--prompts", prompts, "--speed", speed) == 0
        (manifest,) = folder.rglob("manifest.json")
        assert json.loads(manifest.read_text())["settings"]["speed"] == speed
        written.append({path.read_bytes() for path in folder.rglob("*.matte")})
    assert [len(mattes) for mattes in written] == [2, 2]
    assert not written[0] & written[1]


def test_the_choice_of_both_sides_reaches_the_run(make_photos: MakePhotos, prompts: Path) -> None:
    folder = make_photos(count=1)
    assert run("--footage", folder, "--prompts", prompts, "--both-sides") == 0
    (manifest,) = folder.rglob("manifest.json")
    assert json.loads(manifest.read_text())["settings"]["both_sides"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--footage", "nowhere"], 3, "does not exist"),
        (["--prompts", "missing.json"], 4, "can't be read"),
        (["--prompts", "outside.json"], 4, "outside"),
        (["--model", "sam2.1_hiera_tiny"], 5, "Download"),
        (["--checkpoint", "none.pt", "--model", "sam2.1_hiera_tiny"], 5, "none.pt"),
        (["--checkpoint", "none.pt"], 5, "--model"),
        (["--frames", "9-1"], 2, "no range"),
        (["--grow", "500"], 2, "from -200 to 200"),
        (["--feather", "nan"], 2, "from 0 to 200"),
        (["--fill-holes", "99999999999"], 2, "whole number"),
        (["--save", "nowhere/x.blend"], 2, "nowhere"),
        (["--prompts", "huge_id.json"], 4, "count from 1"),
        (["--frames", "8-9"], 4, "holds no frame"),
        (["--bake", "--output", "taken"], 7, "not there yet"),
        (["--bake", "--output", "taken/file/new"], 7, "can't be made"),
        (["--output", "somewhere"], 2, "--bake"),
        (["--modle", "x"], 2, "--modle"),
    ],
)
def test_each_fault_has_its_exit_code_and_sentence(
    arguments: list[str],
    code: int,
    words: str,
    make_photos: MakePhotos,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAM2_SPLAT_MODELS", str(tmp_path / "models"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    frames = [{"frame": 1, "points": [{"x": 5000, "y": 1}]}]
    outside = {"version": 1, "objects": [{"id": 1, "name": "square", "frames": frames}]}
    (tmp_path / "outside.json").write_text(json.dumps(outside))
    frames = [{"frame": 1, "points": [{"x": 50, "y": 90}]}]
    huge_id = {"version": 1, "objects": [{"id": 2**40, "name": "square", "frames": frames}]}
    (tmp_path / "huge_id.json").write_text(json.dumps(huge_id))
    folder = make_photos(count=2)
    given = ["--footage", folder, "--prompts", prompts, *arguments]
    assert run(*given) == code
    assert words in capfd.readouterr().err
    assert not list(folder.rglob("*.png"))
    if code != 4 or "--frames" not in arguments:
        assert not (folder / "sam2_splat_mattes").exists()  # found out before the run


def test_a_photo_that_cant_be_read_is_named_and_stops_a_run_whose_frames_it_makes_doubtful(
    make_photos: MakePhotos, prompts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_photos(count=4)
    first, *_, last = sorted(folder.glob("*.JPG"))
    last.write_bytes(b"")
    assert run("--footage", folder, "--prompts", prompts) == 0
    assert f"left out: {last.name}" in capfd.readouterr().err
    first.write_bytes(b"")
    assert run("--footage", folder, "--prompts", prompts) == 3
    assert (
        f"{first.name} can't be read, and the prompts name frames behind" in capfd.readouterr().err
    )


def test_a_damaged_photo_is_left_out_of_the_bake_with_an_exit_code_of_its_own(
    make_photos: MakePhotos, prompts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_photos(count=4)
    photos = sorted(folder.glob("*.JPG"))
    data = photos[2].read_bytes()
    photos[2].write_bytes(data[: len(data) * 2 // 3] + b"\xff\xd9")
    photos[3].write_bytes(photos[3].read_bytes()[:40])
    given = ["--footage", folder, "--prompts", prompts, "--bake"]
    assert run(*given, "--output", tmp_path / "one", "--report", tmp_path / "review") == 8
    said = capfd.readouterr()
    assert f"{photos[2].name} (frame 3)" in said.out
    assert f"damaged photos were left out: {photos[2].name}, {photos[3].name}" in said.err.replace(
        " and ", ", "
    )
    assert photos[2].name in (tmp_path / "review" / "review.csv").read_text()
    assert sorted(path.stem for path in (tmp_path / "one").glob("*.png")) == [
        path.stem for path in photos[:2]
    ]
    (clip,) = bpy.data.movieclips
    assert json.loads(clip.sam2_splat.damaged_names) == [photos[2].name]
    # Strictly, each of the two stops the run.
    assert run(*given, "--output", tmp_path / "two", "--strict") == 3
    assert photos[3].name in capfd.readouterr().err
    photos[3].unlink()
    assert run(*given, "--output", tmp_path / "two", "--strict") == 3
    assert photos[2].name in capfd.readouterr().err
    assert not (tmp_path / "two").exists()


def test_a_new_folder_in_a_new_folder_is_made(
    make_photos: MakePhotos, prompts: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "newer"
    assert (
        run("--footage", make_photos(count=2), "--prompts", prompts, "--bake", "--output", output)
        == 0
    )
    assert len(list(output.glob("*.png"))) == 2


def test_without_footage_and_clip_it_says_what_to_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run("--bake") == 3
    assert "--footage" in capfd.readouterr().err


def test_help_names_every_option_and_the_exit_codes(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capfd.readouterr().out
    for option in ("--footage", "--prompts", "--model", "--frames", "--bake", "Exit codes"):
        assert option in text
