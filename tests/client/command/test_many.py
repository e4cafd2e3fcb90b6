# SPDX-License-Identifier: GPL-3.0-or-later
"""Many captures: which ones, how many at once, what comes out, and how they end."""

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

from sam2_splat_addon.client.command import many
from sam2_splat_addon.client.command.main import main
from sam2_splat_addon.client.command.many import Room, captures_in, room_for
from sam2_splat_addon.core.capture_job import CaptureJob
from sam2_splat_addon.core.errors import JobError
from tests.captures import make_job, make_photos

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_SPLAT_CACHE", str(tmp_path / "cache"))


def test_folders_lists_and_jobs_are_found_each_once_under_names_of_their_own(
    tmp_path: Path,
) -> None:
    for place in ("a/chair", "b c/chair", "é/vase"):
        photos = make_photos(tmp_path / place / "photos", 1)
        make_job(tmp_path / place / "job.s2s.json", photos)
    (tmp_path / "a" / "other.json").write_text("{}")  # no job by its name
    found = captures_in([tmp_path])
    assert [capture.name for capture in found] == ["chair", "chair (2)", "vase"]
    names = "\ufeff# remark\n\na   # a folder\né/vase/job.s2s.json\na/chair/job.s2s.json\n"
    (tmp_path / "list.txt").write_text(names, encoding="utf-8")
    assert [capture.name for capture in captures_in([tmp_path / "list.txt"])] == ["chair", "vase"]
    (tmp_path / "list.txt").write_text("nowhere\n")
    for wrong in ("list.txt", "a/other.json/x", "missing"):
        with pytest.raises(JobError):
            captures_in([tmp_path / wrong])
    (tmp_path / "none").mkdir()
    with pytest.raises(JobError, match="There are no jobs"):
        captures_in([tmp_path / "none"])


