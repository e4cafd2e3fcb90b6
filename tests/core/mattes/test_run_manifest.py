# SPDX-License-Identifier: GPL-3.0-or-later
"""The run manifest: its bytes, and keys that change with everything that changes a matte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sam2_splat_addon.core.errors import StoreError
from sam2_splat_addon.core.mattes.run_manifest import (
    MANIFEST_VERSION,
    UNKNOWN,
    Machine,
    Photos,
    RunManifest,
    is_torn,
    read_manifest,
    read_photos,
    write_manifest,
)
from sam2_splat_addon.core.prompts import FramePrompts, ObjectPrompts, PointPrompt, PromptSet
from sam2_splat_addon.core.settings import RunSettings

CHAIR = ObjectPrompts(1, "chair", (FramePrompts(1, (PointPrompt(5, 5),)),))
LAMP = ObjectPrompts(2, "lamp", (FramePrompts(3, (PointPrompt(9, 9),)),))
MACHINE = Machine("cpu", "float32", 2, "AVX2", {"torch": "2.13.0", "sam2": "1.1.0"})
RUN = RunManifest(
    "fingerprint", 1200, 1800, 48, "bundled", "ab" * 32, RunSettings(), MACHINE,
    PromptSet((CHAIR, LAMP), 1200, 1800),
)  # fmt: skip


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", RUN)
    assert read_manifest(tmp_path / "manifest.json") == RUN


def test_the_photos_are_read_as_they_were_written(tmp_path: Path) -> None:
    photos = Photos("folder", ("one", "two"))
    write_manifest(tmp_path / "manifest.json", RUN, photos)
    assert read_photos(tmp_path / "manifest.json") == photos
    assert read_manifest(tmp_path / "manifest.json") == RUN
    write_manifest(tmp_path / "manifest.json", RUN)
    assert read_photos(tmp_path / "manifest.json") == UNKNOWN
    assert read_photos(tmp_path / "nothing") == UNKNOWN


def test_a_manifest_is_written_to_be_read_by_people(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", RUN)
    lines = (tmp_path / "manifest.json").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("{", "}")
    assert '  "model": "bundled",' in lines


def test_only_a_manifest_that_was_cut_off_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(path, RUN)
    whole = path.read_bytes()
    for data in (b"", whole[:5], whole[:50], whole[:50] + bytes(20)):
        path.write_bytes(data)
        assert is_torn(path)
    path.write_bytes(b"{}")
    assert not is_torn(path)
    path.unlink()
    path.mkdir()
    assert not is_torn(path)


def test_equal_manifests_give_equal_bytes_whatever_the_order_of_their_versions(
    tmp_path: Path,
) -> None:
    turned = replace(MACHINE, versions=dict(reversed(MACHINE.versions.items())))
    write_manifest(tmp_path / "a", RUN)
    write_manifest(tmp_path / "b", replace(RUN, machine=turned))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"footage": "other"},
        {"frame_count": 47},
        {"width": 1201},
        {"model": "sam2.1_hiera_tiny"},
        {"checkpoint_sha256": "cd" * 32},
        {"input_size": 256},
        {"settings": RunSettings(speed="fast")},
        {"settings": RunSettings(panorama=True)},
        {"settings": RunSettings(memory="guarded")},
        {"machine": replace(MACHINE, device="cuda")},
        {"machine": replace(MACHINE, threads=4)},
        {"machine": replace(MACHINE, versions={"torch": "2.14.0", "sam2": "1.1.0"})},
        {"version": MANIFEST_VERSION + 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_key_changes_with_everything_that_decides_all_mattes(change: dict[str, Any]) -> None:
    assert replace(RUN, **change).key() != RUN.key()


@pytest.mark.parametrize(
    "change",
    [
        {"settings": RunSettings(3, 9, "forward", nearby_prompts=2, both_sides=True)},
        {"prompts": PromptSet((CHAIR,), 1200, 1800)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_key_leaves_out_prompts_and_the_way_through_the_frames(change: dict[str, Any]) -> None:
    assert replace(RUN, **change).key() == RUN.key()


def test_no_foreign_or_newer_manifest_counts(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    assert read_manifest(path) is None
    for data in (b"", b"{}", b"\x00\xff", b'{"footage": 3}'):
        path.write_bytes(data)
        assert read_manifest(path) is None
    write_manifest(path, replace(RUN, version=MANIFEST_VERSION + 1))
    assert read_manifest(path) is None


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be written"):
        write_manifest(tmp_path / "nowhere" / "manifest.json", RUN)
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(StoreError, match="can't be read"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b'"speed": "quality"', b'"speed": "qualty"'),
        (b'"speed": "quality"', b'"sped": "quality"'),
        (b'"nearby_prompts": 0', b'"nearby_prompts": -1'),
        (b'"panorama": false', b'"panorama": "no"'),
        (b'"include": true', b'"inclued": true'),
    ],
)
def test_a_manifest_with_a_misspelt_value_counts_as_none(
    right: bytes, wrong: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(path, RUN)
    assert right in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(right, wrong))
    assert read_manifest(path) is None
