# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts: JSON both ways, and every error is found before a run begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sam2_splat_addon.core import prompts
from sam2_splat_addon.core.errors import PromptError
from sam2_splat_addon.core.footage.headers import MAX_PIXELS, MAX_SIDE
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.prompts import (
    BoxPrompt,
    FramePrompts,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
    from_json,
    have_one_shape,
    read_json,
    to_json,
)

W, H, COUNT = 1200, 1800, 48
CLICK = FramePrompts(1, (PointPrompt(612.5, 940.5),))


def one(*frames: FramePrompts, name: str = "chair") -> PromptSet:
    return PromptSet((ObjectPrompts(1, name, frames),), W, H)


def full_set() -> PromptSet:
    mask = MaskPrompt.from_array(np.eye(W // 100, dtype=bool).repeat(2, axis=0)[:18, :12])
    return PromptSet(
        (
            ObjectPrompts(
                1,
                "Stuhl für Käufer 🪑",
                (
                    FramePrompts(
                        1,
                        (PointPrompt(612.5, 940.5), PointPrompt(0.1, 1799.9, include=False)),
                        BoxPrompt(300, 200, 900, 1700),
                    ),
                    FramePrompts(7, mask=mask),
                ),
            ),
            ObjectPrompts(4, "lamp", (FramePrompts(3, box=BoxPrompt(0, 0, W, H)),)),
        ),
        W,
        H,
    )


def test_json_gives_the_same_set_back() -> None:
    assert from_json(to_json(full_set())) == full_set()


def test_equal_sets_give_equal_bytes() -> None:
    assert to_json(full_set()) == to_json(from_json(to_json(full_set())))


def test_json_written_by_hand_needs_only_what_it_says() -> None:
    frame = b'{"frame": 1, "points": [{"x": 5, "y": 6}]}'
    text = b'{"objects": [{"id": 1, "name": "chair", "frames": [' + frame + b"]}]}"
    prompts = from_json(text)
    assert prompts == PromptSet(
        (ObjectPrompts(1, "chair", (FramePrompts(1, (PointPrompt(5.0, 6.0),)),)),)
    )
    assert prompts.checked(PhotoSizes(10, 10), 1).width == 10


def test_what_starts_anew_is_said_in_json_and_kept_through_the_checks() -> None:
    anew = PromptSet(
        (ObjectPrompts(1, "chair", (FramePrompts(2, (PointPrompt(5.0, 6.0),), anew=True),)),),
        10,
        10,
    )
    assert from_json(to_json(anew)) == anew
    assert anew.checked(PhotoSizes(20, 20), 3).objects[0].frames == (
        FramePrompts(2, (PointPrompt(10.0, 12.0),), anew=True),
    )


def test_the_documented_example_is_read() -> None:
    from sam2_splat_addon.core import prompts

    assert prompts.__doc__ is not None
    example = prompts.__doc__.partition("::")[2].partition("``points``")[0]
    read = from_json(example.encode())
    assert read.object(1).frames[0].box == BoxPrompt(300, 200, 900, 1700)


def test_a_byte_order_mark_of_a_windows_editor_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_bytes(b"\xef\xbb\xbf" + to_json(full_set()))
    assert read_json(path) == full_set()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "truncated"),
        (b"no json", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"objects": [{"id": "x", "name": "a"}]}', "objects[0].id"),
        (b'{"objects": [], "versoin": 1}', "versoin"),
        (b'{"objects": [{"id": 1, "name": "a", "frames": [{"frame": 1, "dot": 1}]}]}', "dot"),
    ],
)
def test_malformed_json_names_the_file_and_the_place(
    tmp_path: Path, data: bytes, told: str
) -> None:
    path = tmp_path / "clicks.json"
    path.write_bytes(data)
    with pytest.raises(PromptError) as caught:
        read_json(path)
    assert "clicks.json" in caught.value.message
    assert told in caught.value.message
    assert caught.value.fix


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"nothing\.json"):
        read_json(tmp_path / "nothing.json")


def test_another_schema_version_is_told_as_such_even_when_its_fields_are_unknown() -> None:
    with pytest.raises(
        PromptError,
        match="Prompts of old have schema version 9, but this SAM2 Splat reads version 1",
    ):
        from_json(b'{"version": 9, "things": []}', "Prompts of old")


def test_checked_sorts_drops_empty_frames_and_fills_in_the_size() -> None:
    late = FramePrompts(9, (PointPrompt(1, 1, include=False),))
    second = ObjectPrompts(2, "b", (FramePrompts(4), late, CLICK))
    first = ObjectPrompts(1, "a", (CLICK,))
    checked = PromptSet((second, first)).checked(PhotoSizes(W, H), COUNT)
    assert checked == PromptSet((first, ObjectPrompts(2, "b", (CLICK, late))), W, H)


