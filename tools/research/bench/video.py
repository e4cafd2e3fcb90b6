# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the choice of frames of a video with taking every n-th frame.

    python tools/research/bench/video.py [--photos 60] [--seconds 40] [--keep FILE.mp4]

The video is made here: a camera pans over a photo of the sample at an uneven speed, stands still, turns
quickly, and trembles. Each frame is the mean of moments while the shutter is open, so its motion blur is
real, and its true view and blur are known. It is encoded as H.264.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sam2_splat_addon.core.footage.video_choice import choose
from sam2_splat_addon.core.protocol import VideoScoresRequest
from sam2_splat_addon.engine.jobs.video_scores import score_video

RATE, SIZE = 30, (640, 360)
_EDGE = 60  # px of ground around the way
_MOMENTS = 12  # in one exposure
_SHUTTER = 0.5  # of the time of a frame
_BLURRED = 2.0  # px of true blur that a trainer sees
_FIELD = 65.0  # degrees across the picture


@dataclass(frozen=True)
class Walk:
    """The camera's true way: centre of the view in px of the ground, for each moment of each frame."""

    ways: NDArray[np.float64]  # (frames, moments, 2)

    @property
    def angles(self) -> NDArray[np.float64]:
        """How far the view has turned at each frame, degrees, without the trembling back and forth."""
        middle = self.ways[:, :, 0].mean(axis=1)
        return np.asarray(np.maximum.accumulate(middle - middle[0]) / SIZE[0] * _FIELD)

    @property
    def blur(self) -> NDArray[np.float64]:
        """Length of the true motion blur of each frame, px."""
        return np.asarray(np.linalg.norm(np.ptp(self.ways, axis=1), axis=1))


def walk(seconds: int, length: float) -> Walk:
    """Return an uneven way over ``length`` px: strides, stops, whips and shakes."""
    rng = np.random.default_rng(19)
    frames = RATE * seconds
    fine = 24  # points of time in a frame
    time_ = np.arange((frames + 1) * fine) / fine / RATE
    speed = 0.6 + 0.5 * np.sin(time_ * 0.9) + 0.3 * np.sin(time_ * 2.3 + 1)
    speed = np.maximum(speed, 0.0)
    for begin in np.arange(5.0, seconds, 13.0):
        speed[(time_ > begin) & (time_ < begin + 2.5)] = 0.0  # stands still
        speed[(time_ > begin + 6) & (time_ < begin + 6.3)] = 6.0  # turns quickly
    along = np.cumsum(speed)
    along *= length / along[-1]
    shake = np.zeros((len(time_), 2))
    for hertz, size in ((1.8, 6.0), (4.1, 3.5), (7.3, 2.0), (11.0, 1.0)):
        phase = rng.uniform(0, 2 * np.pi, 2)
        swell = 0.6 + 0.6 * np.sin(time_ * hertz * 0.37 + phase[0])
        shake += (size * np.maximum(swell, 0))[:, None] * np.sin(
            2 * np.pi * hertz * time_[:, None] + phase
        )
    way = shake + np.stack([along, np.zeros_like(along)], axis=1)
    at = (np.arange(_MOMENTS) / _MOMENTS * _SHUTTER * fine).astype(int)
    index = np.arange(frames)[:, None] * fine + at
    return Walk(way[index])


def ground(length: int) -> NDArray[np.uint8]:
    """Return a wide picture, twice as fine as the video: a photo of the sample, mirrored again and again."""
    photo = cv2.imread(str(min((ROOT / "sample" / "photos").iterdir())))
    assert photo is not None
    photo = photo[: 2 * SIZE[1] + 2 * _EDGE]
    width = 2 * (length + SIZE[0]) + 2 * _EDGE
    row = [photo, photo[:, ::-1]] * (width // (2 * photo.shape[1]) + 1)
    return np.ascontiguousarray(np.concatenate(row, axis=1)[:, :width], np.uint8)


def film(path: Path, way: Walk, wide: NDArray[np.uint8]) -> None:
    """Draw and encode the video."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for number, moments in enumerate(way.ways):
            total = np.zeros((2 * SIZE[1], 2 * SIZE[0], 3), np.float32)
            for right, down in moments:  # the ground is twice as fine, so half a px counts
                left, top = round(2 * right) + _EDGE, round(2 * down) + _EDGE
                cv2.accumulate(wide[top : top + 2 * SIZE[1], left : left + 2 * SIZE[0]], total)
            small = cv2.resize(total / _MOMENTS, SIZE, interpolation=cv2.INTER_AREA)
            picture = (small + 0.5).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts = number
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def row(name: str, chosen: NDArray[np.intp], way: Walk, sharp: NDArray[np.float32]) -> str:
    """Return one line of the table."""
    angles, blur = way.angles[chosen], way.blur[chosen]
    gaps = np.diff(angles)
    mean = gaps.mean()
    return (
        f"| {name} | {len(chosen)} | {sharp[chosen].mean():.3f} | {blur.mean():.2f} px |"
        f" {np.mean(blur > _BLURRED):.0%} | {mean:.2f}° | {gaps.max():.2f}° |"
        f" {np.mean(gaps < 0.1 * mean):.0%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--keep", type=Path, help="keep the video here")
    options = parser.parse_args()
    length = 80 * options.seconds
    way = walk(options.seconds, length)
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "walk.mp4"
        if not path.exists():
            film(path, way, ground(length))
        began = time.process_time()
        scores = score_video(
            VideoScoresRequest(str(path), str(Path(folder) / "scores")),
            lambda _: None,
            lambda: False,
        )
        used = time.process_time() - began
        assert len(scores) == len(way.ways)
        choice = choose(scores, options.photos)
    every = np.linspace(0, len(scores) - 1, len(choice.chosen)).round().astype(np.intp)
    print("| | photos | sharpness | true blur | blurred | mean gap | largest gap | same view |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(row("every n-th frame", every, way, scores.sharpness))
    print(row("chosen", choice.chosen, way, scores.sharpness))
    order = np.argsort(np.argsort(way.blur)), np.argsort(np.argsort(scores.sharpness))
    print(f"rank correlation of sharpness and true blur: {np.corrcoef(*order)[0, 1]:.3f}")
    true, seen = way.angles[-1] / _FIELD, float(scores.places[-1])
    print(f"way of the view: {seen:.2f} widths measured, {true:.2f} true")
    print(f"{choice.sentence()}; {used / len(scores) * 1000:.1f} ms of processor for a frame")


if __name__ == "__main__":
    main()
