# SPDX-License-Identifier: GPL-3.0-or-later
"""`sam2-splat farm` on a real Ray cluster of two nodes with a core each. It needs requirements/farm.txt."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sam2_splat_addon.client.command.farm import pinned
from sam2_splat_addon.client.command.farm_ray import Needs, chosen_needs
from sam2_splat_addon.client.command.main import main
from sam2_splat_addon.core.capture_job import CaptureJob
from sam2_splat_addon.core.errors import EnvironmentSetupError
from tests.captures import make_job, make_photos

ROOT = Path(__file__).resolve().parents[3]

with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install -r requirements/farm.txt",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Start two nodes; return the environment of commands that use them."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    os.environ["RAY_AUTH_MODE"] = "disabled"  # this way to start nodes asks for no token
    from ray.cluster_utils import Cluster

    facts: dict[str, Any] = {
        "num_cpus": 1,
        "resources": {"gpu_slot": 1},
        "object_store_memory": 80 << 20,
        "include_dashboard": False,
    }
    nodes = Cluster(initialize_head=True, head_node_args=facts)
    nodes.add_node(**facts)
    try:
        yield {**os.environ, "RAY_ADDRESS": nodes.address, "OMP_NUM_THREADS": "1"}
    finally:
        nodes.shutdown()


def start(environment: dict[str, str], *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sam2_splat_addon", *map(str, words)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if os.name == "nt" else _hears_ctrl_c,
    )


def _hears_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def done(environment: dict[str, str], *words: object) -> tuple[int, list[dict[str, Any]]]:
    out, err = (process := start(environment, *words)).communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, [json.loads(line) for line in out.splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the mattes of a capture, what made them, and its images."""
    wanted = (".matte", ".png", "manifest.json")
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.name.endswith(wanted)
    }
    run = next(name for name in found if name.endswith("mattes/manifest.json"))
    manifest = json.loads(found[run])
    del manifest["photos"]["folder"]  # a digest of the path
    return {**found, run: json.dumps(manifest).encode()}


