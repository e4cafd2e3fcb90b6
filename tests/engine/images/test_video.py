# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a video are upright, square and in sRGB, and only those that decode whole are used."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from sam2_splat_addon.core.errors import DamagedPhoto, FootageError
from sam2_splat_addon.engine.images import video_colors
from sam2_splat_addon.engine.images.video import Video
from tests.engine.video_files import HEIGHT, WIDTH, pictures, write_video

_SHARP = {"crf": "8"}


def photos(path: Path, *, deep: bool = False) -> list[NDArray[Any]]:
    with Video(path) as video:
        return [
            video_colors.photo(
                frame.picture, video_colors.look_of(frame.picture, video.stretch), deep=deep
            )
            for frame in video.frames()
        ]


def off(photo: NDArray[Any], picture: NDArray[np.uint8]) -> float:
    """Return the mean difference of a photo and a picture, in 8 bit values."""
    scale = 257.0 if photo.dtype == np.uint16 else 1.0
    return float(np.abs(photo / scale - picture).mean())


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options", "most"),
    [
        ("a.mp4", "libx264", "yuv420p", {"crf": "5"}, 14.0),
        ("a.mov", "libx264", "yuv444p", {"crf": "5"}, 3.0),
        ("a.m4v", "mpeg4", "yuv420p", {"qmax": "2"}, 14.0),
        ("a.mkv", "libx265", "yuv420p10le", {"crf": "5"}, 14.0),
        ("a.webm", "libvpx-vp9", "yuv420p", {"crf": "5", "b": "0", "cpu-used": "8"}, 14.0),
        ("a.avi", "mjpeg", "yuvj420p", {"qmax": "2"}, 14.0),
        ("prores.mov", "prores_ks", "yuv422p10le", {}, 12.0),
        ("av1.mp4", "libsvtav1", "yuv420p10le", {"crf": "5", "preset": "12"}, 14.0),
        ("a.ts", "mpeg2video", "yuv420p", {"qmax": "2"}, 14.0),
        ("rgb.mkv", "ffv1", "bgr0", {}, 0.0),
        ("grey.mkv", "ffv1", "gray", {}, 60.0),
    ],
)
def test_every_usual_codec_is_read(
    tmp_path: Path, name: str, codec: str, pixels: str, options: dict[str, str], most: float
) -> None:
    shown = pictures(6)
    path = write_video(tmp_path / name, shown, codec, pixels, options=options)
    found = photos(path)
    assert len(found) == 6
    assert all(photo.shape == (HEIGHT, WIDTH, 3) for photo in found)
    assert all(photo.dtype == np.uint8 for photo in found)
    # The colours of 4:2:0 are coarser than this picture's.
    assert max(map(off, found, shown)) <= most


def test_more_than_8_bit_are_kept_where_they_are_wanted(tmp_path: Path) -> None:
    shown = pictures(2)
    path = write_video(tmp_path / "a.mkv", shown, "ffv1", "yuv444p10le")
    assert photos(path)[0].dtype == np.uint8
    deep = photos(path, deep=True)[0]
    assert deep.dtype == np.uint16
    assert off(deep, shown[0]) < 1.0
    assert len(np.unique(deep)) > 256


@pytest.mark.parametrize(
    ("turned", "mirrored", "upright"),
    [
        (0, False, lambda picture: picture),
        (90, False, lambda picture: np.rot90(picture, 1)),
        (-90, False, lambda picture: np.rot90(picture, -1)),
        (180, False, lambda picture: np.rot90(picture, 2)),
        (0, True, lambda picture: picture[:, ::-1]),
        (3, False, lambda picture: picture),
    ],
)
def test_a_display_matrix_turns_photos_upright(
    tmp_path: Path, turned: float, mirrored: bool, upright: Any
) -> None:
    shown = pictures(2)
    path = write_video(
        tmp_path / "a.mov",
        shown,
        pixels="yuv444p",
        options=_SHARP,
        turned=turned,
        mirrored=mirrored,
    )
    found = photos(path)[0]
    assert found.shape == upright(shown[0]).shape
    assert off(found, upright(shown[0])) < 6.0
    with Video(path) as video:
        frame = next(video.frames()).picture
        assert video_colors.look_of(frame, video.stretch).size == found.shape[1::-1]


