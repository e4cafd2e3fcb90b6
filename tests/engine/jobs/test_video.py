# SPDX-License-Identifier: GPL-3.0-or-later
"""A video becomes photos: sharp ones, evenly spread, whole or not at all, and the same each time."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sam2_splat_addon.core.errors import Cancelled, DamagedPhoto, FootageError
from sam2_splat_addon.core.footage import video_photos
from sam2_splat_addon.core.footage.scan import scan
from sam2_splat_addon.core.footage.video_scores import VideoScores, read_scores, write_scores
from sam2_splat_addon.core.protocol import VideoPhotosRequest, VideoScoresRequest
from sam2_splat_addon.core.settings import VideoFormat
from sam2_splat_addon.engine.jobs import video_photos as job
from sam2_splat_addon.engine.jobs.video_scores import score_video, sharpness
from tests.engine.video_files import HEIGHT, STEP, WIDTH, pictures, write_video

DIGEST = "ab" * 32


def looked_at(video: Path, cancelled: Callable[[], bool] = lambda: False) -> VideoScores:
    request = VideoScoresRequest(str(video), str(video.with_suffix(".scores")))
    return score_video(request, lambda _: None, cancelled)


def photos_of(
    video: Path,
    wanted: int = 10,
    kind: VideoFormat = "jpeg",
    *,
    parent: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    digest: str = DIGEST,
) -> job.Written:
    request = VideoPhotosRequest(
        str(video),
        str(video.with_suffix(".scores")),
        digest,
        str(parent or video.parent),
        wanted,
        kind,
    )
    return job.write_photos(request, lambda _: None, cancelled)


def shaken(picture: Any, px: int) -> Any:
    """Return a picture as if the camera had moved by some px while the shutter was open."""
    return cv2.blur(picture, (px, 1))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 60 frames. Two of three are shaken, and the camera stands still at the end."""
    shown = pictures(45)
    shown = [picture if at % 3 == 1 else shaken(picture, 9) for at, picture in enumerate(shown)] + [
        shown[-1]
    ] * 15
    path = tmp_path_factory.mktemp("walk") / "walk äö.mp4"
    write_video(
        path, shown, options={"crf": "12"}, metadata={"creation_time": "2024-05-03T14:20:07Z"}
    )
    looked_at(path)
    return path


@pytest.fixture
def video(walk: Path, tmp_path: Path) -> Path:
    """A copy of the video that was looked at, in a folder of its own."""
    shutil.copy(walk.with_suffix(".scores"), tmp_path)
    return Path(shutil.copy(walk, tmp_path))


def test_sharpness_falls_with_blur_along_any_direction() -> None:
    grey: Any = cv2.cvtColor(pictures(1)[0], cv2.COLOR_RGB2GRAY)
    sharp = sharpness(grey)
    for size in ((5, 1), (1, 5), (5, 5)):
        blurred: Any = cv2.blur(grey, size)
        assert sharpness(blurred) < 0.75 * sharp
    assert sharpness(grey // 2) == pytest.approx(sharp, rel=0.1)
    assert sharpness(np.full((50, 50), 9, np.uint8)) == 0.0


def test_the_way_of_the_view_is_measured(walk: Path) -> None:
    scores = read_scores(walk.with_suffix(".scores"))
    assert scores is not None
    assert len(scores) == 60
    assert float(scores.places[44]) == pytest.approx(44 * STEP / WIDTH, rel=0.05)
    assert float(scores.places[59] - scores.places[46]) < 0.01  # it stands still
    assert scores.seconds[1] == pytest.approx(1 / 30, abs=0.001)
    assert 0 < len(scores.thumbnails) <= 128
    assert scores.facts == ()


def test_photos_are_sharp_even_and_carry_time_and_frame(video: Path) -> None:
    written = photos_of(video)
    assert written.folder == video.parent / "walk äö_photos"
    report = written.report
    assert len(report.photos) == 10
    assert all(photo.frame % 3 == 2 for photo in report.photos)
    moved = [photo.moved for photo in report.photos[1:]]
    assert max(moved) < 2.2 * min(moved)
    footage = scan(written.folder)
    assert [path.name for path in footage.paths] == [photo.file for photo in report.photos]
    assert (footage.width, footage.height) == (WIDTH, HEIGHT)
    shown = pictures(45)
    for photo in report.photos:
        image = Image.open(written.folder / photo.file)
        assert np.abs(np.asarray(image).astype(int) - shown[photo.frame - 1]).mean() < 16
        exif = image.getexif().get_ifd(0x8769)
        milli = round(1000 * (photo.frame - 1) / 30) % 1000
        assert abs(int(exif[0x9291]) - milli) <= 1
        assert f"frame {photo.frame}," in exif[0x9286].decode("utf-16-le")
    told = json.loads((written.folder / "video.json").read_text())
    assert told["video"] == video.name and told["summary"] == report.summary
    assert "blurred" in {one["why"] for one in told["left_out"]}
    assert len((written.folder / "video_frames.csv").read_text().splitlines()) == 61
    assert not list(video.parent.glob(".*"))


def test_png_is_without_loss(video: Path) -> None:
    from sam2_splat_addon.engine.images import video_colors
    from sam2_splat_addon.engine.images.video import Video

    written = photos_of(video, 4, "png")
    with Video(video) as opened:
        frames = {
            frame.number: video_colors.photo(
                frame.picture, video_colors.look_of(frame.picture, 1.0), deep=True
            )
            for frame in opened.frames()
        }
    for photo in written.report.photos:
        image = Image.open(written.folder / photo.file)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), frames[photo.frame])
        assert image.getexif()[0x010E].endswith(f"frame {photo.frame}, {photo.seconds:.3f} s")


