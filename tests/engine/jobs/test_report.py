# SPDX-License-Identifier: GPL-3.0-or-later
"""The written review: what its table and its page contain, and that the worker writes it."""

from __future__ import annotations

import base64
import csv
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.client.packages.environment import find
from sam2_splat_addon.client.worker.job import Job, JobState
from sam2_splat_addon.client.worker.worker_pool import WorkerPool
from sam2_splat_addon.core.errors import BakeError, Cancelled, StoreError
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.mattes.store import MatteRecord, MatteScores, MatteStore
from sam2_splat_addon.core.protocol import EditedMatte, FootageFiles, ReportRequest
from sam2_splat_addon.engine.jobs import report
from sam2_splat_addon.engine.jobs.report_pictures import picture_with_matte

SIZE = (240, 360)
FRAMES = 8


@pytest.fixture
def request_for(tmp_path: Path) -> ReportRequest:
    """Eight photos and two objects. Object 1 is lost on frame 5 and doubtful on frame 7."""
    photos = tmp_path / "photos <1>"
    photos.mkdir()
    store = MatteStore.open(tmp_path / "store", create=True)
    y, x = np.mgrid[:90, :90]
    for frame in range(1, FRAMES + 1):
        Image.new("RGB", SIZE, (90, 20 * frame, 60)).save(photos / f"IMG_{frame:03}.jpg")
        for object_id in (1, 2):
            logits = 4.0 * (12.0 - np.hypot(x - 40 - frame, y - 45))
            lost, unsure = object_id == 1 and frame == 5, object_id == 1 and frame == 7
            logits = np.where(lost, -9.0, logits).astype(np.float16)
            scores = MatteScores(6.0, 0.5 if unsure else 0.92, float((logits > 0).mean()))
            store.write(MatteRecord(object_id, frame, *SIZE, logits, scores, frame == 1))
    return ReportRequest(
        FootageFiles.of(scan(photos)),
        str(store.folder),
        str(tmp_path / "report"),
        {1: "chair <old>", 2: "lamp"},
    )


class _Page(HTMLParser):
    """Collect a page's words and pictures, and everything it would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words = ""
        self.pictures: list[Image.Image] = []
        self.elsewhere: list[str] = []
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value is not None:
                if value.startswith("data:image/jpeg;base64,"):
                    data = base64.b64decode(value.partition(",")[2])
                    self.pictures.append(Image.open(io.BytesIO(data)))
                else:
                    self.elsewhere.append(value)


def write(request: ReportRequest) -> report.ReviewReport:
    return report.write_report(request, lambda progress: None, lambda: False)


def test_the_table_has_every_object_on_every_frame(request_for: ReportRequest) -> None:
    written = write(request_for)
    rows = list(csv.DictReader((written.folder / "review.csv").open()))
    assert written.mattes == len(rows) == 2 * FRAMES
    states = {(row["object"], int(row["frame"])): row["state"] for row in rows}
    assert states["chair <old>", 5] == "absent"
    assert states["chair <old>", 7] == "doubtful"
    assert all(state == "good" for (name, _), state in states.items() if name == "lamp")
    (lost,) = (row for row in rows if row["state"] == "absent")
    assert lost["photo"] == "IMG_005.jpg"
    assert "subject is lost" in lost["reasons"]


def test_the_page_shows_the_listed_frames_worst_first_and_loads_nothing(
    request_for: ReportRequest,
) -> None:
    written = write(request_for)
    text = (written.folder / "review.html").read_text()
    page = _Page(text)
    assert page.elsewhere == []
    assert not re.search(r"url\(|@import|<script", text)
    assert len(page.pictures) == written.listed == 2
    assert {picture.format for picture in page.pictures} == {"JPEG"}
    assert page.words.index("Frame 5, chair <old>") < page.words.index("Frame 7, chair <old>")
    assert "SAM 2 is not sure of this mask" in page.words
    assert "photos <1>" in page.words


def test_frames_that_the_user_drew_are_corrected_and_not_listed(request_for: ReportRequest) -> None:
    drawn = tuple(EditedMatte(1, frame, ()) for frame in (5, 7))
    written = write(
        ReportRequest(
            request_for.footage,
            request_for.store,
            request_for.output_folder,
            request_for.names,
            drawn,
        )
    )
    assert written.listed == 0
    rows = list(csv.DictReader((written.folder / "review.csv").open()))
    assert [int(row["frame"]) for row in rows if row["state"] == "corrected"] == [5, 7]
    assert _Page((written.folder / "review.html").read_text()).pictures == []


def test_a_picture_is_dark_outside_the_matte_and_outlined(request_for: ReportRequest) -> None:
    logits = np.full((90, 90), -5.0, np.float16)
    logits[:, 45:] = 5.0
    data = picture_with_matte(Path(request_for.footage.paths[4]), logits)
    picture = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert picture.shape == (400, 267, 3)
    left, right = picture[200, 40], picture[200, 220]
    assert np.abs(right - (90, 100, 60)).max() < 12
    assert np.abs(left - right * 0.45).max() < 12
    edge = picture[200, 125:142]
    assert (edge[:, 0] > 150).any()
    assert (edge[:, 2] < 100).all()


def test_a_cancel_leaves_no_half_written_file(request_for: ReportRequest, tmp_path: Path) -> None:
    asked = iter([False, False, False, True])
    with pytest.raises(Cancelled):
        report.write_report(request_for, lambda progress: None, lambda: next(asked))
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["review.csv"]


def test_a_folder_that_is_a_file_and_a_store_without_mattes_are_named(
    request_for: ReportRequest, tmp_path: Path
) -> None:
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(BakeError, match=r"report can't be written into .*report"):
        write(request_for)
    MatteStore(Path(request_for.store)).clear()
    with pytest.raises(StoreError, match="Press Propagate first"):
        write(request_for)


@pytest.mark.parametrize("name", ["review.csv", "review.html"])
@pytest.mark.parametrize("kind", ["others", "link", "folder", "fifo"])
def test_files_of_others_under_the_reports_names_stay(
    name: str, kind: str, request_for: ReportRequest, tmp_path: Path
) -> None:
    folder, mine = tmp_path / "report", tmp_path / "mine"
    write(request_for)  # the next report replaces it
    write(request_for)
    before = (folder / name).read_bytes()
    mine.write_bytes(before)
    (folder / name).unlink()
    if kind == "others":
        (folder / name).write_bytes(b"<!DOCTYPE html>\n<p>My review of a film,frame by frame")
    elif kind == "link":
        (folder / name).symlink_to(mine)
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        os.mkfifo(folder / name)
    others = sorted(path.name for path in folder.iterdir())
    with pytest.raises(BakeError, match="is no report of SAM2 Splat"):
        write(request_for)
    assert sorted(path.name for path in folder.iterdir()) == others
    assert mine.read_bytes() == before


def test_a_report_goes_through_no_link(request_for: ReportRequest, tmp_path: Path) -> None:
    write(request_for)
    (tmp_path / "report").rename(tmp_path / "another")
    (tmp_path / "report").symlink_to(tmp_path / "another")
    with pytest.raises(BakeError, match="is a link"):
        write(request_for)


def test_the_worker_writes_the_report(request_for: ReportRequest) -> None:
    pool = WorkerPool(find())
    try:
        job = Job(pool, request_for)
        assert job.wait() is JobState.DONE, job.error
    finally:
        pool.shutdown()
    assert job.result is not None
    assert job.result.summary.startswith("Reviewed 16 masks, 2 are worth a look")
    assert (Path(job.result.output_folder) / "review.html").is_file()
