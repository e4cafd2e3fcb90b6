# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph of a capture, what an exit code means, and who does a task again: without Ray."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from sam2_splat_addon.client.command.farm_graph import (
    Farm,
    Graph,
    Outcome,
    Task,
    after,
    has_halves,
    parts_of,
)
from sam2_splat_addon.client.command.many import Capture
from sam2_splat_addon.core.capture_job import CaptureJob, JobStep
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.protocol import EditedMatte
from sam2_splat_addon.core.settings import RunSettings

Answer = Callable[[Task, str], Outcome]


def well(task: Task, _: str = "") -> Outcome:
    return Outcome(0, facts={"photos": 70})


class Nodes:
    """A cluster that does each task as soon as it is handed over, on the first node that may."""

    def __init__(self, answer: Answer, *nodes: str, slots: int = 2) -> None:
        self.alive = list(nodes or ("a", "b"))
        self.answer, self.room = answer, slots
        self.log: list[tuple[str, str]] = []  # node, words
        self.cancelled: list[int] = []
        self.stuck: dict[int, Task] = {}
        self._ended: dict[int, Outcome] = {}
        self._told: list[tuple[int, str, dict[str, Any]]] = []
        self._number = 0

    def slots(self) -> int:
        return self.room

    def nodes(self, task: Task) -> Collection[str]:
        return self.alive

    def submit(self, task: Task, avoided: Collection[str]) -> int:
        self._number += 1
        free = [node for node in self.alive if node not in avoided]
        if not free:
            self.stuck[self._number] = task
            return self._number
        outcome = self.answer(task, free[0])
        self.log.append((free[0], f"{task.capture} {' '.join(task.words)}"))
        self._told.append((self._number, free[0], {"event": "begun", "node": free[0]}))
        self._told.append((self._number, free[0], {"event": "progress", "fraction": 0.5}))
        node = "" if outcome.code is None else free[0]  # who is lost says nothing more
        self._ended[self._number] = Outcome(outcome.code, node, outcome.facts, outcome.problem)
        return self._number

    def ended(self) -> dict[int, Outcome]:
        ended, self._ended = self._ended, {}
        return ended

    def told(self) -> list[tuple[int, str, dict[str, Any]]]:
        told, self._told = self._told, []
        return told

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)
        if self.stuck.pop(number, None) is not None:
            self._ended[number] = Outcome(130)

    def name_of(self, node: str) -> str:
        return node


class Clock:
    """A clock that goes on by a second each time somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def captures(count: int = 1, steps: tuple[JobStep, ...] = ("propagate", "bake")) -> list[Capture]:
    return [
        Capture(
            Path(f"{number}.s2s.json"), CaptureJob(photos="x", steps=steps), f"capture {number}"
        )
        for number in range(count)
    ]


def done(nodes: Nodes, every: list[Capture], polls: int = 500, **more: Any) -> Farm:
    farm = Farm(every, nodes, now=Clock(), **more)
    for _ in range(polls):
        if farm.poll():
            return farm
    raise AssertionError([capture.text for capture in every])


def order_of(steps: tuple[JobStep, ...], checked: Outcome, ran: Outcome) -> list[list[str]]:
    """Return the words of a capture's tasks, those in one list may run side by side."""
    graph, rounds = Graph(0, CaptureJob(photos="x", steps=steps), 32), []
    while not graph.is_done:
        tasks = list(graph.open())
        rounds.append([" ".join(task.words) for task in tasks])
        for task in tasks:
            graph.ended(task, checked if task.kind == "check" else ran)
    return rounds


def test_a_capture_is_checked_tracked_baked_in_parts_and_finished() -> None:
    known = Outcome(0, facts={"photos": 70})
    assert order_of(("propagate", "review", "bake"), known, known) == [
        ["check"],
        ["run --once"],
        ["bake --once --part 1-23", "bake --once --part 24-46", "bake --once --part 47-70"],
        ["bake --once"],
    ]
    few = Outcome(0, facts={"photos": 32})
    assert order_of(("propagate", "bake"), few, few) == [["check"], ["run --once"]]
    assert order_of(("propagate",), known, known) == [["check"], ["run --once"]]
    assert order_of(("bake",), known, known)[1][0] == "bake --once --part 1-23"
    assert order_of(("bake",), few, few) == [["check"], ["bake --once"]]


def test_where_the_check_knows_no_number_the_run_tells_it() -> None:
    unknown, known = Outcome(7), Outcome(0, facts={"photos": 40})
    rounds = order_of(("propagate", "bake"), unknown, known)
    assert [len(tasks) for tasks in rounds] == [1, 1, 2, 1]
    assert order_of(("bake",), unknown, known) == [["check"], ["bake --once"]]
    assert order_of(("propagate", "bake"), unknown, Outcome(0, facts={"photos": 8})) == [
        ["check"],
        ["run --once"],
        ["bake --once"],
    ]


