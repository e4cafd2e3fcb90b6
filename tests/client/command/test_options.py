# SPDX-License-Identifier: GPL-3.0-or-later
"""Options make a job, replace what a job says, and are refused where they make no sense."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from sam2_splat_addon.client.command.options import (
    job_of,
    misuse,
    misuse_of_many,
    parser,
    parser_of_many,
    way_of,
)
from sam2_splat_addon.client.command.run_job import Way
from sam2_splat_addon.core.capture_job import CaptureJob, write_job
from sam2_splat_addon.core.errors import JobError, PromptError
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import EditedMatte


def options(*words: str) -> argparse.Namespace:
    return parser().parse_args(list(words))


def clicked(object_id: int, name: str) -> ObjectPrompts:
    return ObjectPrompts(object_id, name, (FramePrompts(1, (PointPrompt(3, 4),)),))


def written(folder: Path, job: CaptureJob) -> Path:
    path = folder / "job.json"
    write_job(path, job)
    return path


def test_without_a_job_a_propagation_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = job_of(options("--footage", "photos", "--store", "masks"), None)
    assert job == CaptureJob(
        photos=str(tmp_path / "photos"), store=str(tmp_path / "masks"), steps=("propagate",)
    )
    assert job_of(options("--bake", "--find-cameras", "--agree"), None).steps == (
        "cameras",
        "propagate",
        "agree",
        "bake",
    )
    assert job_of(options("--report", "x"), ("bake",)).steps == ("review", "bake")
    with pytest.raises(JobError, match="can't be read"):
        job_of(options("missing.json"), None)


def test_what_no_option_names_stays_as_the_job_says(tmp_path: Path) -> None:
    job = CaptureJob(
        photos=str(tmp_path / "photos"),
        photo_names=("a.jpg",),
        first_photo="a.jpg",
        steps=("review",),
        prompts=PromptSet((clicked(1, "chair"),)),
        roles={"chair": "remove", "vase": "remove"},
        threads=3,
        device="cpu",
        strict=True,
        found_masks="white",
        targets=("lichtfeld",),
        subfolders=True,
    )
    path = str(written(tmp_path, job))
    assert job_of(options(path), None) == job
    assert job_of(options(path), ("bake",)) == replace(job, steps=("bake",))
    given = options(
        path, "--frames", "3-9", "--threads", "0", "--ignore", "vase", "--remove", "lamp",
        "--target", "postshot", "--target", "brush", "--found-masks", "black", "--bake",
    )  # fmt: skip
    changed = job_of(given, None)
    assert (changed.run.first_frame, changed.run.last_frame) == (3, 9)
    assert changed.roles == {"chair": "remove", "vase": "ignore", "lamp": "remove"}
    assert changed.targets == ("postshot", "brush")
    assert (changed.threads, changed.found_masks) == (0, "black")
    assert changed.steps == ("review", "bake")
    kept = (
        "photos",
        "photo_names",
        "first_photo",
        "device",
        "strict",
        "subfolders",
        "model",
        "bake",
    )
    assert all(getattr(changed, name) == getattr(job, name) for name in kept)


def test_names_of_photos_hold_for_the_same_footage_alone(tmp_path: Path) -> None:
    job = CaptureJob(photos=str(tmp_path / "a"), photo_names=("1.jpg",), first_photo="1.jpg")
    path = str(written(tmp_path, job))
    same = job_of(options(path, "--footage", str(tmp_path / "a")), None)
    assert (same.photo_names, same.first_photo) == (("1.jpg",), "1.jpg")
    other = job_of(options(path, "--footage", str(tmp_path / "b")), None)
    assert (other.photos, other.photo_names, other.first_photo) == (str(tmp_path / "b"), (), "")


def test_drawn_masks_stay_with_the_subject_of_their_name_when_prompts_are_replaced(
    tmp_path: Path,
) -> None:
    drawn = tuple(EditedMatte(number, 1, ()) for number in (1, 2))
    job = CaptureJob(
        photos=str(tmp_path),
        photo_names=("a.jpg",),
        prompts=PromptSet((clicked(1, "chair"), clicked(2, "vase"))),
        drawn=drawn,
        approved={1: (4,), 2: (5,)},
    )
    path = str(written(tmp_path, job))
    prompts = tmp_path / "prompts.json"
    prompts.write_text(
        json.dumps(
            {
                "version": 1,
                "objects": [
                    {
                        "id": 7,
                        "name": "chair",
                        "frames": [{"frame": 1, "points": [{"x": 1, "y": 2}]}],
                    }
                ],
            }
        )
    )
    changed = job_of(options(path, "--prompts", str(prompts)), None)
    assert changed.names() == {7: "chair"}
    assert [mask.object_id for mask in changed.drawn] == [7]
    assert changed.approved == {7: (4,)}
    assert changed.photo_names == ()
    with pytest.raises(PromptError):
        job_of(options(path, "--prompts", str(tmp_path / "missing.json")), None)


def test_a_panorama_that_somebody_denies_is_not_guessed() -> None:
    assert job_of(options(), None).guess_panorama
    for word, wanted in (("--panorama", True), ("--no-panorama", False)):
        job = job_of(options(word), None)
        assert (job.run.panorama, job.guess_panorama) == (wanted, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", ""),
        ("--allow-damaged --strict", "exclude each other"),
        ("--part 1-2", "--part is for"),
        ("--output x", "--output needs --bake"),
        ("--output x --bake", ""),
        ("--find-cameras --cameras x", "exclude each other"),
        ("--cameras x", ""),
        ("--find-subject", ""),
        ("--find-subject --found-masks white", "goes without"),
        ("--photos-folder x", "need a video"),
        ("--photos-folder x --footage film.mp4", ""),
    ],
)
def test_options_that_are_of_no_use_are_named(words: str, said: str) -> None:
    given = options(*words.split())
    found = misuse(given, job_of(given, None))
    assert said in found and bool(found) == bool(said)


def test_what_only_a_review_or_a_bake_can_use_is_named() -> None:
    given = options("--cameras", "x")
    assert "--cameras needs" in misuse(given, job_of(given, ("review",)))
    given = options("--part", "2-3", "--once")
    assert misuse(given, job_of(given, ("bake",))) == ""
    assert way_of(given) == Way((2, 3), True)
    subject = replace(CaptureJob(), prompts=PromptSet((clicked(1, "a"),)), steps=("subject",))
    assert "goes without prompts" in misuse(options(), subject)


def test_options_for_one_capture_are_refused_for_many() -> None:
    many = parser_of_many("sam2-splat batch")
    assert misuse_of_many(many.parse_args(["folder", "--bake", "--at-once", "3"])) == ""
    for words in (
        "--footage x", "--prompts x", "--store x", "--output x", "--report x", "--photos-folder x",
        "--part 1-2", "--stop-at-eof",
    ):  # fmt: skip
        said = misuse_of_many(many.parse_args(["folder", *words.split()]))
        assert said.startswith(f"{words.split()[0]} is for one capture")


@pytest.mark.parametrize(
    "words",
    [
        "--frames 0-3",
        "--frames 5-4",
        "--frames 1-",
        "--frames -3",
        "--frames a-b",
        "--frames 1-99999999999999999999999",
        "--threads -1",
        "--threads 1025",
        "--threads 1.5",
        "--threads nan",
        "--device gpu",
        "--target nobody",
        "--found-masks grey",
    ],
)
def test_a_value_out_of_bounds_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*words.split())
    assert ended.value.code == 2
    assert words.split()[0] in capsys.readouterr().err


def test_values_at_their_bounds_are_taken() -> None:
    assert options("--frames", "4").frames == (4, 4)
    assert options("--frames", "1-1").frames == (1, 1)
    assert options("--threads", "1024").threads == 1024
    assert options("--threads", "0").threads == 0


def test_a_path_that_is_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--footage", "photos\udcff")
    assert "no text in UTF-8" in capsys.readouterr().err
