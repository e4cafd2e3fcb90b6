# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the review of a store as CSV and HTML."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import BakeError, Cancelled, DamagedPhoto, StoreError
from ...core.footage.damaged_photos import DamagedFrame, read_damaged
from ...core.mattes.run_record import require_same_photos
from ...core.mattes.store import MatteStore
from ...core.protocol import Progress, ReportRequest
from ...core.review.judge import review_object, worst_first
from ...core.review.report import CSV_NAME, HTML_NAME, ReportLine, csv_table, html_page, is_report
from ...core.system.atomic_file import atomic_file, write_atomic
from ...core.system.links import is_link
from .report_pictures import picture_with_matte

MOST_PICTURES = 200
"""Limits the page to about 8 MB. The table lists all frames."""


@dataclass(frozen=True)
class ReviewReport:
    """What was written.

    Attributes
    ----------
    folder
        Where ``review.csv`` and ``review.html`` are.
    mattes, listed
        Number of mattes that were reviewed, and of those that need a look.
    damaged
        Photos that don't decode whole. They are listed, but have no picture.
    """

    folder: Path
    mattes: int
    listed: int
    damaged: tuple[DamagedFrame, ...] = ()


def write_report(
    request: ReportRequest,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> ReviewReport:
    """Review all objects of the request and write both files, each whole or not at all.

    Parameters
    ----------
    request
        Footage, store, output folder and the names of the objects.
    on_progress
        Called after every picture.
    cancelled
        Called after every object and before every picture.

    Returns
    -------
    ReviewReport
        The folder and the numbers.

    Raises
    ------
    StoreError
        There are no mattes, or one is damaged.
    FootageError
        A photo to show is missing.
    BakeError
        The folder can't be written, is a link, or holds other files with these names.
    Cancelled
        ``cancelled`` returned True.

    Examples
    --------
    >>> footage = FootageFiles.of(scan(Path("photos")))
    >>> request = ReportRequest(footage, "store", "review", {1: "Chair"})
    >>> report = write_report(request, print, lambda: False)
    >>> sorted(path.name for path in report.folder.iterdir())
    ['review.csv', 'review.html']
    """
    store = MatteStore.open(Path(request.store))
    require_same_photos(store, request.footage.fingerprint)
    photos = [Path(path) for path in request.footage.paths]
    lines: list[ReportLine] = []
    for object_id, name in sorted(request.names.items()):
        corrected = {one.frame for one in request.edited if one.object_id == object_id}
        lines += [
            ReportLine(review, name, request.footage.name_of(review.frame))
            for review in review_object(
                store, object_id, corrected, request.fine.get(object_id, ())
            )
            if review.frame <= len(photos)
        ]
        if cancelled():
            raise Cancelled
    if not lines:
        raise StoreError(f"There are no masks in {store.folder}.", "Press Propagate first.")
    listed = worst_first([line.review for line in lines])
    shown = listed[:MOST_PICTURES]
    damaged = read_damaged(store.folder, request.footage.fingerprint)
    by_place = {(line.review.object_id, line.review.frame): line for line in lines}

    def pictures() -> Iterator[tuple[ReportLine, bytes]]:
        for done, review in enumerate(shown, start=1):
            if cancelled():
                raise Cancelled
            line = by_place[review.object_id, review.frame]
            logits = store.read(review.object_id, review.frame).logits
            try:
                yield line, picture_with_matte(photos[review.frame - 1], logits)
            except DamagedPhoto as problem:
                at = DamagedFrame.of(review.frame, line.photo, problem)
                damaged[review.frame] = at
            on_progress(Progress("reporting", done, len(shown), review.frame, line.object_name))

    folder = Path(request.output_folder)
    _require_replaceable(folder)
    title = Path(request.footage.folder).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / CSV_NAME, csv_table(lines, damaged.values()))
        known = len(damaged)
        with atomic_file(folder / HTML_NAME) as page:
            page.writelines(html_page(title, lines, pictures(), len(listed) - len(shown), damaged))
        if len(damaged) > known:  # the pictures showed more damaged photos
            write_atomic(folder / CSV_NAME, csv_table(lines, damaged.values()))
    except OSError as problem:
        raise BakeError(
            f"The report can't be written into {folder}: {problem.strerror or problem}.",
            "Choose another folder.",
        ) from problem
    found = tuple(damaged[frame] for frame in sorted(damaged))
    return ReviewReport(folder, len(lines), len(listed), found)


def _require_replaceable(folder: Path) -> None:
    """Raise BakeError if the folder is a link, or a file there is not one of our reports."""
    if is_link(folder):
        raise BakeError(
            f"{folder} is a link, and could lead to anything.", "Choose the folder it leads to."
        )
    for name in (CSV_NAME, HTML_NAME):
        try:
            is_other = os.path.lexists(folder / name) and not is_report(folder / name)
        except OSError as problem:
            raise BakeError(f"{folder / name} can't be read: {problem.strerror}.") from problem
        if is_other:
            raise BakeError(
                f"{folder / name} exists and is no report of SAM2 Splat. It was not changed.",
                "Choose another folder, or move that file away.",
            )
