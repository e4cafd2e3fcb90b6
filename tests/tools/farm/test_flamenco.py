# SPDX-License-Identifier: GPL-3.0-or-later
"""The job types for Flamenco: they run in a JavaScript engine, and their commands do real jobs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import quickjs

from tests.captures import make_job, make_photos

FARM = Path(__file__).resolve().parents[3] / "tools" / "farm" / "flamenco"
CAPTURE, CAPTURES = FARM / "sam2_splat_capture.js", FARM / "sam2_splat_captures.js"

# What Flamenco gives to a job type, and refuses. Anything else is undefined here, and so an error.
STAND_IN = """
const author = {
  Task(name, type) {
    if (!String(name).trim() || !String(type).trim()) throw new Error("a task needs name and type");
    return {
      name: name.trim(), type: type.trim(), commands: [], dependencies: [],
      addCommand(command) { this.commands.push(command); },
      addDependency(task) { this.dependencies.push(task); },
    };
  },
  Command(name, parameters) { return { name, parameters }; },
};
function compiled(settings) {
  const tasks = [];
  compileJob({ name: "job", settings: JSON.parse(settings), addTask(task) { tasks.push(task); } });
  return JSON.stringify(tasks.map(task => ({
    ...task, dependencies: task.dependencies.map(needed => tasks.indexOf(needed)),
  })));
}
"""
# Of a setting (AvailableJobSetting in Flamenco's API).
FIELDS = {
    "key", "type", "subtype", "choices", "propargs", "description", "label", "default", "eval", "evalInfo",
    "visible", "required", "editable",
}  # fmt: skip


def engine(script: Path) -> quickjs.Context:
    context = quickjs.Context()
    context.eval('"use strict";\n' + STAND_IN + script.read_text(encoding="utf-8"))
    return context


def compiled(script: Path, **settings: str) -> list[dict[str, Any]]:
    """Return the tasks of a job with these settings; the others have their defaults."""
    given = {one["key"]: one["default"] for one in job_type(script)["settings"] if "default" in one}
    text = engine(script).get("compiled")(json.dumps({**given, **settings}))
    tasks: list[dict[str, Any]] = json.loads(text)
    return tasks


def job_type(script: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(engine(script).eval("JSON.stringify(JOB_TYPE)"))
    return told


def submitted(script: Path, **chosen: str) -> dict[str, str]:
    """Return the settings as Flamenco's add-on sends them: it evaluates those that nobody sees."""
    names = SimpleNamespace(**chosen)
    known = {"settings": names, "abspath": lambda path: Path(path).absolute(), "Path": Path}
    hidden = {
        one["key"]: eval(one["eval"], {}, known)
        for one in job_type(script)["settings"]
        if one.get("visible", "visible") in ("web", "hidden")
    }
    return {**chosen, **hidden}


def call(task: dict[str, Any]) -> list[str]:
    """Return the program and the arguments of a task's only command."""
    (one,) = task["commands"]
    assert one["name"] == "exec"
    assert set(one["parameters"]) == {"exe", "args"}
    return [one["parameters"]["exe"], *one["parameters"]["args"]]


def worked(tasks: list[dict[str, Any]]) -> list[int]:
    """Do the tasks as a worker does, each after those that it needs, and return their exit codes."""
    codes: list[int] = []
    for number, task in enumerate(tasks):
        assert all(needed < number for needed in task["dependencies"])
        if any(codes[needed] for needed in task["dependencies"]):
            codes.append(-1)  # never begun
            continue
        done = subprocess.run(call(task), capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        codes.append(done.returncode)
    return codes


@pytest.mark.parametrize("script", [CAPTURE, CAPTURES])
def test_settings_are_such_as_flamenco_knows(script: Path) -> None:
    told = job_type(script)
    assert {"label", "settings"} <= set(told) <= {"label", "settings", "description"}
    for one in told["settings"]:
        assert {"key", "type", "description"} <= set(one) <= FIELDS
        assert one["type"] == "string"
        assert one.get("subtype", "file_path") in ("file_path", "dir_path")
        assert one.get("visible", "visible") in ("visible", "submission", "web", "hidden")


def test_a_capture_is_checked_and_then_run_and_a_damaged_photo_is_no_failure(
    command: Path, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "Stühle 椅子" / "photos", 2)
    damaged = max(photos.iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-900])
    job = make_job(tmp_path / "Stühle 椅子" / "one chair.s2s.json", photos)
    tasks = compiled(CAPTURE, **submitted(CAPTURE, job_file=str(job), command=str(command)))
    assert [(task["name"], task["dependencies"]) for task in tasks] == [("check", []), ("run", [0])]
    assert worked(tasks) == [0, 0]
    assert len(list((photos / "postshot_v001").glob("*.png"))) == 1


def test_a_broken_capture_of_many_never_runs_and_the_others_do(
    command: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "all captures"
    photos = make_photos(folder / "Vase é" / "photos", 1)
    make_job(folder / "Vase é" / "the vase.S2S.json", photos)
    make_job(folder / "broken.s2s.json", folder / "nowhere")
    (folder / "other.json").write_text("{}")
    settings = submitted(CAPTURES, folder=str(folder), command=str(command))
    tasks = compiled(CAPTURES, **settings)
    assert [task["name"] for task in tasks] == [
        "check Vase é/the vase.S2S.json",
        "run Vase é/the vase.S2S.json",
        "check broken.s2s.json",
        "run broken.s2s.json",
    ]
    assert worked(tasks) == [0, 0, 3, -1]
    assert len(list((photos / "postshot_v001").glob("*.png"))) == 1


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("{storage}/captures", "{storage}/captures/a b/c.s2s.json"),
        ("{storage}", "{storage}/a b/c.s2s.json"),
        ("C:\\captures\\", "C:\\captures/a b/c.s2s.json"),
        ("\\\\server\\share\\", "\\\\server\\share/a b/c.s2s.json"),
        ("/", "/a b/c.s2s.json"),
    ],
)
def test_paths_begin_with_the_folder_so_that_flamenco_can_replace_it(
    folder: str, path: str
) -> None:
    jobs = json.dumps(["a b/c.s2s.json"])
    tasks = compiled(
        CAPTURES, folder_path=folder, jobs=jobs, command="{sam2splat}", task_type="gpu"
    )
    assert [call(task) for task in tasks] == [
        ["{sam2splat}", "check", path],
        ["{sam2splat}", "run", path, "--allow-damaged", "--once"],
    ]
    assert {task["type"] for task in tasks} == {"gpu"}


@pytest.mark.parametrize(
    ("script", "chosen", "words"),
    [
        (CAPTURE, {"job_file": ""}, "Choose a job file"),
        (CAPTURE, {"job_file": "/photos/IMG_1.JPG"}, "Choose a job file"),
        (CAPTURES, {"folder": ""}, "Choose a folder of jobs"),
        (CAPTURES, {"folder": "/nothing here"}, "Choose a folder of jobs"),
    ],
)
def test_a_job_without_work_is_refused(script: Path, chosen: dict[str, str], words: str) -> None:
    with pytest.raises(quickjs.JSException, match=words):
        compiled(script, **submitted(script, **chosen))