def test_as_many_run_at_once_as_cards_and_cores_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(many, "nvidia_cards", list)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    two, all_cores = CaptureJob(threads=2), CaptureJob()
    assert room_for([two, two]) == Room(4)
    assert room_for([two, all_cores]) == Room(1)
    assert room_for([two], 3) == Room(3)
    monkeypatch.setattr(many, "nvidia_cards", lambda: [1, 2])
    assert room_for([all_cores]) == Room(2, ("0", "1"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-x")
    assert room_for([all_cores]) == Room(2, ("3", "GPU-x"))
    assert room_for([CaptureJob(device="cpu", threads=8)]) == Room(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert room_for([two]) == Room(4)


def test_without_memory_only_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def __init__(self, capture: Any, *_: Any) -> None:
            self.capture, self.memory, self.card = capture, 0, None
            capture.state = "running"

        def poll(self) -> None: ...

    monkeypatch.setattr(many, "CaptureProcess", Nothing)
    for free, wanted in ((1 << 30, 1), (7 << 30, 2), (64 << 30, 3)):
        monkeypatch.setattr(many, "free_memory", lambda free=free: free)
        captures = [many.Capture(Path("x"), CaptureJob()) for _ in range(4)]
        every = many.Captures(captures, Room(3), {})
        every.poll()
        assert sum(capture.state == "running" for capture in captures) == wanted


def captures_with(*codes: int) -> list[many.Capture]:
    return [many.Capture(Path("x"), CaptureJob(), code=code) for code in codes]


def test_many_captures_have_one_exit_code() -> None:
    assert many.exit_code_of(captures_with(0, 8, 0)) == 8
    assert many.exit_code_of(captures_with(0, 8, 0), allow_damaged=True) == 0
    assert many.exit_code_of(captures_with(8, 7, 3), allow_damaged=True) == 7
    assert many.exit_code_of(captures_with(8, 7, 143)) == 143


def test_a_good_end_never_hides_a_bad_one() -> None:
    assert many.exit_code_of([]) == 0
    assert many.exit_code_of(captures_with(0, 0)) == 0
    assert many.exit_code_of(captures_with(0, 3, 7)) == 3
    assert many.exit_code_of(captures_with(7, 130)) == 130
    assert many.exit_code_of(captures_with(8, 130), allow_damaged=True) == 130


def test_a_capture_says_in_one_sentence_how_it_ended() -> None:
    def verdict(state: many.State, **more: Any) -> tuple[str, bool]:
        one = many.Capture(Path("x"), CaptureJob(), state=state, **more)
        return one.verdict(), one.is_over

    facts = {"look": 3, "damaged": ["a.jpg", "b.jpg"]}
    assert verdict("waiting") == ("Waiting", False)
    assert verdict("running", text="Propagating chair") == ("Propagating chair", False)
    assert verdict("done") == ("Done", True)
    assert verdict("done", facts=facts) == ("Done, 3 to look at, 2 damaged, left out", True)
    assert verdict("failed", code=7) == ("Failed with exit code 7", True)
    assert verdict("failed", code=7, problem="The disk is full.") == ("The disk is full.", True)
    assert verdict("cancelled", facts=facts) == ("Cancelled. What was finished is kept", True)


def test_a_list_names_folders_and_jobs_and_no_other_lists(tmp_path: Path) -> None:
    make_job(tmp_path / "a.s2s.json", make_photos(tmp_path / "photos", 1))
    (tmp_path / "list.txt").write_text("other.txt\n")
    (tmp_path / "other.txt").write_text("a.s2s.json\n")
    with pytest.raises(JobError, match="is no job"):
        captures_in([tmp_path / "list.txt"])
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(JobError, match=r"list .* can't be read"):
        captures_in([tmp_path / "list.txt"])
    (tmp_path / "list.txt").write_text("# nothing but remarks\n\n  \n")
    with pytest.raises(JobError, match="There are no jobs"):
        captures_in([tmp_path / "list.txt"])
    twice = captures_in([tmp_path / "a.s2s.json", tmp_path, tmp_path / "other.txt"])
    assert [capture.name for capture in twice] == [tmp_path.name]


@pytest.mark.slow
def test_all_good_captures_finish_beside_bad_ones_and_the_list_names_what_needs_a_look(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("chair", "vase"):
        make_job(tmp_path / f"{name}.s2s.json", make_photos(tmp_path / name, 2))
    broken = make_photos(tmp_path / "broken", 3)
    photo = sorted(broken.glob("*.JPG"))[1]
    photo.write_bytes(photo.read_bytes()[:-900])
    make_job(tmp_path / "broken.s2s.json", broken)
    make_job(tmp_path / "gone.s2s.json", tmp_path / "nothing here")
    code = main(["batch", str(tmp_path), "--at-once", "2", "--json", "--target", "lichtfeld"])
    out = capfd.readouterr().out
    told = [json.loads(line) for line in out.splitlines()]
    assert told[0] == {
        "event": "captures",
        "names": ["broken", "chair", "nothing here", "vase"],
        "at_once": 2,
    }
    ended = {one["name"]: one for one in told[-1]["captures"]}
    assert {name: one["code"] for name, one in ended.items()} == {
        "broken": 8,
        "chair": 0,
        "nothing here": 3,
        "vase": 0,
    }
    assert code == told[-1]["code"] == 3
    assert "1 damaged, left out" in ended["broken"]["text"]
    assert "does not exist" in ended["nothing here"]["text"]
    for name in ("chair", "vase"):
        assert len(list((tmp_path / name / "lichtfeld_v001" / "masks").iterdir())) == 2
    assert {at["capture"] for at in told[1:-1]} == set(ended)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "x"], "--output is for one capture"),
        (["--store", "x"], "--store is for one capture"),
        (["--at-once", "0"], "from 1 to"),
        (["--alpha", "x"], "--alpha"),
    ],
)
def test_what_can_not_hold_for_all_is_refused(
    arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", str(tmp_path), *arguments]) == 2
    assert words in capfd.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_cancel_or_a_kill_ends_every_capture_and_keeps_what_is_finished(
    how: signal.Signals, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "one.s2s.json", make_photos(tmp_path / "one", 40))
    command = [sys.executable, "-m", "sam2_splat_addon", "batch", str(job)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    _wait(lambda: list(tmp_path.rglob("*.matte")))
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    if how is signal.SIGINT:
        assert process.returncode == 130, (out, err)
        assert "one  Cancelled. What was finished is kept" in out
    _wait(lambda: not _captures_that_run(tmp_path))
    assert len(list(tmp_path.rglob("*.matte"))) < 40


def _wait(ready: Any) -> None:
    end = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.1)


def _captures_that_run(place: Path) -> list[str]:
    """Return the processes that have a file in the cache of this test in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(place) in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return [number for number in found if int(number) != os.getpid()]
