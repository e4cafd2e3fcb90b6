# SPDX-License-Identifier: GPL-3.0-or-later
"""The review of an object: which frames it lists, and the reasons that it gives."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.printable import shown
from sam2_splat_addon.core.review.agreement import Agreement, FrameAgreement, write_agreement
from sam2_splat_addon.core.review.judge import (
    FrameReview,
    ShapeReader,
    review_object,
    worst_first,
)
from sam2_splat_addon.core.review.report import ReportLine, csv_table, html_page

SIZE = (300, 450)


def record(
    frame: int,
    *,
    turn: float = 0.0,
    height: float = 30.0,
    iou: float = 0.94,
    score: float = 8.0,
    absent: bool = False,
    pieces: int = 1,
    object_id: int = 1,
) -> MatteRecord:
    """Make a tilted ellipse that turns a little from frame to frame."""
    y, x = np.mgrid[:96, :96] + 0.5
    angle = 0.3 + turn + 0.02 * frame
    along = (x - 48) * np.cos(angle) + (y - 48) * np.sin(angle)
    across = (y - 48) * np.cos(angle) - (x - 48) * np.sin(angle)
    logits = 80.0 * (1.0 - np.hypot(along / height, across / 12.0))
    if pieces > 1:
        logits[(along % (60 / pieces)) < 3] = -5.0
    if absent:
        logits[:] = -9.0
    scores = MatteScores(-4.0 if absent else score, iou, float((logits > 0).mean()))
    return MatteRecord(object_id, frame, *SIZE, logits.astype(np.float16), scores, frame == 3)


@pytest.fixture
def store(tmp_path: Path) -> MatteStore:
    """Make twelve good frames of object 1, prompted on frame 3."""
    store = MatteStore.open(tmp_path / "store", create=True)
    for frame in range(1, 13):
        store.write(record(frame))
    return store


def listed(store: MatteStore) -> dict[int, FrameReview]:
    return {review.frame: review for review in review_object(store, 1) if review.listed}


def test_good_frames_are_not_listed(store: MatteStore) -> None:
    reviews = review_object(store, 1)
    assert [review.frame for review in reviews] == list(range(1, 13))
    assert {review.state for review in reviews} == {"good"}
    assert max(review.badness for review in reviews) < 0.2


def test_an_object_without_mattes_has_no_reviews(store: MatteStore) -> None:
    assert review_object(store, 7) == []


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"iou": 0.62}, "SAM 2 is not sure of this mask"),
        ({"score": 0.5}, "hardly sees the subject"),
        ({"height": 14.0}, "The mask is half as large as on photo 6"),
        ({"height": 55.0}, "twice as large as on photo 6"),
        ({"turn": 1.4}, "another shape than on photos 6 and 8"),
        ({"pieces": 9}, "falls into"),
        ({"absent": True}, "The subject is lost, though photos 6 and 8 show it"),
    ],
)
def test_a_frame_that_went_wrong_is_listed_with_its_reason(
    store: MatteStore, what: dict[str, float], words: str
) -> None:
    store.write(record(7, **what))  # type: ignore[arg-type]  # one keyword of several
    found = listed(store)
    assert 7 in found
    assert found[7].badness == max(review.badness for review in found.values())
    assert any(words in reason for reason in found[7].reasons), found[7].reasons
    assert found[7].state == ("absent" if "absent" in what else "doubtful")
    assert found[7].summary
    assert set(found) <= {6, 7, 8}


def test_what_is_low_for_this_object_is_listed_though_other_objects_score_lower(
    store: MatteStore,
) -> None:
    for frame in range(1, 13):
        store.write(record(frame, iou=0.92 if frame != 9 else 0.83))
    assert list(listed(store)) == [9]


def test_mattes_before_the_first_prompt_are_held_against_the_frame_after(store: MatteStore) -> None:
    # Propagated backwards from frame 3: frame 2 went wrong, and frame 3 was good.
    store.write(record(2, height=14.0))
    store.write(record(1, height=14.0))
    assert any("on photo 3" in reason for reason in listed(store)[2].reasons)


@pytest.mark.parametrize(("extra", "also"), [(0.5, False), (0.0, True)])
def test_a_frame_beside_one_that_others_contradict_is_not_blamed_for_the_difference(
    store: MatteStore, extra: float, also: bool
) -> None:
    store.write(record(7, height=14.0))
    frames = tuple(
        FrameAgreement(
            frame, "", 0.9 if frame != 7 else 0.9 - extra, extra if frame == 7 else 0.0, 0.0
        )
        for frame in range(1, 13)
    )
    write_agreement(store, 1, Agreement("cameras", "hull", frames))
    found = listed(store)
    assert 7 in found
    assert (8 in found) is also  # it has double the size of frame 7


@pytest.mark.parametrize("others", [0, 1])
def test_what_most_masks_have_too_much_counts_if_other_things_were_left_out(
    store: MatteStore, others: int
) -> None:
    frames = tuple(FrameAgreement(frame, "", 0.6, 0.4, 0.0) for frame in range(1, 13))
    write_agreement(store, 1, Agreement("cameras", "hull", frames, others=others))
    found = listed(store)
    assert len(found) == (12 if others else 0)


@pytest.mark.parametrize("missing", [0.0, 0.6])
def test_a_lost_subject_is_listed_unless_others_say_that_it_is_hidden(
    store: MatteStore, missing: float
) -> None:
    store.write(record(7, absent=True))
    assert 7 in listed(store)
    frames = (FrameAgreement(7, "", 0.0, 0.0, missing), FrameAgreement(6, "", 0.9, 0.0, 0.0))
    write_agreement(store, 1, Agreement("cameras", "hull", frames))
    assert (7 in listed(store)) is (missing > 0)
    (lost,) = (one for one in review_object(store, 1) if one.frame == 7)
    assert lost.state == "absent"


def test_a_drawn_frame_is_corrected_whatever_the_model_says(store: MatteStore) -> None:
    store.write(record(7, iou=0.3, absent=True))
    (drawn,) = (one for one in review_object(store, 1, corrected=[7]) if one.frame == 7)
    assert drawn.state == "corrected"
    assert not drawn.listed
    assert drawn.reasons == ()


def test_the_worst_of_all_objects_comes_first(store: MatteStore) -> None:
    for frame in range(1, 13):
        store.write(record(frame, object_id=2, absent=frame == 5))
    store.write(record(7, iou=0.72))
    reviews = [*review_object(store, 1), *review_object(store, 2)]
    found = worst_first(reviews)
    assert (found[0].object_id, found[0].frame) == (2, 5)
    assert (1, 7) in {(one.object_id, one.frame) for one in found}
    assert [one.badness for one in found] == sorted((one.badness for one in found), reverse=True)


def test_only_what_was_written_anew_is_measured_again(store: MatteStore) -> None:
    reader = ShapeReader(store)
    before = list(reader.read(1))
    path = store.path(1, 4)
    store.write(record(4, height=20.0))
    later = path.stat().st_mtime_ns + 10_000_000
    os.utime(path, ns=(later, later))
    after = list(reader.read(1))
    changed = [new is not old for new, old in zip(after, before, strict=True)]
    assert changed == [frame == 4 for frame in range(1, 13)]


def test_a_damaged_matte_is_named(store: MatteStore) -> None:
    path = store.path(1, 4)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match=r"000004\.matte"):
        review_object(store, 1)


def test_a_matte_whose_logits_promise_little_is_listed(store: MatteStore) -> None:
    whole = record(7)
    vague = MatteRecord(
        1, 7, *SIZE, (whole.logits / 60).astype(np.float16), whole.scores, whole.prompted
    )
    store.write(vague)
    assert listed(store)[7].summary == "Vague edge"


@pytest.mark.parametrize(("overlap", "is_listed"), [(0.97, False), (0.55, True)])
def test_a_frame_on_which_both_sides_disagree_is_listed_and_says_so(
    store: MatteStore, overlap: float, is_listed: bool
) -> None:
    one = record(7)
    scores = msgspec.structs.replace(one.scores, agreement=overlap)
    store.write(msgspec.structs.replace(one, scores=scores))
    review = next(one for one in review_object(store, 1) if one.frame == 7)
    assert review.listed == is_listed
    assert review.both_sides == overlap
    if is_listed:
        assert review.reasons == ("The photos before and after it give two different masks",)
        assert review.summary == "Two masks"
    rows = csv_table([ReportLine(review, "chair", "a.jpg")]).decode().splitlines()
    assert rows[1].endswith(f",{overlap:.3f}")


def _write_from_both_sides(store: MatteStore, heights: dict[int, float]) -> None:
    for frame, height in heights.items():
        one = record(frame, height=height)
        scores = msgspec.structs.replace(one.scores, agreement=0.97)
        store.write(msgspec.structs.replace(one, scores=scores))


def test_a_matte_of_two_sides_is_measured_by_the_neighbour_it_fits(store: MatteStore) -> None:
    """Frames 7 to 10 may come from frame 11: so a larger frame 6 does not count as a change."""
    for frame in (11, 12):
        store.write(record(frame, height=18.0))
    _write_from_both_sides(store, {5: 30, 6: 30, 7: 18, 8: 18, 9: 18, 10: 18})
    said = [reason for review in review_object(store, 1) for reason in review.reasons]
    assert not [reason for reason in said if " as on " in reason or "er than on " in reason]


def test_a_matte_of_two_sides_that_fits_neither_neighbour_has_changed(store: MatteStore) -> None:
    _write_from_both_sides(store, {5: 30, 6: 30, 7: 16, 8: 30, 9: 30})
    found = listed(store)
    assert list(found) == [7]
    assert "The mask is half as large as on photo" in found[7].reasons[0]


def test_frames_tracked_from_one_side_leave_that_column_empty(store: MatteStore) -> None:
    (review, *_) = review_object(store, 1)
    assert review.both_sides is None
    heading, row = csv_table([ReportLine(review, "chair", "a.jpg")]).decode().splitlines()
    assert heading.endswith(",both_sides")
    assert row.endswith(",")


@pytest.mark.parametrize(
    "name",
    [
        '=HYPERLINK("http://evil","x")', "@SUM(1)", "+1|cmd", "-2+3", "\t=1", "\r=1", "\n=1", "  =1",
        *(f"{chr(ord(sign) + 0xFEE0)}1" for sign in "=+-@"),  # of Chinese and Japanese keyboards
    ],
)  # fmt: skip
def test_a_name_is_no_formula_of_a_spreadsheet(store: MatteStore, name: str) -> None:
    (review, *_) = review_object(store, 1)
    review = msgspec.structs.replace(review, object_score=-3.25)
    table = csv_table([ReportLine(review, name, f"{name}.jpg")]).decode()
    _, row = csv.reader(io.StringIO(table))
    assert row[0].startswith("'")
    assert row[2].startswith("'")
    assert row[2].endswith(shown(name))
    assert row[7] == "-3.25"
    assert len(table.splitlines()) == 2


def test_what_would_act_is_written_out_in_table_and_page(store: MatteStore) -> None:
    (review, *_) = review_object(store, 1)
    line = ReportLine(review, "x\x1b[2J\u2028y", "<script>\x07.jpg")
    for data in (csv_table([line]), b"".join(html_page("a\x1bb", [line], [(line, b"")]))):
        text = data.decode()
        assert r"x\x1b[2J\u2028y" in text
        assert not {"\x1b", "\x07", "\u2028"} & set(text)
    assert "<script>" not in text