def test_a_checked_set_stays_as_it_is() -> None:
    checked = full_set().checked(PhotoSizes(W, H), COUNT)
    assert checked.checked(PhotoSizes(W, H), COUNT) == checked


def test_prompts_made_on_a_proxy_are_scaled() -> None:
    proxy = PromptSet(
        (
            ObjectPrompts(
                1, "a", (FramePrompts(1, (PointPrompt(75, 150),), BoxPrompt(30, 40, 300, 450)),)
            ),
        ),
        300,
        450,
    )
    frame = proxy.checked(PhotoSizes(W, H), COUNT).object(1).frames[0]
    assert frame.points == (PointPrompt(300, 600),)
    assert frame.box == BoxPrompt(120, 160, 1200, 1800)


@pytest.mark.parametrize(
    ("copy", "photo"),
    [
        ((1000, 667), (3000, 2000)),
        ((1, 1), (3, 2)),
        ((MAX_SIDE, 2), (MAX_SIDE, 2)),
        ((2, 3), (3, 4)),
    ],
)
def test_sides_of_a_proxy_are_rounded(copy: tuple[int, int], photo: tuple[int, int]) -> None:
    for given in (copy, copy[::-1]):
        width, height = photo if given == copy else photo[::-1]
        set_of_copy = PromptSet(
            (ObjectPrompts(1, "a", (FramePrompts(1, (PointPrompt(*given),)),)),), *given
        )
        (point,) = set_of_copy.checked(PhotoSizes(width, height), 1).object(1).frames[0].points
        assert (point.x, point.y) == pytest.approx((width, height))


@pytest.mark.parametrize("size", [(1000, 670), (1003, 667), (2000, 3000)])
def test_prompts_of_another_shape_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PromptError, match=f"for photos of {size[0]}x{size[1]} px"):
        PromptSet(one(CLICK).objects, *size).checked(PhotoSizes(3000, 2000), COUNT)


def test_a_set_that_knows_one_side_only_is_not_scaled() -> None:
    for width, height in ((600, 0), (0, 900)):
        checked = PromptSet(one(CLICK).objects, width, height).checked(PhotoSizes(W, H), COUNT)
        assert checked.object(1).frames == (CLICK,)


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        (PromptSet(()), "no click yet"),
        (one(), "no click that says where it is"),
        (one(FramePrompts(1, (PointPrompt(5, 5, include=False),))), "no click that says where"),
        (
            one(FramePrompts(1, mask=MaskPrompt(W, H, (W * H,)))),
            "no click that says where",
        ),
        (one(CLICK, CLICK), "same frame twice"),
        (one(FramePrompts(49, CLICK.points)), "frame 49, but the photos are frames 1 to 48"),
        (one(FramePrompts(0, CLICK.points)), "frame 0"),
        (one(FramePrompts(7, (PointPrompt(1200.5, 3),))), "'chair', frame 7: the click at (1200.5"),
        (one(FramePrompts(1, (PointPrompt(3, -0.1),))), "outside"),
        (one(FramePrompts(1, (PointPrompt(float("nan"), 3),))), "outside"),
        (one(FramePrompts(1, box=BoxPrompt(5, 5, 5, 9))), "is empty, or part of it is outside"),
        (one(FramePrompts(1, box=BoxPrompt(5, 5, 9, 5))), "is empty, or part of it is outside"),
        (one(FramePrompts(1, box=BoxPrompt(5, 5, 9, 1801))), "is empty, or part of it is outside"),
        (one(FramePrompts(1, box=BoxPrompt(5, float("nan"), 9, 9))), "is empty, or part of it"),
        (one(FramePrompts(1, mask=MaskPrompt(100, 100, (0, 10000)))), "mask has 100x100 px"),
        (one(FramePrompts(1, mask=MaskPrompt(12, 18, (0, 215)))), "sum of its runs is 215"),
        (
            PromptSet((ObjectPrompts(1, "a", (CLICK,)), ObjectPrompts(1, "b", (CLICK,)))),
            "different numbers from 1",
        ),
        (PromptSet((ObjectPrompts(0, "a", (CLICK,)),)), "different numbers from 1"),
        (PromptSet((ObjectPrompts(2**31 - 1, "a", (CLICK,)),)), "different numbers from 1"),
        (PromptSet((ObjectPrompts(1, "a", (CLICK,)),), 1800, 1200), "for photos of 1800x1200 px"),
        (msgspec.structs.replace(one(CLICK), version=2), "The prompts have schema version 2"),
    ],
)
def test_checked_names_what_is_wrong(prompts: PromptSet, told: str) -> None:
    with pytest.raises(PromptError) as caught:
        prompts.checked(PhotoSizes(W, H), COUNT)
    assert told in caught.value.message


