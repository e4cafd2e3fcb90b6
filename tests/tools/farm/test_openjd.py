# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates for farms that read Open Job Description: openjd-cli runs them as such a farm does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.captures import make_job, make_photos

FARM = Path(__file__).resolve().parents[3] / "tools" / "farm" / "openjd"
CAPTURE, CAPTURES = FARM / "capture" / "template.yaml", FARM / "captures" / "template.yaml"


def openjd(*arguments: object) -> subprocess.CompletedProcess[str]:
    start = "import sys; from openjd.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("template", [CAPTURE, CAPTURES])
def test_templates_are_valid(template: Path) -> None:
    done = openjd("check", template)
    assert done.returncode == 0, done.stdout
    assert "passes validation checks" in done.stdout


def test_a_capture_is_checked_and_then_run(command: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "Stühle 椅子" / "photos", 1)
    job = make_job(tmp_path / "Stühle 椅子" / "one $chair.s2s.json", photos)
    given = json.dumps({"Job": str(job), "Command": str(command)})
    done = openjd("run", CAPTURE, "--step", "Run", "--run-dependencies", "-p", given)
    assert done.returncode == 0, done.stdout
    calls = (command.parent / "calls").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in calls] == [
        ["check", str(job)],
        ["run", str(job), "--allow-damaged", "--once"],
    ]
    assert len(list((photos / "postshot_v001").glob("*.png"))) == 1


def test_each_capture_of_many_is_a_task_and_hosts_map_its_path(
    command: Path, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "here" / "photos", 1)
    make_job(tmp_path / "here" / "a vase.s2s.json", photos)
    jobs = ["/storage/a vase.s2s.json", "/storage/nothing.s2s.json"]
    rule = {
        "source_path_format": "POSIX",
        "source_path": "/storage",
        "destination_path": str(tmp_path / "here"),
    }
    rules = json.dumps({"version": "pathmapping-1.0", "path_mapping_rules": [rule]})
    given = json.dumps({"Jobs": jobs, "Command": str(command)})
    done = openjd("run", CAPTURES, "--step", "Run", "-p", given, "--path-mapping-rules", rules)
    assert done.returncode == 1, done.stdout  # since one of its tasks has failed
    assert [line for line in done.stdout.splitlines() if "exited with code: 4" in line]
    calls = (command.parent / "calls").read_text(encoding="utf-8").splitlines()
    here = tmp_path / "here"
    assert [json.loads(line) for line in calls] == [
        ["run", str(here / "a vase.s2s.json"), "--allow-damaged", "--once"],
        ["run", str(here / "nothing.s2s.json"), "--allow-damaged", "--once"],
    ]
    assert len(list((photos / "postshot_v001").glob("*.png"))) == 1


def test_a_farm_refuses_an_empty_list() -> None:
    done = openjd("summary", CAPTURES, "-p", json.dumps({"Jobs": []}))
    assert done.returncode != 0 and "minLength" in done.stdout
