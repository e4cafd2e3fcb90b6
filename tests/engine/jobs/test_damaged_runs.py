# SPDX-License-Identifier: GPL-3.0-or-later
"""A propagation with some damaged photos: they are left out, named, and never remembered."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from sam2_splat_addon.core.errors import DamagedPhoto
from sam2_splat_addon.core.footage.damaged_photos import DAMAGED_NAME, read_damaged
from sam2_splat_addon.core.mattes.store import MatteStore
from sam2_splat_addon.core.protocol import FootageFiles, Log, PropagateRequest, ReportRequest
from sam2_splat_addon.core.review.report import CSV_NAME, HTML_NAME
from sam2_splat_addon.core.settings import RunSettings
from sam2_splat_addon.engine.jobs import propagate
from sam2_splat_addon.engine.jobs.report import write_report

from ..photo_footage import clicked, request, store_bytes, write_photos
from ..random_models import IMAGE_SIZE

_A = clicked(1, 3, 70.0, 40.0, "a")
_FRAMES = 7


def _run(wish: PropagateRequest) -> tuple[propagate.PropagateReport, list[str]]:
    log: list[Log] = []
    report = propagate.run(
        wish,
        on_progress=lambda _: None,
        on_frame_done=lambda _: None,
        on_log=log.append,
        cancelled=lambda: False,
        image_size=IMAGE_SIZE,
    )
    return report, [line.text for line in log]


def _damage(footage: FootageFiles, *frames: int) -> None:
    for frame in frames:
        path = Path(footage.paths[frame - 1])
        path.write_bytes(path.read_bytes()[:-400] + b"\xff\xd9")


def _logits(store: Path) -> dict[int, torch.Tensor]:
    mattes = MatteStore(store)
    return {at: torch.tensor(mattes.read(1, at).logits.copy()) for at in mattes.frames(1)}


@pytest.mark.parametrize("both", [False, True])
def test_other_frames_are_as_if_the_damaged_one_were_not_there(
    checkpoint: Path, tmp_path: Path, both: bool
) -> None:
    settings = RunSettings(both_sides=both)
    objects = [clicked(1, 2, 70.0, 40.0, "a")]
    if both:
        objects = [
            msgspec.structs.replace(
                objects[0], frames=(*objects[0].frames, *clicked(1, 7, 70.0, 40.0).frames)
            )
        ]
    footage = write_photos(tmp_path / "photos", _FRAMES)
    _damage(footage, 3, 5)
    report, log = _run(
        request(footage, checkpoint, tmp_path / "store", *objects, settings=settings)
    )
    assert report.damaged == ("IMG_0002.jpg", "IMG_0004.jpg")
    assert "IMG_0002.jpg (frame 3) and IMG_0004.jpg (frame 5)" in report.warnings[0]
    assert sum("Left out" in line for line in log) == 2
    found = _logits(tmp_path / "store")
    assert sorted(found) == [1, 2, 4, 6, 7]
    assert report.frames == 5
    # The second run has nothing to do. It names the photos again, but reads none.
    for path in footage.paths:
        Path(path).unlink()
    again, _ = _run(request(footage, checkpoint, tmp_path / "store", *objects, settings=settings))
    assert "Nothing to do: all 5" in again.summary
    assert again.damaged == report.damaged


def test_a_run_that_goes_on_past_a_damaged_photo_gives_the_same_bytes(
    checkpoint: Path, tmp_path: Path
) -> None:
    footage = write_photos(tmp_path / "photos", 12)
    _damage(footage, 4, 10)
    wish = request(footage, checkpoint, tmp_path / "store", _A)
    _run(wish)
    whole = store_bytes(tmp_path / "store")
    store = MatteStore(tmp_path / "store")
    for frame in (11, 12):
        store.path(1, frame).unlink()
    _run(wish)
    assert store_bytes(tmp_path / "store") == whole


def test_clicks_on_a_damaged_photo_stop_the_run_and_name_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    footage = write_photos(tmp_path / "photos", 4)
    _damage(footage, 3)
    with pytest.raises(DamagedPhoto, match=r"IMG_0002\.jpg.*Frame 3 has clicks"):
        _run(request(footage, checkpoint, tmp_path / "store", _A))


def test_a_strict_run_stops_at_the_first(checkpoint: Path, tmp_path: Path) -> None:
    footage = write_photos(tmp_path / "photos", 5)
    _damage(footage, 5)
    wish = request(footage, checkpoint, tmp_path / "store", _A)
    with pytest.raises(DamagedPhoto, match=r"IMG_0004\.jpg"):
        _run(msgspec.structs.replace(wish, strict=True))
    _run(wish)
    with pytest.raises(DamagedPhoto, match=r"IMG_0004\.jpg"):  # known already, so not read again
        _run(msgspec.structs.replace(wish, strict=True))


def test_a_good_copy_in_its_place_is_taken(checkpoint: Path, tmp_path: Path) -> None:
    footage = write_photos(tmp_path / "photos", 4)
    _damage(footage, 2)
    wish = request(footage, checkpoint, tmp_path / "store", _A)
    _run(wish)
    assert read_damaged(tmp_path / "store", footage.fingerprint)
    good = msgspec.structs.replace(write_photos(tmp_path / "photos", 4), fingerprint="another")
    report, _ = _run(request(good, checkpoint, tmp_path / "store", _A))
    assert report.damaged == ()
    assert sorted(_logits(tmp_path / "store")) == [1, 2, 3, 4]
    assert not read_damaged(tmp_path / "store", good.fingerprint)


def test_the_review_names_damaged_photos(checkpoint: Path, tmp_path: Path) -> None:
    footage = write_photos(tmp_path / "photos", 4)
    _damage(footage, 2)
    _run(request(footage, checkpoint, tmp_path / "store", _A))
    report = write_report(
        ReportRequest(footage, str(tmp_path / "store"), str(tmp_path / "review"), {1: "a"}),
        lambda _: None,
        lambda: False,
    )
    assert [at.name for at in report.damaged] == ["IMG_0001.jpg"]
    rows = (tmp_path / "review" / CSV_NAME).read_text().splitlines()
    assert sum(row.startswith("IMG_0001.jpg,2,,damaged") for row in rows) == 1
    assert "IMG_0001.jpg can&#x27;t be decoded" in (tmp_path / "review" / HTML_NAME).read_text()


@pytest.mark.parametrize("data", [b"", b"[" * 5000, b"\xff", b'{"footage": 3}'])
def test_a_list_that_cannot_be_read_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / DAMAGED_NAME).write_bytes(data)
    assert read_damaged(tmp_path, "any") == {}