def test_clicks_on_the_very_border_are_inside() -> None:
    corners = tuple(PointPrompt(x, y) for x in (0, W) for y in (0, H))
    assert one(FramePrompts(COUNT, corners)).checked(PhotoSizes(W, H), COUNT)


def test_an_unknown_object_is_a_prompt_error() -> None:
    with pytest.raises(PromptError, match="no subject with the id 3"):
        full_set().object(3)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((3, 4), bool),
        np.ones((3, 4), bool),
        np.eye(5, dtype=bool),
        np.random.default_rng(1).random((37, 23)) > 0.5,
        np.zeros((1, 1), bool),
    ],
    ids=["empty", "full", "diagonal", "noise", "one pixel"],
)
def test_masks_survive_run_lengths(mask: np.ndarray) -> None:
    encoded = MaskPrompt.from_array(mask)
    assert sum(encoded.runs) == mask.size
    np.testing.assert_array_equal(encoded.to_array(), mask)


def test_positive_logits_are_inside() -> None:
    logits = np.array([[-1.0, 0.0, 0.5]])
    assert MaskPrompt.from_array(logits).runs == (2, 1)


def test_a_mask_of_another_rank_is_refused() -> None:
    with pytest.raises(PromptError, match=r"\(2, 3, 4\)"):
        MaskPrompt.from_array(np.zeros((2, 3, 4)))


def test_runs_that_do_not_fill_the_mask_are_refused() -> None:
    for runs in ((), (5,), (-1, 13), (6, 7)):
        with pytest.raises(PromptError, match="4x3 px"):
            MaskPrompt(4, 3, runs).to_array()


def test_prompts_are_immutable_values() -> None:
    assert hash(full_set()) == hash(full_set())
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        CLICK.frame = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("width", "height"), [(0, 0), (-160, -120), (65535, 65535), (300_000, 300_000), (2**40, 1)]
)
def test_a_mask_of_a_size_that_cannot_be_takes_no_memory(width: int, height: int) -> None:
    with pytest.raises(PromptError, match="can't have"):
        MaskPrompt(width, height, (width * height,)).to_array()


def test_the_largest_masks_are_masks() -> None:
    for width, height in ((MAX_SIDE, 1), (1, MAX_SIDE), (20_000, MAX_PIXELS // 20_000)):
        MaskPrompt(width, height, (width * height,)).check()
    with pytest.raises(PromptError, match="can't have"):
        MaskPrompt(20_000, MAX_PIXELS // 20_000 + 1, (MAX_PIXELS + 20_000,)).check()


def test_the_largest_id_is_an_id() -> None:
    prompts = PromptSet((ObjectPrompts(2**31 - 2, "a", (CLICK,)),))
    assert prompts.checked(PhotoSizes(W, H), COUNT).object(2**31 - 2).frames == (CLICK,)


def test_a_file_that_can_not_hold_prompts_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.json"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)  # takes no room on the disk
    with pytest.raises(PromptError, match="larger than 256 MB") as caught:
        read_json(path)
    assert str(path) in caught.value.message
    with pytest.raises(PromptError, match=r"can't be read: .*null"):
        read_json(Path("a\0b"))


def test_json_is_written_to_be_read_by_people() -> None:
    lines = to_json(one(CLICK)).decode().splitlines()
    assert lines[:4] == ["{", '  "objects": [', "    {", '      "id": 1,']
    assert lines[-1] == "}"


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"version": 1, "objects": "\xff"}', b"\xff"])
def test_nesting_and_bad_letters_are_prompt_errors(data: bytes) -> None:
    with pytest.raises(PromptError, match="can't be read"):
        from_json(data)


@pytest.mark.parametrize(
    ("width", "height", "runs"),
    [
        (0, 0, ()),
        (0, 12, ()),
        (-4, -3, (0, 12)),
        (4, -3, ()),
        (200_000, 200_000, (0, 40_000_000_000)),
        (2**40, 2**40, (0, 2**80)),
        (2**31, 1, (0, 2**31)),
        (100_000, 100_000, (0, 10**10)),
    ],
)
def test_a_mask_of_no_size_or_a_giant_one_is_refused_before_memory_is_taken(
    width: int, height: int, runs: tuple[int, ...]
) -> None:
    mask = MaskPrompt(width, height, runs)
    with pytest.raises(PromptError, match="mask prompt"):
        mask.to_array()
    with pytest.raises(PromptError, match="mask prompt"):
        one(FramePrompts(1, (PointPrompt(1, 1),), mask=mask)).checked(PhotoSizes(W, H), COUNT)


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "9" * 5000, "NaN", "1e400", "-1", '"5"', "null", "[[]]"]
)
@pytest.mark.parametrize("field", ["x", "frame", "id", "width", "side", "run"])
def test_a_number_beyond_all_sizes_is_a_sentence(field: str, number: str) -> None:
    values = {"x": "1", "frame": "1", "id": "1", "width": "0", "side": "4", "run": "12"}
    values[field] = number
    data = (
        '{{"width": {width}, "height": {width}, "objects": [{{"id": {id}, "name": "a", "frames":'
        ' [{{"frame": {frame}, "points": [{{"x": {x}, "y": 1}}], "mask": {{"width": {side},'
        ' "height": 3, "runs": [0, {run}]}}}}]}}]}}'
    ).format(**values)
    with pytest.raises(PromptError) as caught:
        from_json(data.encode()).checked(PhotoSizes(4, 3), COUNT)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("number", ["1e300", "-1e300", "9" * 300, "-" + "9" * 300])
