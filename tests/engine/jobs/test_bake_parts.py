# SPDX-License-Identifier: GPL-3.0-or-later
"""A bake in parts has the bytes of a bake in one go, and a bake that is there is not made again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from sam2_splat_addon.core.bake_plan import BakeOptions, next_output_folder
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.mattes.store import PARTS, MatteStore
from sam2_splat_addon.core.protocol import BakeRequest, EditedMatte, FootageFiles, FrameRange
from sam2_splat_addon.engine.images.decode import decode
from sam2_splat_addon.engine.jobs import bake_frames
from sam2_splat_addon.engine.jobs.bake import BakeReport, bake

from ...core.cameras.ring import POINTS, write_colmap
from .test_bake import Capture, run
from .test_dataset import AROUND
from .test_dataset import capture as ring_of_photos

Request = BakeRequest


def part_of(request: Request, first: int, last: int) -> Request:
    return msgspec.structs.replace(request, part=FrameRange(first, last))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each photo that a bake decodes."""
    seen: list[str] = []

    def noting(path: Path, **more: object) -> object:
        seen.append(path.name)
        return decode(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bake_frames, "decode", noting)
    return seen


@pytest.mark.parametrize(
    "targets", [("postshot",), ("postshot", "lichtfeld", "brush", "nerfstudio")]
)
def test_parts_give_the_bytes_of_a_bake_in_one_go_and_are_not_made_twice(
    targets: tuple[str, ...], tmp_path: Path, decoded: list[str]
) -> None:
    photos = tmp_path / "fotos é 漢"
    write_colmap(
        tmp_path / "sparse" / "0", ring_of_photos(photos), np.concatenate([POINTS, AROUND])
    )
    outline = (45.0, 25.0, 75.0, 25.0, 75.0, 55.0, 45.0, 55.0)
    corner = (0.0, 0.0, 50.0, 0.0, 50.0, 30.0, 0.0, 30.0)
    edited = tuple(
        EditedMatte(subject, frame, (line,))
        for subject, line in ((1, outline), (2, corner))
        for frame in range(1, 9)
    )
    store = MatteStore.open(tmp_path / "store", create=True)
    request = BakeRequest(
        FootageFiles.of(scan(photos)),
        str(store.folder),
        str(next_output_folder(photos, "out")),
        BakeOptions(targets=targets, ignored=(2,), sidecar_masks="postshot"),
        edited,
    )

    def done(asked: Request) -> BakeReport:
        return bake(asked, store, lambda _: None, lambda: False, threads=2)

    whole = done(request)
    assert whole.masks_folder is not None
    before = contents(whole.folder), contents(whole.masks_folder)
    assert not (store.folder / PARTS).exists()
    again = msgspec.structs.replace(request, output_folder=str(photos / "out_v002"))
    for first, last in ((6, 8), (1, 3), (4, 5)):
        report = done(part_of(again, first, last))
        assert report.frames == tuple(range(first, last + 1))
    assert not Path(again.output_folder).exists()
    decoded.clear()
    second = done(again)
    assert decoded == []
    assert second.masks_folder is not None
    assert (contents(second.folder), contents(second.masks_folder)) == before
    assert (second.frames, second.about_cameras) == (whole.frames, whole.about_cameras)
    assert not list(store.folder.rglob("*.png"))


def test_what_is_missing_or_older_is_baked_by_the_bake_itself(
    tmp_path: Path, decoded: list[str]
) -> None:
    capture = Capture(tmp_path)
    capture.matte(1, 1, 2, 3, 4)
    request = capture.request()
    run(capture, part_of(request, 1, 2))
    run(capture, part_of(request, 3, 4))
    (broken,) = capture.store.folder.glob(f"{PARTS}/*/000003/000004")
    next(broken.iterdir()).write_bytes(b"cut")
    decoded.clear()
    first = run(capture, request)
    assert sorted(decoded) == ["IMG_2006.JPG", "IMG_2009.JPG"]
    plain = contents(first.folder)
    run(capture, part_of(capture.request(), 1, 4))
    capture.matte(2, 1)  # other masks: what lies ready is of no use
    decoded.clear()
    second = run(capture, capture.request(objects=(1,)))
    assert len(decoded) == 4
    assert set(contents(second.folder)) == set(plain)


def test_damaged_photos_of_a_part_are_left_out_and_named(tmp_path: Path) -> None:
    capture = Capture(tmp_path)
    capture.matte(1, 1, 2, 3, 4)
    path = capture.folder / "IMG_2003.JPG"
    path.write_bytes(path.read_bytes()[:-700] + b"\xff\xd9")
    whole = capture.bake()
    request = capture.request()
    assert [at.frame for at in run(capture, part_of(request, 1, 2)).damaged_photos] == [2]
    assert run(capture, part_of(request, 3, 4)).damaged_photos == ()
    report = run(capture, request)
    assert report.damaged_photos == whole.damaged_photos
    assert (report.frames, contents(report.folder)) == (whole.frames, contents(whole.folder))


def test_the_same_bake_is_made_once_if_asked(tmp_path: Path, decoded: list[str]) -> None:
    capture = Capture(tmp_path)
    capture.matte(1, 1, 2, 3, 4)

    def once(**options: object) -> BakeReport:
        return run(capture, msgspec.structs.replace(capture.request(**options), once=True))

    first = once()
    assert not first.was_there
    decoded.clear()
    second = once()
    assert (second.folder, second.frames, second.was_there) == (first.folder, (1, 2, 3, 4), True)
    assert decoded == []
    assert not run(capture, capture.request()).was_there  # not asked
    assert not once(alpha="soft").was_there
    again = once()
    assert again.was_there and again.folder.name == "postshot_v002"
    (again.folder / "manifest.json").unlink()
    assert not once().was_there
    capture.matte(2, 2)
    assert not once().was_there
