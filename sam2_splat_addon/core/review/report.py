# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the review as a table (CSV) and as a page with pictures (HTML).

The page needs no other file and no network: the pictures are inside it.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..footage.damaged_photos import DamagedFrame
from ..printable import shown
from ..system.links import is_link
from .judge import FrameReview, FrameState

CSV_NAME = "review.csv"
HTML_NAME = "review.html"
REPORT_FOLDER = "sam2_splat_review"  # beside the photos

STATE_COLORS: Mapping[FrameState, str] = {
    "good": "#56b4e9",
    "doubtful": "#e69f00",
    "absent": "#111111",
    "corrected": "#f2f2f2",
    "fine": "#0072b2",
}
"""Any colour vision can tell these apart: blues and orange of Okabe and Ito (2008), black and white."""

_COLUMNS = (
    "photo",
    "frame",
    "object",
    "state",
    "badness",
    "reasons",
    "predicted_iou",
    "object_score",
    "area_percent",
    "agreement",
    "parts",
    "both_sides",
)


# Excel, LibreOffice and Google Sheets read a cell that begins so as a formula. The last four are the
# Japanese and Chinese (full-width) forms of the first four.
_FORMULA_STARTS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class ReportLine:
    """One object on one frame.

    Attributes
    ----------
    review
        The verdict.
    object_name, photo
        Names for people: that of the object, and the file name of the photo.
    """

    review: FrameReview
    object_name: str
    photo: str


def is_report(path: Path) -> bool:
    """Whether a file is a table or page of this module, or empty."""
    if is_link(path) or not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(len(_PAGE_START))
    return not start or start == _PAGE_START or start.startswith(_TABLE_START)


class _SafeWriter:
    """Write rows that a spreadsheet shows and never calculates."""

    def __init__(self, stream: io.StringIO) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")

    def writerow(self, cells: Iterable[object]) -> None:
        """Write a row. A cell that would be a formula gets an apostrophe in front."""
        self._writer.writerow([_safe(cell) for cell in cells])


def _safe(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    words = shown(cell)
    starts = cell[:1], words.lstrip()[:1]
    is_formula = any(start and start in _FORMULA_STARTS for start in starts)
    return f"'{words}" if is_formula and _NUMBER.fullmatch(cell) is None else words


def _escaped(words: str) -> str:
    return html.escape(shown(words))


def csv_table(lines: Iterable[ReportLine], damaged: Iterable[DamagedFrame] = ()) -> bytes:
    """Return all lines as CSV in UTF-8, in the given order, with a heading; damaged photos last."""
    text = io.StringIO()
    writer = _SafeWriter(text)
    writer.writerow(_COLUMNS)
    for line in lines:
        review = line.review
        writer.writerow(
            (
                line.photo,
                review.frame,
                line.object_name,
                review.state,
                f"{review.badness:.3f}",
                "; ".join(review.reasons),
                f"{review.predicted_iou:.3f}",
                f"{review.object_score:.2f}",
                f"{100.0 * review.area:.2f}",
                f"{review.agreement:.3f}",
                review.parts,
                "" if review.both_sides is None else f"{review.both_sides:.3f}",
            )
        )
    for at in sorted(damaged, key=lambda at: at.frame):
        empty = [""] * (len(_COLUMNS) - 6)
        writer.writerow((at.name, at.frame, "", "damaged", "", at.reason, *empty))
    return text.getvalue().encode()


def html_page(
    title: str,
    lines: Sequence[ReportLine],
    pictures: Iterable[tuple[ReportLine, bytes]],
    left_out: int = 0,
    damaged: Mapping[int, DamagedFrame] = MappingProxyType({}),
) -> Iterator[bytes]:
    """Yield the page in pieces, so that its pictures are never in memory all at once.

    Parameters
    ----------
    title
        Name of the footage.
    lines
        All objects and frames, ordered by object, then frame.
    pictures
        The frames worth a look, worst first, each with the bytes of a JPEG file.
    left_out
        How many more frames are worth a look, but have no picture.
    damaged
        Damaged photos by frame. Photos that are added while ``pictures`` is read are named too.
    """
    yield _HEAD.format(title=_escaped(title)).encode()
    yield _summary(lines).encode()
    for name in dict.fromkeys(line.object_name for line in lines):
        own = [line.review for line in lines if line.object_name == name]
        yield _strip(name, own).encode()
    yield b"<main>\n"
    for line, picture in pictures:
        yield _card(line, picture).encode()
    yield b"</main>\n"
    if left_out:
        yield f"<p>{left_out} more are in {CSV_NAME}.</p>\n".encode()
    if damaged:
        yield _damaged_list([damaged[frame] for frame in sorted(damaged)]).encode()
    yield b"</body></html>\n"


_TABLE_START = ",".join(_COLUMNS[:3]).encode()
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Review of {title}</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em;
  background: #303030; color: #e6e6e6; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 1em; }}
figure {{ margin: 0; background: #3d3d3d; border-radius: 6px; overflow: hidden; }}
figure img {{ display: block; width: 100%; height: 320px; object-fit: contain;
  background: #1d1d1d; }}
figcaption {{ padding: .6em .8em .8em; }}
figcaption ul {{ margin: .3em 0 0; padding-left: 1.2em; }}
svg {{ display: block; width: 100%; height: 18px; margin-bottom: 1em; }}
.key span {{ display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em;
  vertical-align: -.1em; }}
.quiet {{ color: #a8a8a8; }}
</style></head><body>
<h1>Review of {title}</h1>
"""
_PAGE_START = _HEAD.partition("{title}")[0].encode()


def _summary(lines: Sequence[ReportLine]) -> str:
    listed = sum(line.review.listed for line in lines)
    frames = len({line.review.frame for line in lines})
    keys = "".join(
        f'<span style="background:{color}"></span>{state}' for state, color in STATE_COLORS.items()
    )
    worth = f"{listed} are worth a look." if listed != 1 else "1 is worth a look."
    return (
        f'<p>{frames} frames with {len(lines)} masks. {worth} <span class="key">{keys}</span></p>\n'
    )


def _damaged_list(damaged: Sequence[DamagedFrame]) -> str:
    lines = "".join(
        f"<li><b>Frame {at.frame}</b>, {_escaped(at.name)}: {_escaped(at.reason)}</li>\n"
        for at in damaged
    )
    return f"<h2>Damaged photos, left out</h2>\n<ul>{lines}</ul>\n"


def _strip(name: str, reviews: Sequence[FrameReview]) -> str:
    """Make a row of cells, one per frame, from the first frame to the last."""
    first, last = reviews[0].frame, reviews[-1].frame
    cells = "".join(
        f'<rect x="{review.frame - first}" width="1" height="1"'
        f' fill="{STATE_COLORS[review.state]}">'
        f"<title>Frame {review.frame}: {review.state}</title></rect>"
        for review in reviews
    )
    return (
        f"<h2>{_escaped(name)}</h2>\n"
        f'<svg viewBox="0 0 {last - first + 1} 1" preserveAspectRatio="none"'
        f' shape-rendering="crispEdges">{cells}</svg>\n'
    )


def _card(line: ReportLine, picture: bytes) -> str:
    review = line.review
    reasons = "".join(f"<li>{_escaped(reason)}</li>" for reason in review.reasons)
    data = base64.b64encode(picture).decode()
    return (
        f'<figure><img alt="Frame {review.frame}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption><b>Frame {review.frame}</b>, {_escaped(line.object_name)}"
        f' <span class="quiet">{_escaped(line.photo)}</span><ul>{reasons}</ul></figcaption>'
        "</figure>\n"
    )