@pytest.mark.parametrize(
    ("stretch", "size"), [(Fraction(4, 3), (213, 120)), (Fraction(1, 2), (160, 240))]
)
def test_pixels_become_square(tmp_path: Path, stretch: Fraction, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(2), stretch=stretch)
    assert photos(path)[0].shape[1::-1] == size


@pytest.mark.parametrize("space", [1, 5, 9])
@pytest.mark.parametrize("full", [1, 2])
def test_colours_are_converted_by_the_matrix_and_range_of_the_file(
    tmp_path: Path, space: int, full: int
) -> None:
    wanted = np.array([200, 90, 40], np.float64)
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[space]
    bright = red * wanted[0] + (1 - red - blue) * wanted[1] + blue * wanted[2]
    parts = [bright, (wanted[2] - bright) / (2 - 2 * blue), (wanted[0] - bright) / (2 - 2 * red)]
    if full == 1:
        parts = [16 + parts[0] * 219 / 255, *(part * 224 / 255 for part in parts[1:])]
    values = [round(parts[0]), round(128 + parts[1]), round(128 + parts[2])]
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, full
        planes = np.stack([np.full((48, 64), value, np.uint8) for value in values])
        frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
        frame.colorspace, frame.color_range, frame.pts = space, full, 0
        file.mux([*stream.encode(frame), *stream.encode()])
    found = photos(path)[0].reshape(-1, 3)
    assert np.abs(found.astype(float) - wanted).max() <= 2.0


@pytest.mark.parametrize(("transfer", "white"), [(16, 0.58), (18, 0.75)])
def test_hdr_is_tone_mapped_in_order_and_neutral(
    tmp_path: Path, transfer: int, white: float
) -> None:
    ramp = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ramp[...] = np.linspace(0, 255, WIDTH)[None, :, None]
    path = write_video(
        tmp_path / "a.mkv",
        [ramp, ramp],
        "ffv1",
        "yuv444p10le",
        color={"color_trc": transfer, "color_primaries": 9, "colorspace": 9},
    )
    with Video(path) as video:
        look = video_colors.look_of(next(video.frames()).picture, video.stretch)
    assert look.is_hdr and "tone-mapped" in look.facts()[0]
    found = photos(path)[0].astype(int)
    assert (np.diff(found[60, :, 1]) >= -1).all()  # light stays in order
    assert np.ptp(found, axis=2).max() <= 4  # grey stays grey
    assert found[60, -1, 1] >= 250  # the brightest is white
    at = found[60, round(white * WIDTH), 1]
    assert 210 <= at <= 242  # paper white is bright, with room above it


def test_wide_colours_become_srgb_and_are_told(tmp_path: Path) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[...] = (180, 120, 100)
    path = write_video(
        tmp_path / "a.mkv", [picture] * 2, "ffv1", "yuv444p10le", color={"color_primaries": 12}
    )
    with Video(path) as video:
        look = video_colors.look_of(next(video.frames()).picture, video.stretch)
    assert "wide colours" in look.facts()[0]
    red, green, _ = photos(path)[0][60, 80].tolist()
    assert red > 184 and abs(green - 118) <= 4  # sRGB needs more of its red for P3's colour


def test_an_interlaced_frame_gives_one_moment(tmp_path: Path) -> None:
    shown = pictures(9)
    woven = []
    for even, odd in zip(shown[:-4], shown[4:], strict=True):
        both = even.copy()
        both[1::2] = odd[1::2]
        woven.append(both)
    path = write_video(
        tmp_path / "a.ts",
        woven,
        "mpeg2video",
        options={"qmax": "2", "flags": "+ildct+ilme"},
    )
    with Video(path) as video:
        frame = next(video.frames())
        assert frame.picture.interlaced_frame
        assert "interlaced" in video_colors.look_of(frame.picture, 1.0).facts()[0]
    found = photos(path)[0]
    assert off(found, shown[0]) < off(found, woven[0]) + 3.0
    assert off(found[1::2], shown[0][1::2]) < 0.7 * off(found[1::2], woven[0][1::2])


