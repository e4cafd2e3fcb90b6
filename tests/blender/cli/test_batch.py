# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: its errors and exit codes, and the whole job with the bundled model."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("addon")
MakePhotos = Callable[..., Path]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A prompts file with one click, in the middle of the bright square on frame 1."""
    path = tmp_path / "prompts.json"
    frames = [{"frame": 1, "points": [{"x": 50.5, "y": 90.5}]}]
    path.write_text(
        json.dumps({"version": 1, "objects": [{"id": 1, "name": "square", "frames": frames}]})
    )
    return path


def run(*arguments: object) -> int:
    from sam2_splat_addon.blender.cli import batch

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


def test_a_bake_that_never_began_has_no_images(
    make_photos: MakePhotos,
    prompts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from sam2_splat_addon.client.command import run_job

    folder, worked = make_photos(count=2), run_job.worked

    def as_a_photo_goes(request: Any, *more: Any) -> Any:
        ended = worked(request, *more)
        max(folder.glob("*.JPG")).unlink()
        return ended

    monkeypatch.setattr(run_job, "worked", as_a_photo_goes)
    assert run("--footage", folder, "--prompts", prompts, "--bake") == 3
    assert "is not complete" not in capfd.readouterr().err


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


def test_the_choice_to_obey_clicks_reaches_the_run(make_photos: MakePhotos, prompts: Path) -> None:
    folder = make_photos(count=1)
    assert run("--footage", folder, "--prompts", prompts, "--obey-clicks", "off") == 0
    (manifest,) = folder.rglob("manifest.json")
    assert json.loads(manifest.read_text())["settings"]["obey_clicks"] == "off"


def test_the_number_format_reaches_the_run(make_photos: MakePhotos, prompts: Path) -> None:
    folder = make_photos(count=1)
    assert run("--footage", folder, "--prompts", prompts, "--precision", "bfloat16") == 0
    (manifest,) = folder.rglob("manifest.json")
    assert json.loads(manifest.read_text())["machine"]["dtype"] == "bfloat16"


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
        (["--prompts", "huge_id.json"], 4, "numbers from 1 to"),
        (["--frames", "8-9"], 4, "has no photo"),
        (["--bake", "--output", "taken"], 7, "does not exist yet"),
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
    assert f"{first.name} can't be read. So the prompts on later frames" in capfd.readouterr().err


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
    # With --strict each of the two stops the run.
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


def refused(arguments: list[object], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(*arguments)
    return code, capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--exposure", "nan"], 2, "from -32 to 32"),
        (["--exposure", "1e30"], 2, "from -32 to 32"),
        (["--output", os.fsdecode(b"out\xff"), "--bake"], 2, "no text"),
        (["--store", os.fsdecode(b"st\xffre")], 2, "no text"),
        (["--report", os.fsdecode(b"\xffreport")], 2, "no text"),
        (["--prompts", os.fsdecode(b"\xff.json")], 2, "no text"),
        (["--bake", "--output", "o" * 300], 7, "can't be made"),
        (["--report", "taken"], 7, "report"),
        (["--report", "taken/below"], 7, "report"),
        (["--report", "r" * 300], 7, "report"),
        (["--save", "s" * 255], 7, "--save"),
        (["--save", "s" * 300], 7, "--save"),
        (["--prompts", "latin.json"], 4, "not text in UTF-8"),
        (["--prompts", "utf16.json"], 4, "can't be read"),
        (["--prompts", "deep.json"], 4, "nested too deeply"),
        (["--prompts", "."], 4, "can't be read"),
        (["--prompts", "no_size.json"], 4, "0x0 px"),
        (["--prompts", "negative.json"], 4, "-120x-180 px"),
    ],
)
def test_what_can_not_go_well_is_found_out_before_the_run(
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
    text = prompts.read_text().replace("square", "Stühle")
    (tmp_path / "latin.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "utf16.json").write_bytes(text.encode("utf-16"))
    (tmp_path / "deep.json").write_text('{"objects": [], "x": ' + "[" * 5000)
    (tmp_path / "taken").write_text("")
    for name, side, runs in (("no_size", (0, 0), []), ("negative", (-120, -180), [0, 21600])):
        mask = {"width": side[0], "height": side[1], "runs": runs}
        frames = [{"frame": 1, "points": [{"x": 50, "y": 90}], "mask": mask}]
        entry = {"id": 1, "name": "square", "frames": frames}
        (tmp_path / f"{name}.json").write_text(json.dumps({"version": 1, "objects": [entry]}))
    folder = make_photos(count=2)
    told = refused(["--footage", folder, "--prompts", prompts, *arguments], capfd)
    assert told[0] == code, told
    assert words in told[1]
    assert "Traceback" not in told[1]
    assert not (folder / "sam2_splat_mattes").exists()


def test_save_replaces_no_file_that_is_no_blend(
    make_photos: MakePhotos, prompts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_photos(count=2)
    photo = sorted(folder.iterdir())[0]
    beside, letter = tmp_path / "new.blend", tmp_path / "letter.txt"
    Path(f"{beside}@").symlink_to(letter)
    before = photo.read_bytes()
    for place, words in ((photo, "not a .blend file"), (beside, "is a link")):
        told = refused(["--footage", folder, "--prompts", prompts, "--save", place], capfd)
        assert told[0] == 7, told
        assert words in told[1]
    assert photo.read_bytes() == before
    assert Path(f"{beside}@").is_symlink()
    assert not letter.exists()
    assert not (folder / "sam2_splat_mattes").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
def test_a_place_that_is_read_only_is_found_out_before_the_run(
    make_photos: MakePhotos,
    prompts: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_photos(count=2)
    closed = tmp_path / "closed"
    closed.mkdir()
    real_open = Path.open

    def refuse(self: Path, *arguments: Any, **more: Any) -> Any:
        if self.parent == closed:  # as on a disk that is mounted read-only, also for root
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real_open(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    for option in (["--save", closed / "x.blend"], ["--report", closed]):
        told = refused(["--footage", folder, "--prompts", prompts, *option], capfd)
        assert told[0] == 7, told
        assert "Read-only" in told[1]
    assert not (folder / "sam2_splat_mattes").exists()
    assert list(closed.iterdir()) == []


def test_a_name_longer_than_blenders_is_cut_between_letters(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import loading, markers
    from sam2_splat_addon.core.footage.sizes import PhotoSizes
    from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet

    click = (FramePrompts(1, (PointPrompt(50, 90),)),)
    names = ["é" * 40, "é" * 45, "漢" * 40, "x" + "é" * 40, "a\x1b[2Jb\n"]
    entries = tuple(ObjectPrompts(i + 1, name, click) for i, name in enumerate(names))
    clip = loading.load(make_photos(count=2, name="フォトグラメトリ" * 5))
    markers.apply(clip, PromptSet(entries).checked(PhotoSizes(120, 180), 2))
    collected = markers.collect(clip)
    assert [len(entry.frames) for entry in collected.objects] == [1] * 5
    assert [entry.name for entry in collected.objects] == [
        "é" * 31, "é" * 29 + ".001", "漢" * 21, "x" + "é" * 31, r"a\x1b[2Jb\n",
    ]  # fmt: skip
    assert clip.name


def as_process(*arguments: object, **more: Any) -> subprocess.Popen[bytes]:
    """Start the batch as its own process, as from a shell."""
    code = (
        "import bpy, sys\n"
        "bpy.ops.wm.read_factory_settings(use_empty=True)\n"
        "import sam2_splat_addon\n"
        "sam2_splat_addon.register()\n"
        "from sam2_splat_addon.blender.cli import batch\n"
        "try:\n    code = batch.main(sys.argv[1:], 'batch.py')\n"
        "finally:\n    sam2_splat_addon.unregister()\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.PIPE)
    root = Path(__file__).resolve().parents[3]
    return subprocess.Popen(command, cwd=root, **more)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_words_that_nobody_can_read_do_not_end_a_run(
    make_photos: MakePhotos, prompts: Path
) -> None:
    folder = make_photos(count=2, name="fotos é 漢")
    read, write = os.pipe()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    arguments = ("--footage", folder, "--prompts", prompts, "--bake")
    process = as_process(*arguments, stdout=write, env=environment)
    os.close(write)
    os.close(read)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert b"Traceback" not in told
    assert len(list((folder / "postshot_v001").glob("*.png"))) == 2


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of a terminal")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_a_run_clean_however_often_it_is_pressed(
    make_photos: MakePhotos, prompts: Path, presses: int
) -> None:
    folder = make_photos(count=40)
    process = as_process("--footage", folder, "--prompts", prompts, preexec_fn=_as_in_a_terminal)
    end = time.monotonic() + 240
    while not list(folder.rglob("*.matte")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert b"Traceback" not in told
    assert not list(folder.rglob(".*.tmp"))


def _as_in_a_terminal() -> None:
    # A process in a shell's background ignores Ctrl+C, and so do the processes that it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_store_that_is_somebody_elses_is_refused_with_the_code_of_stores(
    make_photos: MakePhotos, prompts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "objects").mkdir(parents=True)
    (theirs / "objects" / "chair.obj").write_text("v 0 0 0")
    (theirs / "manifest.json").write_text("{}")
    folder = make_photos(count=2)
    told = refused(["--footage", folder, "--prompts", prompts, "--store", theirs], capfd)
    assert told[0] == 7, told
    assert str(theirs) in told[1]
    assert (theirs / "manifest.json").read_text() == "{}"
    assert sorted(path.name for path in theirs.rglob("*")) == [
        "chair.obj",
        "manifest.json",
        "objects",
    ]


def test_the_script_runs_in_a_python_with_blenders_module() -> None:
    script = Path(__file__).parents[3] / "tools" / "batch.py"
    command = [sys.executable, str(script), "--", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    assert "--footage" in told.stdout