def test_the_run_before_parts_does_not_bake() -> None:
    graph = Graph(0, CaptureJob(photos="x", steps=("propagate", "review", "bake")), 32)
    (check,) = graph.open()
    graph.ended(check, Outcome(0, facts={"photos": 33}))
    (run,) = graph.open()
    assert run.steps == ("propagate", "review")


def clicked(*frames: int, **more: Any) -> CaptureJob:
    """Return a job with a subject that has a click on each of these frames."""
    clicks = tuple(FramePrompts(frame, (PointPrompt(5.5, 5.5),)) for frame in frames)
    more.setdefault("prompts", PromptSet((ObjectPrompts(1, "chair", clicks),)))
    return CaptureJob(photos="x", **more)


def test_two_machines_track_a_half_each_where_neither_needs_the_other() -> None:
    assert has_halves(clicked(25), 49)
    assert not has_halves(clicked(25), 48)
    assert not has_halves(clicked(24), 80)
    assert not has_halves(clicked(25, 50), 90)  # the way back attends to the second click
    two = PromptSet(
        (*clicked(30).prompts.objects, ObjectPrompts(2, "b", clicked(40).prompts.objects[0].frames))
    )
    assert has_halves(clicked(prompts=two), 90)
    drawn = (EditedMatte(1, 30, ((0.0, 0.0, 9.0, 0.0, 9.0, 9.0),)),)
    refused: tuple[dict[str, Any], ...] = (
        {"run": RunSettings(direction="forward")},
        {"run": RunSettings(carry_clicks="automatic")},
        {"run": RunSettings(last_frame=40)},
        {"run": RunSettings(first_frame=10)},
        {"steps": ("propagate", "agree")},
        {"steps": ("bake",)},
        {"found_masks": "white"},
        {"drawn": drawn},
        {"prompts": PromptSet(())},
    )
    assert not [more for more in refused if has_halves(clicked(30, **more), 90)]
    assert has_halves(clicked(30, drawn=drawn, drawn_prompt=False), 90)
    graph, known = Graph(0, clicked(30), 96, halves=True), Outcome(0, facts={"photos": 90})
    (check,) = graph.open()
    graph.ended(check, known)
    halves = list(graph.open())
    assert [task.words for task in halves] == [
        ("propagate", "--half", "backward"),
        ("propagate", "--half", "forward"),
    ]
    for half in halves:
        assert half.steps == ("propagate",)
        graph.ended(half, known)
    assert [task.words for task in graph.open()] == [("run", "--once")]


@pytest.mark.parametrize("photos", [1, 15, 16, 31, 32, 33, 64, 65, 97, 300, 5000])
def test_parts_cover_each_photo_once_in_chunks_of_like_size(photos: int) -> None:
    parts = parts_of(photos, 32)
    covered = [frame for first, last in parts for frame in range(first, last + 1)]
    assert covered == list(range(1, photos + 1))
    sizes = [last - first + 1 for first, last in parts]
    assert max(sizes) <= 32 and max(sizes) - min(sizes) <= 1
    if photos > 32:
        assert min(sizes) >= 16


@pytest.mark.parametrize(
    ("code", "tries", "what"),
    [
        *((0, 1, "done"), (8, 1, "done"), (2, 1, "failed"), (3, 1, "failed"), (4, 1, "failed")),
        *((5, 9, "again"), (7, 1, "again"), (7, 3, "failed"), (1, 2, "again"), (1, 3, "failed")),
        *((6, 1, "again"), (137, 2, "again"), (139, 3, "failed"), (None, 1, "again")),
        *((None, 3, "failed"), (130, 1, "again"), (143, 1, "again")),
    ],
)
def test_an_exit_code_says_what_follows(code: int | None, tries: int, what: str) -> None:
    assert after(Outcome(code), tries) == what
    assert after(Outcome(code), tries, wants_end=True) == ("done" if code in (0, 8) else "stopped")


def test_wrong_input_ends_one_capture_and_all_others_finish() -> None:
    def answer(task: Task, _: str) -> Outcome:
        wrong = task.capture == 1 and task.kind == "check"
        return Outcome(3, problem="No photos.") if wrong else well(task)

    every = captures(4)
    nodes = Nodes(answer)
    done(nodes, every)
    assert [(one.state, one.code) for one in every] == [
        *(("done", 0), ("failed", 3), ("done", 0), ("done", 0))
    ]
    assert every[1].verdict() == "No photos."
    assert [words for _, words in nodes.log if words.startswith("1 ")] == ["1 check"]
    first_run = next(at for at, (_, words) in enumerate(nodes.log) if " run" in words)
    assert {words for _, words in nodes.log[:first_run]} == {f"{n} check" for n in range(4)}