def test_10_bit_become_16_bit_in_a_png(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(8), "libx265", "yuv420p10le")
    looked_at(path)
    written = photos_of(path, 3, "png")
    photo = cv2.imread(str(written.folder / written.report.photos[0].file), cv2.IMREAD_UNCHANGED)
    assert photo is not None and photo.dtype == np.uint16


def test_the_same_video_gives_the_same_bytes_each_time(video: Path, tmp_path: Path) -> None:
    def all_bytes(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    scores = video.with_suffix(".scores")
    first = scores.read_bytes()
    looked_at(video)
    assert scores.read_bytes() == first
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(all_bytes(photos_of(video, parent=tmp_path / name).folder))
    assert made[0] == made[1]


def test_a_second_time_nothing_is_written_again(video: Path) -> None:
    first = photos_of(video)
    times = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = photos_of(video)
    assert (again.folder, again.is_new, again.report) == (first.folder, False, first.report)
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == times
    other = photos_of(video, 5)
    assert other.folder.name == "walk äö_photos_2"
    assert photos_of(video).folder == first.folder


def test_a_folder_of_the_user_is_left_alone(video: Path) -> None:
    mine = video.parent / "walk äö_photos"
    mine.mkdir()
    (mine / "walk äö_000002.jpg").write_text("mine")
    assert photos_of(video).folder.name == "walk äö_photos_2"
    assert [path.read_text() for path in mine.iterdir()] == ["mine"]


def test_after_a_cancel_the_next_try_goes_on(video: Path) -> None:
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 35

    with pytest.raises(Cancelled):
        photos_of(video, cancelled=soon)
    assert [path.name for path in video.parent.iterdir() if path.name.endswith("_photos")] == []
    (unfinished,) = video.parent.glob(".*.unfinished")
    kept = {path.name: path.stat().st_mtime_ns for path in unfinished.glob("*.jpg")}
    assert 0 < len(kept) < 10
    assert not list(unfinished.glob("*.tmp"))
    written = photos_of(video)
    assert not unfinished.exists()
    assert len(list(written.folder.glob("*.jpg"))) == 10
    for name, changed in kept.items():
        assert (written.folder / name).stat().st_mtime_ns == changed


def test_after_a_kill_the_next_try_gives_the_same_photos(video: Path, tmp_path: Path) -> None:
    place = _folder(tmp_path, "undisturbed")
    wanted = {
        path.name: path.read_bytes() for path in photos_of(video, parent=place).folder.iterdir()
    }
    for photos in (1, 6):
        process = multiprocessing.get_context("spawn").Process(target=photos_of, args=(video,))
        process.start()
        while process.is_alive() and len(list(video.parent.glob(".*/*.jpg"))) < photos:
            time.sleep(0.001)
        process.kill()
        process.join()
    written = photos_of(video)
    assert {path.name: path.read_bytes() for path in written.folder.iterdir()} == wanted


def test_a_cancelled_look_keeps_nothing(walk: Path, tmp_path: Path) -> None:
    video = Path(shutil.copy(walk, tmp_path))
    with pytest.raises(Cancelled):
        looked_at(video, lambda: True)
    assert list(tmp_path.iterdir()) == [video]


def test_a_link_in_the_place_of_the_unfinished_folder_is_not_followed(
    video: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    key = video_photos.photos_key(bytes.fromhex(DIGEST), 10, "jpeg")
    video_photos.unfinished_folder(video.parent, video, key).symlink_to(other)
    with pytest.raises(FootageError, match="is a link"):
        photos_of(video)
    assert not list(other.iterdir())


def test_a_folder_that_can_not_be_written_is_told(video: Path, tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="can't be written to") as caught:
        photos_of(video, parent=tmp_path / "file.txt" / "below" if _made_file(tmp_path) else None)
    assert "Choose another folder" in caught.value.fix


def _made_file(folder: Path) -> bool:
    (folder / "file.txt").write_text("a file")
    return True


def test_another_video_under_the_same_name_is_noticed(video: Path) -> None:
    write_video(video, pictures(60)[::-1])
    with pytest.raises(FootageError, match="not the same as when the video was looked at"):
        photos_of(video)


def test_missing_scores_are_told(video: Path) -> None:
    video.with_suffix(".scores").unlink()
    with pytest.raises(FootageError, match="is gone"):
        photos_of(video)


def test_long_stretches_between_photos_are_skipped(tmp_path: Path) -> None:
    shown = pictures(12)
    still = [shown[0]] * 40
    times = [*range(0, 12000, 300), *(12000 + 2400 * at for at in range(12))]
    path = write_video(
        tmp_path / "a.mp4", [*still, *shown], times=times, options={"g": "8", "bf": "2"}
    )
    scores = looked_at(path)
    sequential = photos_of(path, 6, parent=_folder(tmp_path, "sought"))
    # Without time stamps that differ, every frame is decoded.
    write_scores(
        path.with_suffix(".scores"),
        VideoScores(
            scores.width,
            scores.height,
            scores.numbers,
            scores.seconds,
            scores.stamps,
            scores.sharpness,
            scores.places,
            scores.checks,
        ),
    )
    found: list[dict[str, bytes]] = []
    for name, search in (("one", True), ("two", False)):
        with pytest.MonkeyPatch.context() as patch:
            if not search:
                patch.setattr(job, "_can_search", lambda _: False)
            folder = photos_of(path, 6, parent=_folder(tmp_path, name)).folder
        found.append({photo.name: photo.read_bytes() for photo in folder.glob("*.jpg")})
    assert found[0] == found[1]
    assert len(found[0]) == len(sequential.report.photos)


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def test_a_video_with_an_uneven_rate_is_measured_by_its_own_times(tmp_path: Path) -> None:
    times = [0, 10, 20, 120, 130, 400, 401, 402]
    path = write_video(tmp_path / "a.mkv", pictures(8), times=times)
    scores = looked_at(path)
    assert scores.seconds == pytest.approx([time / 600 for time in times], abs=0.002)
    written = photos_of(path, 100)
    assert [photo.frame for photo in written.report.photos] == list(range(1, 9))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_very_short_video_gives_what_it_has(tmp_path: Path, frames: int) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(frames))
    looked_at(path)
    assert len(photos_of(path, 200).report.photos) == frames


@pytest.mark.parametrize("size", [(2, 2), (16, 16), (64, 8)])
def test_a_tiny_video_gives_one_photo_at_least(tmp_path: Path, size: tuple[int, int]) -> None:
    shown = [np.ascontiguousarray(one[: size[1], : size[0]]) for one in pictures(4)]
    path = write_video(tmp_path / "a.mkv", shown, "ffv1", "yuv444p")
    looked_at(path)
    assert photos_of(path).report.photos


def test_portrait_and_square_pixels_reach_the_photos(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mov", pictures(6), turned=-90, stretch=Fraction(4, 3))
    scores = looked_at(path)
    assert (scores.width, scores.height) == (HEIGHT, 213)
    assert any("213 px" in fact for fact in scores.facts)
    written = photos_of(path, 3)
    assert Image.open(written.folder / written.report.photos[0].file).size == (HEIGHT, 213)
    thumbnail = scores.thumbnails[0].array()
    assert thumbnail.shape[0] > thumbnail.shape[1]


def test_a_missing_end_is_used_as_far_as_it_reads_and_told(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4",
        pictures(90),
        options={"g": "10", "bf": "0"},
        file_options={"movflags": "faststart"},
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    scores = looked_at(path)
    assert 20 < len(scores) < 80
    assert any("The end of the video is missing" in fact for fact in scores.facts)
    written = photos_of(path, 5)
    assert len(written.report.photos) == 5
    assert written.report.facts == scores.facts


def test_a_video_of_which_nothing_decodes_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(20))
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin : begin + 3000] = bytes(3000)
    path.write_bytes(data)
    with pytest.raises(DamagedPhoto, match="No frame of"):
        looked_at(path)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    shown = pictures(10)
    path = write_video(tmp_path / "a.mp4", shown * 60)
    scores = looked_at(path)
    assert len(scores) == 600
    assert len(scores.thumbnails) <= 128
    assert path.with_suffix(".scores").stat().st_size < 128 * 128 * 128 * 3 + 600 * 60


def test_two_blenders_at_once_do_not_spoil_each_other(video: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(photos_of, [video] * 2))
    folder = video.parent / "walk äö_photos"
    assert [written.folder for written in made] == [folder] * 2
    assert len(list(folder.glob("*.jpg"))) == 10
    assert not list(video.parent.glob(".*"))