def test_numbers_and_times_are_those_of_the_file(tmp_path: Path) -> None:
    times = [0, 20, 25, 100, 700, 720]
    path = write_video(tmp_path / "a.mp4", pictures(6), times=times)
    with Video(path) as video:
        frames = list(video.frames())
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5, 6]
    seconds = [frame.seconds - frames[0].seconds for frame in frames]
    assert seconds == pytest.approx([time / 600 for time in times], abs=0.001)


def test_a_cut_off_file_is_used_as_far_as_it_reads(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4",
        pictures(60),
        options={"g": "10", "bf": "0"},
        file_options={"movflags": "faststart"},
    )
    whole = photos(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with Video(path) as video:
        found = [
            video_colors.photo(frame.picture, video_colors.look_of(frame.picture, 1.0), deep=False)
            for frame in video.frames()
        ]
        assert video.is_cut_off
    assert 25 < len(found) < 50
    assert all(np.array_equal(*pair) for pair in zip(found, whole, strict=False))


def _spoil(path: Path, number: int) -> None:
    """Overwrite the beginning of a frame's data with zeros. Frames count from 0."""
    with av.open(str(path)) as file:
        places = [packet.pos for packet in file.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place = places[number]
    assert place is not None
    data[place : place + 24] = bytes(24)
    path.write_bytes(data)


def test_a_recording_that_begins_between_key_frames_is_used_from_the_next_one(
    tmp_path: Path,
) -> None:
    path = write_video(
        tmp_path / "a.ts", pictures(60), options={"g": "12", "bf": "2", "x264-params": "open-gop=1"}
    )
    whole = photos(path)
    data = path.read_bytes()
    path.write_bytes(data[len(data) * 3 // 10 :])
    found = photos(path)
    assert 30 <= len(found) < 48
    assert all(np.array_equal(*pair) for pair in zip(found[::-1], whole[::-1], strict=False))


def test_the_largest_of_several_pictures_is_taken(tmp_path: Path) -> None:
    path, shown = tmp_path / "a.mkv", pictures(3)
    with av.open(str(path), "w") as file:
        sizes = ((64, 48), (WIDTH, HEIGHT))
        streams: list[Any] = [file.add_stream("ffv1", rate=30) for _ in sizes]
        for stream, size in zip(streams, sizes, strict=True):
            stream.width, stream.height = size
            stream.pix_fmt = "yuv444p"
        for at, picture in enumerate(shown):
            for stream, (width, height) in zip(streams, sizes, strict=True):
                part = np.ascontiguousarray(picture[:height, :width])
                frame = av.VideoFrame.from_ndarray(part, format="rgb24").reformat(format="yuv444p")
                frame.pts = at
                file.mux(stream.encode(frame))
        for stream in streams:
            file.mux(stream.encode())
    assert photos(path)[0].shape == (HEIGHT, WIDTH, 3)


def test_no_frame_behind_a_damaged_one_is_used_until_the_next_key_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(60), options={"g": "10", "bf": "0"})
    whole = photos(path)
    _spoil(path, 34)
    with Video(path) as video:
        found = {
            frame.stamp: video_colors.photo(
                frame.picture, video_colors.look_of(frame.picture, 1.0), deep=False
            )
            for frame in video.frames()
        }
        step = sorted(found)[1]
        assert 34 <= len(found) <= 54 and video.damaged and not video.is_cut_off
    for stamp, photo in found.items():
        assert np.array_equal(photo, whole[stamp // step])


def test_a_recording_that_never_ended_is_told_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(30))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DamagedPhoto, match=r"The end of a\.mp4 is missing"):
        Video(path)


@pytest.mark.parametrize(
    "kind", ["empty", "text", "noise", "missing", "folder", "pipe", "playlist"]
)
def test_what_is_no_video_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no pipes in folders")
        os.mkfifo(path)
    elif kind == "playlist":
        path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    elif kind != "missing":
        path.write_bytes({"empty": b"", "text": b"no video" * 99}.get(kind, os.urandom(5000)))
    with pytest.raises(FootageError) as caught:
        Video(path)
    assert "a.mp4" in caught.value.message and caught.value.fix


def test_sound_and_covers_are_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 2048), np.float32), format="fltp", layout="mono"
        )
        sound.sample_rate = 44100
        file.mux([*stream.encode(sound), *stream.encode()])
    with pytest.raises(FootageError, match="has no video in it"):
        Video(path)