def test_a_node_that_lacks_something_gets_no_more_captures() -> None:
    def answer(task: Task, node: str) -> Outcome:
        return Outcome(5, problem="No torch.") if node == "a" else well(task)

    every = captures(6)
    nodes = Nodes(answer)
    done(nodes, every)
    assert {one.state for one in every} == {"done"}
    on_a = [words for node, words in nodes.log if node == "a"]
    assert len(on_a) <= 4  # those that were handed over before it was known
    everywhere = captures(3)
    done(Nodes(lambda *_: Outcome(5, problem="No torch.")), everywhere)
    assert [(one.code, one.problem) for one in everywhere] == [(5, "No torch.")] * 3


@pytest.mark.parametrize("code", [1, 6, 137, 7, None])
def test_a_crash_is_tried_three_times_and_elsewhere_if_it_can(code: int | None) -> None:
    def answer(task: Task, node: str) -> Outcome:
        return Outcome(code) if task.kind == "run" and node == "a" else well(task)

    every = captures(1)
    nodes = Nodes(answer)
    done(nodes, every)
    assert every[0].state == "done"
    assert [node for node, words in nodes.log if " run" in words] == ["a", "b"]
    alone = captures(1)
    only = Nodes(lambda task, _: well(task) if task.kind == "check" else Outcome(code), "a")
    done(only, alone)
    assert len([words for _, words in only.log if " run" in words]) == 3
    assert (alone[0].state, alone[0].code) == ("failed", 1 if code is None else code)


def test_a_folder_in_use_is_tried_later_and_its_check_is_no_obstacle() -> None:
    codes = iter([7, 7, 0])

    def answer(task: Task, _: str) -> Outcome:
        if task.kind == "check":
            return Outcome(7)
        return Outcome(next(codes)) if task.kind == "run" else well(task)

    every, clock = captures(1, ("propagate",)), Clock()
    farm = Farm(every, Nodes(answer), now=clock)
    while not farm.poll():
        assert clock.now < 500
    assert every[0].state == "done"
    assert clock.now > 25


def test_damaged_photos_of_any_task_are_told_once() -> None:
    def answer(task: Task, _: str) -> Outcome:
        names = {"run": ["a.jpg"], "finish": ["a.jpg", "b.jpg"]}.get(task.kind, [])
        return Outcome(8 if names else 0, facts={"photos": 70, "damaged": names, "output": "out"})

    every = captures(1)
    done(Nodes(answer), every)
    assert (every[0].code, every[0].facts["damaged"]) == (8, ["a.jpg", "b.jpg"])
    assert every[0].verdict() == "Done, 2 damaged, left out"


def test_a_task_that_waits_for_nodes_that_are_gone_goes_to_another() -> None:
    nodes = Nodes(well, "a", "b")

    def answer(task: Task, node: str) -> Outcome:
        if task.kind == "run" and node == "a" and nodes.alive == ["a", "b"]:
            nodes.alive = ["a", "b", "gone"]
            return Outcome(None)
        return well(task)

    nodes.answer = answer
    every = captures(1, ("propagate",))
    farm = Farm(every, nodes, now=Clock())
    hand_over = nodes.submit

    def submit(task: Task, avoided: Collection[str]) -> int:
        if avoided and "gone" in nodes.alive:  # b and the new one end while the task waits for them
            nodes.alive = ["a"]
        return hand_over(task, avoided)

    nodes.submit = submit  # type: ignore[method-assign]
    for _ in range(50):
        if farm.poll():
            break
    assert every[0].state == "done"
    assert [node for node, words in nodes.log if " run" in words] == ["a", "a"]


def test_a_cancel_ends_all_and_keeps_what_is_done() -> None:
    every = captures(5)
    nodes = Nodes(well, slots=1)
    farm = Farm(every, nodes, now=Clock())
    while not any(one.state == "done" for one in every):
        farm.poll()
    farm.cancel()
    for _ in range(20):
        if farm.poll():
            break
    assert {one.state for one in every} == {"done", "cancelled"}
    assert {one.code for one in every} == {0, 130}
    before = len(nodes.log)
    farm.poll()
    assert len(nodes.log) == before


def test_one_capture_can_be_cancelled_by_its_name() -> None:
    every = captures(3)
    farm = Farm(every, Nodes(well), now=Clock())
    farm.cancel(["capture 1"])
    while not farm.poll():
        pass
    assert [one.state for one in every] == ["done", "cancelled", "done"]


def test_no_more_captures_at_once_than_wanted() -> None:
    class Slow(Nodes):
        def ended(self) -> dict[int, Outcome]:
            active.append(len({task.capture for task in flying() if task.kind == "run"}))
            return super().ended()

    active: list[int] = []
    every = captures(6, ("propagate",))
    nodes = Slow(well, slots=4)
    farm = Farm(every, nodes, at_once=2, now=Clock())

    def flying() -> list[Task]:
        return [flight.task for flight in farm._flights.values()]

    while not farm.poll():
        pass
    assert max(active) == 2