@with_ray
@pytest.mark.slow
def test_captures_on_two_nodes_have_the_bytes_of_one_machine_and_are_made_once(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    cluster = {**cluster, "SAM2_SPLAT_CACHE": str(tmp_path / "cache")}
    farm, alone = tmp_path / "all é captures", tmp_path / "alone"
    for place in (farm, alone):
        make_job(place / "chair" / "a.s2s.json", make_photos(place / "chair" / "photos", 5))
        broken = make_photos(place / "vase" / "photos", 3)
        photo = sorted(broken.glob("*.JPG"))[1]
        photo.write_bytes(photo.read_bytes()[:-900])
        make_job(place / "vase" / "b.s2s.json", broken)
    make_job(farm / "gone.s2s.json", farm / "nothing here")
    words = ("farm", "run", farm, "--chunk", "2", "--resource", "gpu_slot", "--json")
    code, told = done(cluster, *words)
    ended = {one["name"]: one for one in told[-1]["captures"]}
    assert (code, told[-1]["code"]) == (3, 3)
    assert {name: one["code"] for name, one in ended.items()} == {
        "chair": 0,
        "vase": 8,
        "nothing here": 3,
    }
    assert "does not exist" in ended["nothing here"]["text"]
    parts = {at["task"] for at in told if at.get("capture") == "chair" and "task" in at}
    assert {"check", "run --once", "bake --once --part 1-1", "bake --once"} <= parts
    for name, job in (("chair", "a"), ("vase", "b")):
        done(cluster, "run", alone / name / f"{job}.s2s.json", "--device", "cpu", "--json")
        assert contents(farm / name) == contents(alone / name)
    times = {path: path.stat().st_mtime_ns for path in farm.rglob("*.*") if path.is_file()}
    code, told = done(cluster, *words, "--allow-damaged")
    assert {one["name"]: one["code"] for one in told[-1]["captures"]} == {
        name: one["code"] for name, one in ended.items()
    }
    mattes_and_images = {
        path: at for path, at in times.items() if path.suffix in (".matte", ".png")
    }
    assert {path: path.stat().st_mtime_ns for path in mattes_and_images} == mattes_and_images
    assert not list(farm.rglob("*_v002"))


@with_ray
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_a_farm_run_is_seen_and_cancelled_from_elsewhere(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    cluster = {**cluster, "SAM2_SPLAT_CACHE": str(tmp_path / "cache")}
    photos = make_photos(tmp_path / "one" / "photos", 60)
    make_job(tmp_path / "one" / "job.s2s.json", photos)
    process = start(cluster, "farm", "run", tmp_path, "--json")
    end = time.monotonic() + 200
    while not list(photos.rglob("*.matte")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    code, told = done(cluster, "farm", "status", "--json")
    assert code == 0
    assert [(one["name"], one["state"]) for one in told[0]["captures"]] == [("one", "running")]
    wrong = start(cluster, "farm", "cancel", "two")
    _, err = wrong.communicate(timeout=60)
    assert (wrong.returncode, "no capture called 'two'" in err) == (4, True)
    out, _ = start(cluster, "farm", "cancel", "one").communicate(timeout=60)
    assert "They end soon" in out
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["captures"][0]["state"] == "cancelled"
    kept = list(photos.rglob("*.matte"))
    assert 0 < len(kept) < 60
    assert not list(photos.rglob("run.lease"))


def needs_on(*nodes: dict[str, float], jobs: tuple[CaptureJob, ...] = (), **more: Any) -> Needs:
    """Return what tasks need on nodes with these resources; Ray itself is not asked."""
    known = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": one} for one in nodes])
    asked = {"gpus": None, "resources": [], **more}
    return chosen_needs(known, jobs or (CaptureJob(),), **asked)


def test_tasks_need_what_jobs_and_nodes_say() -> None:
    head: dict[str, float] = {"memory": 1e9}  # it has no processor
    card = {"CPU": 16.0, "GPU": 2.0}
    assert needs_on(head, {"CPU": 8.0}, {"CPU": 4.0}) == Needs(4)
    assert needs_on(head, card) == Needs(8, 1.0)
    assert needs_on(card, gpus=0.5) == Needs(4, 0.5)
    assert needs_on(card, gpus=0.0) == Needs(16)
    assert needs_on(card, jobs=(CaptureJob(device="cpu"),)) == Needs(16)
    assert needs_on(card, {"CPU": 4.0}, jobs=(CaptureJob(threads=6),)) == Needs(6, 1.0)
    assert needs_on({"CPU": 2.0}, jobs=(CaptureJob(threads=6),)) == Needs(2)
    slots = {"CPU": 4.0, "gpu_slot": 2.0}
    assert needs_on(card, slots, gpus=0.0, resources=["gpu_slot"]) == Needs(2, 0.0, ("gpu_slot",))
    for wrong in ({"gpus": 1.0}, {"resources": ["gpu_slot"]}):
        with pytest.raises(EnvironmentSetupError, match="No node of the Ray cluster has"):
            needs_on({"CPU": 4.0}, **wrong)


def test_what_a_node_could_decide_is_written_into_jobs() -> None:
    plain, own = CaptureJob(), CaptureJob(device="cpu", threads=3)
    assert [
        (one.device, one.threads) for one in (pinned(plain, Needs(4)), pinned(own, Needs(4)))
    ] == [*(("cpu", 4), ("cpu", 3))]
    assert pinned(plain, Needs(4, 0.5)).device == "cuda"


def test_without_ray_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    make_job(tmp_path / "job.s2s.json", make_photos(tmp_path / "photos", 1))
    for words in (["run", str(tmp_path)], ["status"], ["cancel"]):
        assert main(["farm", *words]) == 5
        assert 'pip install "sam2-splat[engine,farm]"' in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "run | status | cancel"),
        (["--help"], 0, "run | status | cancel"),
        (["dance"], 2, "run | status | cancel"),
        (["run", "--help"], 0, "--resource"),
        (["run", "x", "--gpus", "1.5"], 2, "neither a share"),
        (["run", "x", "--gpus", "-1"], 2, "neither a share"),
        (["run", "x", "--chunk", "0"], 2, "--chunk"),
        (["run", "x", "--store", "y"], 2, "--store is for one capture"),
        (["run", "nowhere"], 4, "does not exist"),
    ],
)
def test_usage_of_the_farm(
    words: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["farm", *words]) == code
    assert said in "".join(capfd.readouterr())
