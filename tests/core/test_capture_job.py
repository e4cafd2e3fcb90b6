# SPDX-License-Identifier: GPL-3.0-or-later
"""A job comes back from its file as it was, moves with its folder, and says what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.capture_job import (
    JOB_ENDING,
    STEPS,
    CaptureJob,
    is_job_name,
    job_from_json,
    name_of,
    read_job,
    to_json,
    write_job,
)
from sam2_splat_addon.core.errors import JobError
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.settings import BakeSettings, RunSettings

PROMPTS = PromptSet(
    (
        ObjectPrompts(2, "chair", (FramePrompts(1, (PointPrompt(300.0, 40.5),)),)),
        ObjectPrompts(5, "é 花", (FramePrompts(3, (PointPrompt(1.0, 2.0, include=False),)),)),
    )
)
JOB = CaptureJob(
    photos="photos",
    photo_names=("a.jpg", "b c.jpg"),
    steps=("propagate", "review"),
    prompts=PROMPTS,
    roles={"chair": "remove"},
    approved={2: (1, 4)},
    run=RunSettings(first_frame=2),
    bake=BakeSettings(),
    threads=3,
    strict=True,
)


def test_a_job_comes_back_from_its_bytes_and_equal_jobs_have_equal_bytes() -> None:
    assert job_from_json(to_json(JOB)) == JOB
    assert job_from_json(b"\xef\xbb\xbf" + to_json(JOB)) == JOB
    whole = PromptSet((ObjectPrompts(2, "chair", (FramePrompts(1, (PointPrompt(300, 40.5),)),)),))
    one, other = (replace(JOB, prompts=at) for at in (whole, PromptSet(PROMPTS.objects[:1])))
    assert one == other
    assert to_json(one) == to_json(other)
    assert to_json(JOB).startswith(b'{\n  "') and to_json(JOB).endswith(b"}\n")
    assert JOB.names() == {2: "chair", 5: "é 花"}
    assert JOB.does("review") and not JOB.does("bake")


def test_steps_are_those_that_a_job_may_name_in_their_order() -> None:
    assert STEPS == ("cameras", "subject", "propagate", "compare", "agree", "review", "bake")
    assert CaptureJob().steps == ("propagate", "bake")


PATHS = (
    "photos",
    "photos_folder",
    "store",
    "checkpoint",
    "cameras",
    "output",
    "output_in",
    "report",
)


def test_what_lies_beside_the_job_moves_with_it_and_other_places_stay(tmp_path: Path) -> None:
    inside, outside = tmp_path / "capture", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir()
    for name in PATHS:
        for place, written in (
            (inside / "sub dir" / "ä", "sub dir/ä"),
            (outside / "x", str(outside / "x")),
            (inside, "."),
        ):
            file = inside / f"job{JOB_ENDING}"
            write_job(file, replace(CaptureJob(), **{name: str(place)}))
            assert json.loads(file.read_bytes())[name] == written
            assert getattr(read_job(file), name) == str(place)
    file = inside / "empty.json"
    write_job(file, CaptureJob())
    assert read_job(file) == CaptureJob()  # empty means the default, not a folder
    file.write_bytes(to_json(CaptureJob(photos="../elsewhere/photos")))
    assert Path(read_job(file).photos).resolve() == outside / "photos"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "can't be read"),
        (b"\xff\xfe{}", "can't be read"),
        (b"[]", "can't be read"),
        (b'{"x": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"version": 2}', "has version 2, but this SAM2 Splat reads version 1"),
        (b'{"version": 0, "what": 1}', "has version 0"),
        (b'{"what": 1}', "what"),
        (b'{"steps": ["dance"]}', r"\$\.steps"),
        (b'{"threads": -1}', r"\$\.threads"),
        (b'{"device": "gpu"}', r"\$\.device"),
        (b'{"photos": 3}', r"\$\.photos"),
        (b'{"run": {"first_frame": 1e400}}', "The job"),
    ],
)
def test_what_is_wrong_with_a_job_is_said(data: bytes, said: str) -> None:
    with pytest.raises(JobError, match=said):
        job_from_json(data)


def test_a_file_that_is_no_job_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path, tmp_path / ("x" * 5000), Path("a\0b")):
        with pytest.raises(JobError, match="can't be read"):
            read_job(path)
    with pytest.raises(JobError, match="can't be written"):
        write_job(tmp_path / "missing" / "job.json", CaptureJob())
    with pytest.raises(JobError, match="not valid text"):
        write_job(tmp_path / "job.json", CaptureJob(photos="\udcff"))
    assert list(tmp_path.iterdir()) == []


def test_a_job_is_named_after_its_photos() -> None:
    for photos, name in {
        "/captures/chair": "chair",
        "/captures/chair/": "chair",
        "/captures/chair/photos": "chair",
        "/captures/chair/Images": "chair",
        "/captures/chair.mov": "chair.mov",
        "photos": "photos",
        "/photos": "photos",
        "/captures/chair/photos/..": "chair",
    }.items():
        assert name_of(CaptureJob(photos=photos)) == name, photos


def test_job_files_are_known_by_the_end_of_their_name() -> None:
    assert all(map(is_job_name, ("a.s2s.json", ".S2S.JSON", "a b.S2s.Json")))
    assert not any(map(is_job_name, ("a.json", "a.s2s", "s2s.json", "a.s2s.json.bak")))
