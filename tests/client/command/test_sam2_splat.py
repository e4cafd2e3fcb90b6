# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `sam2-splat` in a process of its own, without Blender: its doors, its words, its codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sam2_splat_addon.core.capture_job import read_job
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import EditedMatte
from tests.captures import make_job, make_photos

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_SPLAT_CACHE", str(tmp_path / "cache"))


def start(*arguments: object, **more: Any) -> subprocess.Popen[str]:
    """Start the command so that it can't find Blender."""
    code = (
        "import sys; sys.modules['bpy'] = None\n"
        "from sam2_splat_addon.client.command.main import main\n"
        "sys.exit(main())"
    )
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, text=True, **more
    )


def command(*arguments: object) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_job_runs_to_pngs_and_tells_each_event_as_json(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "fotos é 漢" / "photos", 3)
    job = make_job(tmp_path / "fotos é 漢" / "one capture.s2s.json", photos)
    assert json.loads(job.read_text())["photos"] == "photos"  # it may move along with them
    code, out, err = command("run", job, "--json", "--report", tmp_path / "review")
    assert code == 0, err
    told = events(out)
    assert {at["event"] for at in told} == {"said", "log", "progress", "ended"}
    *_, last = told
    assert last["event"] == "ended" and last["code"] == 0
    assert last["output"] == str(photos / "postshot_v001")
    assert last["subjects"] == ["square"] and last["damaged"] == []
    steps = list(dict.fromkeys(at["step"] for at in told if at["event"] == "progress"))
    assert steps == ["Loading", "Propagating", "Reporting", "Baking"]
    assert sorted(path.stem for path in (photos / "postshot_v001").glob("*.png")) == [
        path.stem for path in sorted(photos.glob("*.JPG"))
    ]
    assert (tmp_path / "review" / "review.csv").is_file()


def test_each_step_has_a_command_and_check_writes_nothing(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 2)
    job = make_job(tmp_path / "job.json", photos)
    before = sorted(tmp_path.rglob("*"))
    out_folder = tmp_path / "new" / "newer"
    given = ("check", job, "--output", out_folder, "--report", tmp_path / "deep" / "review")
    code, out, err = command(*given)
    assert code == 0, err
    assert "Ready: propagate, review, bake over 2 photos" in out
    assert "square: prompts on 1 photo, 0 masks from earlier runs" in out
    assert [path for path in sorted(tmp_path.rglob("*")) if "cache" not in path.parts] == before
    assert command("propagate", job)[0] == 0
    assert len(list(photos.rglob("*.matte"))) == 2
    assert not list(photos.glob("postshot*"))
    assert command("bake", job, "--output", out_folder, "--part", "2-2", "--once")[0] == 0
    assert not out_folder.exists() and len(list(photos.rglob("*.png"))) == 1
    assert command("bake", job, "--output", out_folder)[0] == 0
    assert len(list(out_folder.glob("*.png"))) == 2 and not list(photos.rglob("*.png"))
    code, out, _ = command("bake", job, "--output", out_folder, "--once")
    assert (code, "Nothing to do: the same bake is in" in out) == (0, True)
    code, _, err = command("bake", job, "--part", "2-3")
    assert (code, "are no part of 2 photos" in err) == (7, True)
    assert command("review", job)[0] == 0
    assert (photos / "sam2_splat_review" / "review.html").is_file()
    code, out, _ = command("info", job)
    assert (code, "masks of square: 2" in out) == (0, True)
    # Without a job the masks that are there are baked, and the last run names their subjects.
    assert command("bake", "--footage", photos, "--ignore", "square")[0] == 0
    code, _, err = command("bake", "--footage", photos, "--ignore", "nobody")
    assert (code, "The subjects are square" in err) == (4, True)


def test_drawn_masks_of_a_job_are_baked_and_followed(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 2)
    drawn = (EditedMatte(1, 2, ((10.0, 10.0, 60.0, 10.0, 60.0, 40.0, 10.0, 40.0),)),)
    job = make_job(tmp_path / "job.json", photos, drawn=drawn)
    assert command("run", job)[0] == 0
    last = max(photos.glob("*.JPG"))
    alpha = Image.open(photos / "postshot_v001" / f"{last.stem}.png").getchannel("A")
    assert alpha.getbbox() == (10, 10, 60, 40)


