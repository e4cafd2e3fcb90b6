# SPDX-License-Identifier: GPL-3.0-or-later
"""A bake never overwrites, names files like their photos, and says what it leaves out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sam2_splat_addon.core.bake_plan import (
    BakeOptions,
    next_output_folder,
    plan_bake,
    target_names,
)
from sam2_splat_addon.core.errors import BakeError

SOURCES = [Path("/f") / name for name in ("IMG_1.JPG", "IMG_3.JPG", "IMG_7.JPG", "IMG_8.JPG")]
FOLDER = Path("/f/postshot_v001")


def test_output_folders_count_up_and_never_come_back(tmp_path: Path) -> None:
    assert next_output_folder(tmp_path) == tmp_path / "postshot_v001"
    (tmp_path / "postshot_v001").mkdir()
    (tmp_path / "Postshot_V003").mkdir()
    (tmp_path / "postshot_v1").mkdir()
    (tmp_path / "other_v009").mkdir()
    assert next_output_folder(tmp_path) == tmp_path / "postshot_v004"
    (tmp_path / "postshot_v004").write_text("a file takes the name too")
    (tmp_path / "postshot_v005_masks").mkdir()
    assert next_output_folder(tmp_path) == tmp_path / "postshot_v006"
    (tmp_path / "postshot_v999").mkdir()
    assert next_output_folder(tmp_path) == tmp_path / "postshot_v1000"
    assert next_output_folder(tmp_path, "other") == tmp_path / "other_v010"


def test_an_unreadable_footage_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BakeError, match="gone"):
        next_output_folder(tmp_path / "gone")


def test_names_are_the_sources_stems() -> None:
    names = ["IMG_2041.JPG", "DSC_0007 (1).png", "a.b.tif", "Größe.exr"]
    assert target_names([Path(name) for name in names]) == (
        "IMG_2041.png",
        "DSC_0007 (1).png",
        "a.b.png",
        "Größe.png",
    )


def test_equal_stems_stay_apart_on_every_system() -> None:
    names = ["a.jpg", "a.png", "A.JPG", "a_jpg.tif", "b.jpg"]
    got = target_names([Path(name) for name in names])
    assert got == ("a_jpg_2.png", "a_png.png", "A_JPG_3.png", "a_jpg.png", "b.png")
    assert len({name.casefold() for name in got}) == len(names)


def test_frames_without_a_matte_are_left_out_and_told() -> None:
    plan = plan_bake(
        FOLDER.parent, SOURCES, FOLDER, BakeOptions(), {1: {1, 3}, 2: {3, 4}, 9: set()}
    )
    assert [(item.frame, item.outputs[0].image.name, item.objects) for item in plan.items] == [
        (1, "IMG_1.png", (1,)),
        (3, "IMG_7.png", (1, 2)),
        (4, "IMG_8.png", (2,)),
    ]
    assert plan.items[0].source == SOURCES[0]
    assert plan.items[0].outputs[0].image.parent == FOLDER
    assert plan.without_matte == (2,)
    assert plan.incomplete == (1, 4)
    assert plan.masks_folder is None


def test_chosen_objects_and_frames() -> None:
    matted = {1: {1, 2, 3, 4}, 2: {1, 2}}
    plan = plan_bake(
        FOLDER.parent, SOURCES, FOLDER, BakeOptions(objects=(2,), frames=(4, 2)), matted
    )
    assert [item.frame for item in plan.items] == [2]
    assert plan.without_matte == (4,)
    assert plan.incomplete == ()


def test_names_do_not_depend_on_the_chosen_frames() -> None:
    sources = [Path("/f/a.jpg"), Path("/f/a.png")]
    plan = plan_bake(FOLDER.parent, sources, FOLDER, BakeOptions(frames=(1,)), {1: {1, 2}})
    assert plan.items[0].outputs[0].image.name == "a_jpg.png"


def test_sidecar_masks_follow_each_programs_naming() -> None:
    for kind, name in (
        ("postshot", "IMG_1.png"),
        ("colmap", "IMG_1.png.png"),
        ("colmap_photos", "IMG_1.JPG.png"),
    ):
        plan = plan_bake(FOLDER.parent, SOURCES, FOLDER, BakeOptions(sidecar_masks=kind), {1: {1}})  # type: ignore[arg-type]
        assert plan.items[0].outputs[0].mask == Path("/f/postshot_v001_masks") / name


@pytest.mark.parametrize(
    ("options", "matted", "message"),
    [
        (BakeOptions(), {}, "no masks"),
        (BakeOptions(), {1: set()}, "no masks"),
        (BakeOptions(objects=(3,)), {1: {1}}, "Subject 3"),
        (BakeOptions(frames=(9,)), {1: {1}}, "Frame 9 does not exist.*1 to 4"),
        (BakeOptions(frames=(2,)), {1: {1}}, "None of the chosen frames"),
    ],
)
def test_what_can_not_be_baked_is_said(
    options: BakeOptions, matted: dict[int, set[int]], message: str
) -> None:
    with pytest.raises(BakeError, match=message):
        plan_bake(FOLDER.parent, SOURCES, FOLDER, options, matted)


@pytest.mark.parametrize(
    "values",
    [{"grow_px": 500.0}, {"grow_px": float("nan")}, {"feather_px": -1.0}, {"fill_holes_px": -1}],
)
def test_options_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(BakeError):
        BakeOptions(**values)  # type: ignore[arg-type]


def test_options_survive_json() -> None:
    options = BakeOptions(alpha="soft", grow_px=-2.5, objects=(1, 3), sidecar_masks="colmap")
    assert msgspec.json.decode(msgspec.json.encode(options), type=BakeOptions) == options


@pytest.mark.parametrize("exposure", [float("nan"), float("inf"), 1e30, -33.0])
def test_an_exposure_beyond_all_photos_is_refused(exposure: float) -> None:
    with pytest.raises(BakeError, match="stops"):
        BakeOptions(exposure=exposure)


def test_a_name_too_long_for_disks_is_found_out_before_anything_is_written() -> None:
    sources = [Path("/f") / f"{'写' * 80}{i}.jpg" for i in range(2)]  # 245 bytes
    plan = plan_bake(FOLDER.parent, sources, FOLDER, BakeOptions(), {1: {1, 2}})
    assert [item.outputs[0].image.name for item in plan.items] == [
        f"{'写' * 80}{i}.png" for i in range(2)
    ]
    long = [Path("/f") / f"{'写' * 83}a.jpg"]  # 254 bytes, 258 with COLMAP's second extension
    plan_bake(FOLDER.parent, long, FOLDER, BakeOptions(sidecar_masks="postshot"), {1: {1}})
    for kind in ("colmap", "colmap_photos"):
        with pytest.raises(BakeError, match="258 bytes"):
            plan_bake(FOLDER.parent, long, FOLDER, BakeOptions(sidecar_masks=kind), {1: {1}})