@pytest.mark.parametrize("field", ["x", "box", "frame", "id", "width", "side", "run", "version"])
def test_a_number_of_hundreds_of_digits_is_not_printed_whole(field: str, number: str) -> None:
    values = {"x": "1", "box": "2", "frame": "1", "id": "1", "width": "0", "side": "4", "run": "12"}
    values |= {"version": "1", field: number}
    data = (
        '{{"version": {version}, "width": {width}, "height": {width}, "objects": [{{"id": {id}, "name":'
        ' "a", "frames": [{{"frame": {frame}, "points": [{{"x": {x}, "y": 1}}], "box": {{"x0": 0, "y0":'
        ' 0, "x1": {box}, "y1": 2}}, "mask": {{"width": {side}, "height": 3, "runs": [0, {run}]}}}}]}}]}}'
    ).format(**values)
    with pytest.raises(PromptError) as caught:
        from_json(data.encode()).checked(PhotoSizes(4, 3), COUNT)
    assert len(str(caught.value)) < 300


def test_a_set_made_at_an_impossible_size_is_refused() -> None:
    for width, height in ((-5, -5), (10**400, 1), (10**400, 10**400), (2**40, 2**40)):
        with pytest.raises(PromptError, match="for photos of"):
            PromptSet(one(CLICK).objects, width, height).checked(PhotoSizes(W, H), COUNT)


def test_a_name_keeps_its_letters_and_loses_its_commands() -> None:
    (entry,) = (
        one(CLICK, name="Stół\u2028\x1b[2J\nError: gone").checked(PhotoSizes(W, H), COUNT).objects
    )
    assert entry.name == r"Stół\u2028\x1b[2J\nError: gone"


def test_a_mask_says_where_the_subject_is_if_it_holds_a_pixel() -> None:
    full, empty = np.ones((4, 6), bool), np.zeros((4, 6), bool)
    spot = empty.copy()
    spot[3, 5] = True
    for mask, includes in ((full, True), (empty, False), (spot, True)):
        assert FramePrompts(1, mask=MaskPrompt.from_array(mask)).includes_something is includes
    assert not FramePrompts(1, (PointPrompt(3, 3, include=False),)).includes_something


def test_a_copy_may_be_one_pixel_beside_the_exact_size_and_not_two() -> None:
    assert have_one_shape((1000, 667), (3000, 2000))  # 2000 / 3 is 666.7
    assert have_one_shape((1000, 666), (3000, 2000))
    assert have_one_shape((4, 1), (2, 1))  # one pixel of its lower side, exactly
    assert not have_one_shape((5, 1), (2, 1))
    assert not have_one_shape((1000, 669), (3000, 2000))


def test_a_prompts_file_may_be_as_large_as_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = to_json(one(CLICK))
    (tmp_path / "prompts.json").write_bytes(data)
    monkeypatch.setattr(prompts, "_MAX_BYTES", len(data))
    assert read_json(tmp_path / "prompts.json") == one(CLICK)
    monkeypatch.setattr(prompts, "_MAX_BYTES", len(data) - 1)
    with pytest.raises(PromptError, match="is larger than"):
        read_json(tmp_path / "prompts.json")


@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (-1, 10), (10, -1)])
def test_a_set_made_at_a_size_with_one_impossible_side_is_refused(size: tuple[int, int]) -> None:
    made = PromptSet((ObjectPrompts(1, "chair", (CLICK,)),), *size)
    with pytest.raises(PromptError, match="such photos do not exist"):
        made.checked(PhotoSizes(W, H), COUNT)


def test_the_prompts_of_an_object_are_found_by_its_id() -> None:
    both = PromptSet((ObjectPrompts(1, "chair", (CLICK,)), ObjectPrompts(2, "table", ())), W, H)
    assert both.frames_of(1) == (CLICK,)
    assert both.frames_of(2) == both.frames_of(3) == ()
