# SPDX-License-Identifier: GPL-3.0-or-later
"""The model gets frames as from sam2's own loader, one at a time and in the order asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
import torch
from PIL import Image, ImageOps
from sam2.utils.misc import load_video_frames

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.engine.images.frame_source import MEAN, STD, FrameSource

SIZE = 64


def photo(seed: int, width: int = 90, height: int = 130) -> Image.Image:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (13, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def upright_levels(frame: torch.Tensor) -> np.ndarray:
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return ((frame * std + mean) * 255).permute(1, 2, 0).numpy()


def expected_levels(image: Image.Image) -> np.ndarray:
    return np.array(image.convert("RGB").resize((SIZE, SIZE))).astype(np.float64)


@pytest.fixture
def jpegs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.jpg" for i in range(6)]
    for i, path in enumerate(paths):
        exif = Image.Exif()
        exif[274] = 1
        photo(i).save(path, quality=90, exif=exif)
    return paths


def test_frames_equal_those_of_sam2s_loader_bit_for_bit(jpegs: list[Path]) -> None:
    theirs, _, _ = load_video_frames(
        str(jpegs[0].parent), SIZE, offload_video_to_cpu=True, compute_device=torch.device("cpu")
    )
    ours = FrameSource(jpegs, SIZE)
    assert len(ours) == len(theirs) == 6
    for index in range(6):
        assert ours[index].dtype == torch.float32
        assert torch.equal(ours[index], theirs[index])


def test_grey_and_cmyk_jpegs_equal_sam2s_loader_too(tmp_path: Path) -> None:
    photo(1).convert("L").save(tmp_path / "0.jpg")
    photo(2).convert("CMYK").save(tmp_path / "1.jpg")
    theirs, _, _ = load_video_frames(
        str(tmp_path), SIZE, offload_video_to_cpu=True, compute_device=torch.device("cpu")
    )
    ours = FrameSource([tmp_path / "0.jpg", tmp_path / "1.jpg"], SIZE)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("decoders", [1, 3])
def test_a_stream_keeps_the_order_given_and_the_same_values(
    jpegs: list[Path], decoders: int
) -> None:
    source = FrameSource(jpegs, SIZE, decoders=decoders)
    order = [4, 1, 1, 0, 5]
    streamed = list(source.stream(order))
    assert [index for index, _ in streamed] == order
    assert all(torch.equal(frame, source[index]) for index, frame in streamed)


def test_a_damaged_frame_raises_at_its_place_and_names_the_file(jpegs: list[Path]) -> None:
    jpegs[2].write_bytes(jpegs[2].read_bytes()[:-200])
    seen = []
    with pytest.raises(FootageError, match=r"2\.jpg"):
        for index, _ in FrameSource(jpegs, SIZE).stream(range(6)):
            seen.append(index)
    assert seen == [0, 1]


def test_no_more_is_decoded_ahead_than_the_threads_can_soon_give(
    jpegs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    own = FrameSource.__getitem__

    def counted(source: FrameSource, index: int) -> torch.Tensor:
        asked.append(index)
        return own(source, index)

    monkeypatch.setattr(FrameSource, "__getitem__", counted)
    stream = FrameSource(jpegs * 20, SIZE, decoders=2).stream(range(120))
    for taken, _ in enumerate(stream, start=1):
        assert len(asked) <= taken + 4
        if taken == 50:
            break
    stream.close()  # type: ignore[attr-defined]
    assert len(asked) <= 54


def test_a_photo_removed_meanwhile_is_named(jpegs: list[Path]) -> None:
    source = FrameSource(jpegs, SIZE)
    jpegs[3].unlink()
    with pytest.raises(FootageError, match=r"3\.jpg"):
        source[3]


def test_an_abandoned_stream_leaves_no_thread(jpegs: list[Path]) -> None:
    before = threading.active_count()
    stream = FrameSource(jpegs, SIZE, decoders=2).stream([0, 1, 2, 3, 4, 5] * 20)
    next(stream)
    assert threading.active_count() == before + 2
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_defect_in_decoding_reaches_the_caller(jpegs: list[Path]) -> None:
    with pytest.raises(IndexError):
        list(FrameSource(jpegs, SIZE).stream([0, 99]))


def test_the_quick_mode_stays_near_the_exact_one(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    photo(3, 900, 1300).save(path, quality=95)
    exact = upright_levels(FrameSource([path], SIZE)[0])
    quick = upright_levels(FrameSource([path], SIZE, exact=False)[0])
    assert np.abs(exact - quick).max() < 24  # hard, saturated colour edges differ most
    assert np.abs(exact - quick).mean() < 1


@pytest.mark.parametrize("size", [(300, 200), (41, 43), (2 * SIZE, 2 * SIZE + 1)])
def test_a_photo_that_is_decoded_whole_is_the_same_within_two_levels_in_the_quick_mode(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "small.jpg"
    photo(3, *size).save(path, quality=95)
    exact, quick = FrameSource([path], SIZE), FrameSource([path], SIZE, exact=False)
    apart = exact.squashed(0).astype(int) - quick.squashed(0)
    assert np.abs(apart).max() <= 2


def test_the_quick_mode_names_a_damaged_photo_too(jpegs: list[Path]) -> None:
    data = bytearray(jpegs[0].read_bytes())
    table = data.index(b"\xff\xc4") + 5  # a Huffman table, which only decoding reads
    data[table : table + 16] = b"\xff" * 16
    jpegs[0].write_bytes(data)
    for exact in (True, False):
        with pytest.raises(FootageError, match=r"0\.jpg"):
            FrameSource(jpegs, SIZE, exact=exact)[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif", "webp", "jpg"])
def test_the_model_sees_upright_photos(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    tagged, straight = tmp_path / f"a.{kind}", tmp_path / "b.png"
    photo(5).save(tagged, exif=exif, lossless=True)
    with Image.open(tagged) as stored:
        ImageOps.exif_transpose(stored).save(straight)
    assert torch.equal(FrameSource([tagged], SIZE)[0], FrameSource([straight], SIZE)[0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("wide", [1, 2])
def test_the_quick_mode_turns_photos_of_odd_sizes_in_their_place(
    tmp_path: Path, orientation: int, wide: int
) -> None:
    """A reduced JPEG is a little larger than the photo. Turned, the rest may lie left or above."""
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[274] = orientation
    photo(3, 901, 1303).save(path, quality=95, exif=exif)
    exact = upright_levels(FrameSource([path], SIZE, wide=wide)[0])
    quick = upright_levels(FrameSource([path], SIZE, wide=wide, exact=False)[0])
    assert np.abs(exact - quick).max() < 24
    assert np.abs(exact - quick).mean() < 1


def test_an_exr_looks_like_what_the_bake_writes(tmp_path: Path) -> None:
    levels = np.asarray(photo(7)).astype(np.float32) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    path = tmp_path / "a.exr"
    planes = {c: linear[:, :, i].astype(np.float32) for i, c in enumerate("RGB")}
    OpenEXR.File({}, planes).write(str(path))
    frame = FrameSource([path], SIZE)[0]
    assert np.abs(upright_levels(frame) - expected_levels(photo(7))).max() < 0.01


@pytest.mark.parametrize("kind", ["grey", "rgba", "palette", "png16", "grey16", "tiff", "tiff16"])
def test_other_kinds_of_photo_look_like_their_8_bit_rgb(tmp_path: Path, kind: str) -> None:
    image = photo(7)
    path = tmp_path / "a.png"
    wide = np.asarray(image).astype(np.uint16) * 257
    if kind == "grey":
        image = image.convert("L")
        image.save(path)
    elif kind == "rgba":
        image.putalpha(100)
        image.save(path)
    elif kind == "palette":
        image = image.quantize(64)
        image.save(path)
    elif kind == "png16":
        cv2.imwrite(str(path), wide[:, :, ::-1])
    elif kind == "grey16":
        image = image.convert("L")
        cv2.imwrite(str(path), np.asarray(image).astype(np.uint16) * 257)
    elif kind == "tiff":
        tifffile.imwrite(path, np.asarray(image), extratags=[(274, "H", 1, 8, True)])
    else:
        tifffile.imwrite(path, wide, photometric="rgb")
    frame = FrameSource([path], SIZE)[0]
    image = image.transpose(Image.Transpose.ROTATE_90) if kind == "tiff" else image
    assert np.abs(upright_levels(frame) - expected_levels(image)).max() < 0.01