@pytest.mark.slow
def test_two_halves_of_a_propagation_have_the_bytes_of_one_run(tmp_path: Path) -> None:
    prompts = PromptSet(
        (ObjectPrompts(1, "square", (FramePrompts(2, (PointPrompt(53.3, 90.7),)),)),)
    )
    jobs = []
    for name in ("shared", "alone"):
        photos = make_photos(tmp_path / name / "photos", 4)
        made = make_job(tmp_path / name / "job.json", photos, prompts=prompts, device="cpu")
        jobs.append(made)
    shared, alone = jobs
    halves = [start("propagate", shared, "--half", half) for half in ("backward", "forward")]
    for half in halves:
        _, err = half.communicate(timeout=300)
        assert half.returncode == 0, err
    assert (tmp_path / "shared" / "photos" / "sam2_splat_mattes_backward").is_dir()
    code, out, _ = command("propagate", shared)
    assert code == 0 and "Device" in out
    assert not (tmp_path / "shared" / "photos" / "sam2_splat_mattes_backward").exists()
    assert command("propagate", alone)[0] == 0
    mattes = [
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.matte")}
        for name in ("shared", "alone")
    ]
    assert len(mattes[0]) == 4 and mattes[0] == mattes[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "can't be read"),
        ('{"photos": "photos", "bake": {"alpha": "x"}}', "$.bake.alpha"),
        ('{"photos": "photos", "run": {"speed": 3}}', "$.run.speed"),
        ('{"photos": "photos", "fotos": 1}', "fotos"),
        ('{"photos": "photos", "version": 2}', "reads version 1"),
        ('{"photos": "photos", "steps": ["dance"]}', "$.steps"),
        ('{"photos": "photos", "targets": ["nothing"]}', "There is no"),
        ('{"photos": "photos", "photo_names": ["a.jpg", "b.jpg"]}', "another photo on frame 1"),
        ('{"photos": "photos", "photo_names": ["a.jpg"]}', "is for 1 photos"),
        ('{"photos": "photos", "drawn": [{"object_id":1,"frame":9,"outlines":[]}]}', "frame 9"),
        ('{"photos": "photos", "drawn": [{"object_id":1,"frame":1,"outlines":[[1]]}]}', "outline"),
        ('{"photos": "photos", "roles": {"nobody": "remove"}}', "nobody"),
        ('{"photos": "gone"}', "does not exist"),
        ('{"x": ' + "[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_wrong_with_a_job_is_said_before_it_runs(
    text: str, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.client.command.main import main

    photos = make_photos(tmp_path / "photos", 2)
    job = make_job(tmp_path / "job.json", photos)
    if '"photos": "photos"' in text:
        whole = {**json.loads(job.read_text()), **json.loads(text)}
        job.write_text(json.dumps(whole))
    else:
        job.write_text(text)
    assert main(["check", str(job)]) in (3, 4, 7)
    said = capfd.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (photos / "sam2_splat_mattes").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "usage: sam2-splat COMMAND"),
        (["--help"], 0, "Exit codes"),
        (["dance"], 2, "there is no command 'dance'"),
        (["run"], 3, "Name a job, or photos with --footage"),
        (["run", "--output", "x"], 2, "--output needs --bake"),
        (["run", "--half", "forward"], 3, "Name a job"),
        (["bake", "--half", "forward"], 2, "--half is for the command propagate"),
        (["run", "--part", "1-2"], 2, "--part is for the command bake"),
        (["run", "--strict", "--allow-damaged"], 2, "exclude each other"),
        (["run", "--footage", ".", "--photos", "5"], 2, "need a video"),
        (["review", "--footage", ".", "--cameras", "x"], 2, "--cameras needs"),
        (["run", "missing.json"], 4, "can't be read"),
        (["info"], 0, "torch: 2."),
        (["info", "--trainers"], 0, "lichtfeld"),
        (["--version"], 0, "SAM2 Splat 0."),
    ],
)
def test_usage_is_told_with_its_exit_code(
    arguments: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from sam2_splat_addon.client.command.main import main

    assert main(arguments) == code
    assert words in "".join(capfd.readouterr())


def test_the_schema_is_the_documented_one(capfd: pytest.CaptureFixture[str]) -> None:
    from sam2_splat_addon.client.command.main import main

    assert main(["info", "--schema"]) == 0
    assert capfd.readouterr().out == (ROOT / "docs" / "job.schema.json").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of a terminal")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_ctrl_c_and_sigterm_keep_what_is_finished_and_the_next_run_goes_on(
    is_terminal: bool, tmp_path: Path
) -> None:
    how, ends = (signal.SIGINT, 130) if is_terminal else (signal.SIGTERM, 143)
    photos = make_photos(tmp_path / "photos", 30)
    job = make_job(tmp_path / "job.json", photos, steps=("propagate",))
    process = start("run", job, "--json", preexec_fn=_as_in_a_terminal)
    end = time.monotonic() + 240
    while not list(photos.rglob("*.matte")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert process.returncode == ends, err
    assert events(out)[-1] == {"event": "ended", "code": ends}
    assert not list(photos.rglob(".*.tmp"))
    assert not list(photos.rglob("*lease*"))
    kept = {path: path.stat().st_mtime_ns for path in photos.rglob("*.matte")}
    assert 0 < len(kept) < 30
    if not is_terminal:
        return  # going on is the same after both
    assert command("run", job)[0] == 0
    assert len(list(photos.rglob("*.matte"))) == 30
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def _as_in_a_terminal() -> None:
    # A process in a shell's background ignores Ctrl+C, and so do the processes that it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_job_reads_what_it_wrote(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "a" / "photos", 1)
    job = read_job(make_job(tmp_path / "a" / "job.json", photos, store=str(tmp_path / "masks")))
    assert (job.photos, job.store) == (str(photos), str(tmp_path / "masks"))
    (tmp_path / "a").rename(tmp_path / "b")
    moved = read_job(tmp_path / "b" / "job.json")
    assert moved.photos == str(tmp_path / "b" / "photos")
