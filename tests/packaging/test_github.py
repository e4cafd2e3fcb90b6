# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds that what GitHub reads is well formed, and that its commands, options and files exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.build_site import environment_python, is_ready
from tools.release import NOTES, RELEASE, REPOSITORY, SUMS, version_of

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
# Schema that check-jsonschema brings along -> the files that follow it.
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": [GITHUB / "workflows" / "tests.yml"],
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-forms": [
        GITHUB / "ISSUE_TEMPLATE" / "bug.yml",
        GITHUB / "ISSUE_TEMPLATE" / "idea.yml",
    ],
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}
# What the runners bring along.
PROGRAMS = {"python", "sudo", "gh", "cd", "sha256sum"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in read(path)["jobs"].values():
        yield from job.get("steps", [])


def commands(path: Path) -> Iterator[list[str]]:
    """Yield every command of a workflow, split into its words."""
    for step in steps(path):
        for line in step.get("run", "").splitlines():
            for part in re.split(r"\s*&&\s*", line.strip()):
                if part:
                    yield shlex.split(part)


def problem_of(command: list[str]) -> str:
    """Return what is wrong with a command; empty where nothing is."""
    if command[0] not in PROGRAMS:
        return f"{command[0]} is no program of the runners'"
    if command[:2] == ["sudo", "env"]:
        command = command[3:]
    if command[0] != "python":
        return ""
    script = ROOT / command[1]
    if not script.is_file():
        return f"there is no {command[1]}"
    source = script.read_text(encoding="utf-8")
    for word in command[2:]:
        if word.startswith("--") and f'"{word}"' not in source:
            return f"{command[1]} has no option {word}"
        if word.startswith("tests") and not (ROOT / word).exists():
            return f"there is no {word}"
    return ""


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_of_a_workflow_exists_with_its_options_and_files(path: Path) -> None:
    found = list(commands(path))
    assert any(command[0] == "python" for command in found)
    assert {
        " ".join(command): problem_of(command) for command in found if problem_of(command)
    } == {}


def test_command_that_does_not_exist_is_found() -> None:
    assert problem_of(["python", "tools/no.py"]) == "there is no tools/no.py"
    assert problem_of(["python", "tools/test.py", "--no"]) == "tools/test.py has no option --no"
    assert problem_of(["python", "tools/test.py", "tests/no"]) == "there is no tests/no"
    assert problem_of(["sudo", "env", "PATH=x", "python", "no.py"]) == "there is no no.py"
    assert problem_of(["make"]) == "make is no program of the runners'"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_has_a_version_and_every_file_that_is_cached_by_exists(path: Path) -> None:
    for step in steps(path):
        assert bool(step.get("run")) != bool(step.get("uses")), step
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]), step["uses"]
        for pattern in step.get("with", {}).get("cache-dependency-path", "").split():
            assert list(ROOT.glob(pattern)), pattern
    for job in read(path)["jobs"].values():
        if called := job.get("uses"):
            assert (ROOT / called).is_file()
            # `on` is a truth value to YAML 1.1.
            assert "workflow_call" in read(ROOT / called)[True]


def test_workflows_may_write_only_where_they_publish() -> None:
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {"contents": "read"}
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    wider = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
    assert wider == {
        "build": {"contents": "read", "pages": "read"},  # reads the site's address
        "attach": {"contents": "write"},
        "pages": {"pages": "write", "id-token": "write"},
    }
    assert jobs["build"]["needs"] == "tests"


def test_tests_run_on_every_system_that_the_extension_is_for() -> None:
    jobs = read(GITHUB / "workflows" / "tests.yml")["jobs"]
    for name in ("tests", "blenders"):
        systems = {system.split("-")[0] for system in jobs[name]["strategy"]["matrix"]["os"]}
        assert systems == {"ubuntu", "windows", "macos"}


def test_release_publishes_what_the_release_command_makes() -> None:
    text = (GITHUB / "workflows" / "release.yml").read_text(encoding="utf-8")
    place = RELEASE.relative_to(ROOT).as_posix()
    for name in ("*.zip", SUMS, NOTES):
        assert f"            {place}/{name}\n" in text
    assert f"--repository {place}/{REPOSITORY}\n" in text


def test_bug_form_asks_for_the_report() -> None:
    fields = {
        field.get("id"): field for field in read(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")["body"]
    }
    assert "Copy Report" in fields["report"]["attributes"]["description"]
    assert fields["report"]["validations"]["required"]


def test_citation_names_the_version_of_the_manifest() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert str(citation["version"]) == version_of()
    assert citation["license"] == "GPL-3.0-or-later"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_file_follows_its_schema(schema: str) -> None:
    if not is_ready():
        pytest.skip("check-jsonschema is not here: python tools/build_site.py fetches it.")
    ran = subprocess.run(
        [
            *(str(environment_python()), "-m", "check_jsonschema"),
            *("--builtin-schema", schema, *map(str, SCHEMAS[schema])),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
