# SPDX-License-Identifier: GPL-3.0-or-later
"""Every folder of photos becomes ordered footage, or an error that names the problem."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from sam2_splat_addon.core.errors import FootageError
from sam2_splat_addon.core.footage.scan import natural_key, path_key, scan, shorten


def write(folder: Path, *names: str, size: tuple[int, int] = (12, 16)) -> None:
    kinds = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP"}
    for i, name in enumerate(names):
        kind = kinds[name.rpartition(".")[2].lower()]
        Image.new("RGB", size, (i * 9 % 256, 40, 90)).save(folder / name, format=kind)


def names(folder: Path) -> list[str]:
    return [path.name for path in scan(folder).paths]


def test_natural_order_for_gaps_case_brackets_and_names_without_digits(tmp_path: Path) -> None:
    ordered = [
        "abc.jpg",
        "DSC_0007.png",
        "DSC_0007 (1).png",
        "DSC_0007 (2).png",
        "dsc_0008.PNG",
        "IMG_2.JPG",
        "img_10.jpg",
        "IMG_0011.JPG",
        "IMG_2041.JPG",
        "Last.jpeg",
    ]
    write(tmp_path, *reversed(ordered))
    assert names(tmp_path) == ordered


def test_order_is_total_and_ignores_the_order_of_the_disk() -> None:
    some = ["a1.jpg", "a01.jpg", "A1.jpg", "a1.png", "1.jpg", "1a.jpg", "", "a1b2.jpg", "a1b10.jpg"]
    turned = some[::-1]
    assert sorted(some, key=natural_key) == sorted(turned, key=natural_key)


def test_frames_count_from_1_in_both_directions(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", "a.jpg", "c.jpg")
    footage = scan(tmp_path)
    assert [frame.index for frame in footage.frames] == [0, 1, 2]
    assert footage.path_of(1) == tmp_path / "a.jpg"
    assert footage.path_of(3) == tmp_path / "c.jpg"
    assert footage.frame_of("c.jpg") == 3
    assert (footage.width, footage.height) == (12, 16)
    for frame in (0, 4):
        with pytest.raises(FootageError, match="frames 1 to 3"):
            footage.path_of(frame)
    with pytest.raises(FootageError, match=r"z\.jpg"):
        footage.frame_of("z.jpg")


def test_one_photo_stands_for_its_folder(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.PNG", "c.tif", "d.webp")
    assert len(scan(tmp_path / "c.tif")) == 4


def test_hidden_files_folders_and_other_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "._a.jpg", ".hidden.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "masks.jpg").mkdir()
    footage = scan(tmp_path)
    assert [path.name for path in footage.paths] == ["a.jpg"]
    assert footage.unreadable == ()


def test_unreadable_photos_are_named_and_the_rest_is_usable(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (tmp_path / "2.jpg").write_bytes(b"")
    (tmp_path / "4.jpg").write_bytes((tmp_path / "4.jpg").read_bytes()[:-50])
    (tmp_path / "5.jpg").write_text("no image at all")
    footage = scan(tmp_path)
    assert [path.name for path in footage.paths] == ["1.jpg", "3.jpg"]
    assert [frame.index for frame in footage.frames] == [0, 1]
    reasons = {file.path.name: file.reason for file in footage.unreadable}
    damaged = [file.path.name for file in footage.unreadable if file.is_damaged]
    assert damaged == ["2.jpg", "4.jpg", "5.jpg"]
    assert "empty" in reasons["2.jpg"]
    assert "cut short" in reasons["4.jpg"]
    assert "not a JPEG" in reasons["5.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_names_that_are_no_text_are_told_and_the_rest_is_usable(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "b.jpg").rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")))
    found = scan(tmp_path)
    assert [path.name for path in found.paths] == ["c.jpg", "d.jpg"]
    assert [file.path for file in found.unreadable] == [tmp_path / "caf?.jpg"]
    assert [file.reason for file in found.unreadable] == ["The name caf?.jpg is not valid text."]
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    folder.mkdir()
    with pytest.raises(FootageError, match=r"/\? is not valid text.*Rename"):
        scan(folder)


def test_a_dangling_link_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg")
    try:
        (tmp_path / "2.jpg").symlink_to(tmp_path / "nowhere.jpg")
    except OSError:
        pytest.skip("this system does not let us make symbolic links")
    (dangling,) = scan(tmp_path).unreadable
    assert dangling.path == tmp_path / "2.jpg"
    assert "2.jpg can't be opened: No such file" in dangling.reason


def test_choosing_an_unreadable_photo_says_so(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg")
    (tmp_path / "2.jpg").write_bytes(b"")
    with pytest.raises(FootageError, match=r"2\.jpg .* empty"):
        scan(tmp_path / "2.jpg")


def test_each_photo_keeps_its_own_size(tmp_path: Path) -> None:
    write(tmp_path, *(f"{i}.jpg" for i in range(3)))
    write(tmp_path, "turned.jpg", "wide.png", size=(16, 12))
    sizes = scan(tmp_path).sizes
    assert (sizes.width, sizes.height) == (12, 16)
    assert sizes.odd == {4: (16, 12), 5: (16, 12)}
    assert [sizes.of(frame) for frame in (1, 5)] == [(12, 16), (16, 12)]


def test_the_usual_size_is_the_first_of_two_that_are_as_common(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", size=(16, 12))
    write(tmp_path, "a.jpg", size=(40, 30))
    sizes = scan(tmp_path).sizes
    assert (sizes.width, sizes.height, sizes.odd) == (40, 30, {2: (16, 12)})
    assert sizes.most_pixels == 1200


def test_phrases_of_names() -> None:
    assert shorten([]) == ""
    assert shorten(["a"]) == "a"
    assert shorten(["a", "b"]) == "a and b"
    assert shorten(list("abc")) == "a, b and c"
    assert shorten(list("abcdef")) == "a, b, c, d, e and f"
    assert shorten(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert shorten(list("abcdefgh")) == "a, b, c, d, e and 3 more"


def test_an_empty_folder_a_missing_one_and_a_text_file(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="has no photos") as told:
        scan(tmp_path)
    assert "such as" not in told.value.message  # there are no other files either
    with pytest.raises(FootageError, match="does not exist"):
        scan(tmp_path / "nothing")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FootageError, match=r"a\.txt is not an image"):
        scan(tmp_path / "a.txt")


def test_a_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.PSD").write_bytes(b"layers")
    for name in ("a", "b", "c", "d", "e.mov"):
        (tmp_path / name).write_bytes(b"neither has an extension of a photo")
    with pytest.raises(FootageError, match=r"3 \.psd.*Choose a folder of JPEG"):
        scan(tmp_path)


def test_a_folder_of_videos_says_that_one_can_be_chosen(tmp_path: Path) -> None:
    for name in ("a.mov", "b.MOV", "c.txt"):
        (tmp_path / name).write_bytes(b"not read")
    with pytest.raises(FootageError, match=r"2 \.mov.*Choose one of the videos in it"):
        scan(tmp_path)


def test_a_folder_where_nothing_is_readable(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(FootageError, match=r"None of the photos.*1\.jpg"):
        scan(tmp_path)


def test_scanning_and_hashing_say_how_far_they_are(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    said: list[tuple[int, int]] = []
    footage = scan(tmp_path, lambda done, total: said.append((done, total)))
    assert said == [(0, 3), (1, 3), (2, 3)]
    said.clear()
    footage.fingerprint(None, lambda done, total: said.append((done, total)))
    assert said == [(0, 3), (1, 3), (2, 3)]
    assert footage.frames[2].changed_ns == (tmp_path / "3.jpg").stat().st_mtime_ns


def test_the_fingerprint_changes_with_any_photo_and_with_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    write(folder, *(f"{i}.jpg" for i in range(4)))
    first = scan(folder).fingerprint()
    (folder / "notes.txt").write_text("x")
    os.utime(folder / "0.jpg", (1, 1))
    assert scan(folder).fingerprint() == first
    assert scan(Path(shutil.copytree(folder, tmp_path / "b"))).fingerprint() == first

    seen = {first}
    data = bytearray((folder / "1.jpg").read_bytes())
    data[len(data) // 2] ^= 1  # replaced by a photo with the same size
    (folder / "1.jpg").write_bytes(data)
    seen.add(scan(folder).fingerprint())
    (folder / "1.jpg").rename(folder / "9.jpg")
    seen.add(scan(folder).fingerprint())
    (folder / "9.jpg").unlink()
    seen.add(scan(folder).fingerprint())
    write(folder, "5.jpg")
    seen.add(scan(folder).fingerprint())
    assert len(seen) == 5


def test_a_fingerprint_of_footage_that_is_gone_names_the_photo(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg", "2.jpg")
    footage = scan(tmp_path)
    (tmp_path / "2.jpg").unlink()
    with pytest.raises(FootageError, match=r"2\.jpg"):
        footage.fingerprint()


def test_a_folders_own_photos_come_before_those_of_its_subfolders() -> None:
    ordered = ["b.jpg", "z.jpg", "a/z.jpg", "a/b/1.jpg", "a/b/10.jpg", "c/2.jpg"]
    assert sorted(sorted(ordered), key=path_key) == ordered


def test_blender_shows_photos_of_one_size_that_stand_upright_itself(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg", "2.jpg")
    assert scan(tmp_path).is_shown_itself
    write(tmp_path, "3.jpg", size=(16, 12))
    assert not scan(tmp_path).is_shown_itself
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 16)).save(tmp_path / "3.jpg", exif=exif)
    assert not scan(tmp_path).is_shown_itself
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (12, 16)).save(tmp_path / name, exif=exif)
    footage = scan(tmp_path)
    assert not footage.sizes.odd and not footage.is_shown_itself
