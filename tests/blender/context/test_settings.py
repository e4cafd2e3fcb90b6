# SPDX-License-Identifier: GPL-3.0-or-later
"""A declared setting appears everywhere, with no other code: property, option, request and keys."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import bpy
import msgspec
import pytest
from msgspec import Meta

from sam2_splat_addon.core.capture_job import job_from_json, to_json
from sam2_splat_addon.core.errors import PromptError
from sam2_splat_addon.core.mattes.run_manifest import Machine, RunManifest
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.settings import (
    CLIP_SETTINGS,
    BakeSettings,
    ModelSettings,
    RunSettings,
    Setting,
    declared,
)

pytestmark = pytest.mark.usefixtures("addon")
MACHINE = Machine("cpu", "float32", 2, "AVX2", {})


class Invented(RunSettings, frozen=True):
    """Settings that somebody might add. No other code knows them."""

    lens: Annotated[
        Literal["flat", "fisheye"],
        Setting(
            "Lens",
            "How the photos are bent",
            "--lens",
            "how the photos are bent; default: flat",
            choices={"flat": ("Flat", "Not at all"), "fisheye": ("Fisheye", "Very much")},
            previews=True,
        ),
    ] = "flat"
    strength: Annotated[
        float,
        Meta(ge=0, le=2),
        Setting("Strength", "How much", "--strength", "how much", unit="px", affects="way"),
    ] = 1.0
    patient: Annotated[
        bool, Setting("Patient", "Takes its time", "--patient", "takes its time", has_no=True)
    ] = False


NEW = ("lens", "strength", "patient")


@pytest.fixture
def invented() -> Iterator[Any]:
    """A registered property group with the clip's own settings and the invented ones."""
    from sam2_splat_addon.blender.context.properties import declare, pointer

    group = type("SAM2SPLAT_PG_invented", (bpy.types.PropertyGroup,), {"__annotations__": {}})
    checkpoint: Any = bpy.props.StringProperty()  # type: ignore[func-returns-value]  # it does
    group.__annotations__["checkpoint"] = checkpoint
    for kind in (ModelSettings, Invented, BakeSettings):
        declare(group, kind)
    bpy.utils.register_class(group)
    bpy.types.Scene.invented = pointer(group)
    yield bpy.context.scene.invented
    del bpy.types.Scene.invented
    bpy.utils.unregister_class(group)


def parsed(*arguments: str) -> argparse.Namespace:
    from sam2_splat_addon.client.command.options import add_settings

    parser = argparse.ArgumentParser()
    add_settings(parser, Invented)
    return parser.parse_args(arguments)


def test_a_declared_setting_has_its_property(invented: Any) -> None:
    assert (invented.lens, invented.strength, invented.patient) == ("flat", 1.0, False)
    rna = invented.bl_rna.properties
    assert [(i.identifier, i.name, i.description) for i in rna["lens"].enum_items] == [
        ("flat", "Flat", "Not at all"),
        ("fisheye", "Fisheye", "Very much"),
    ]
    assert (rna["strength"].name, rna["strength"].description) == ("Strength", "How much")
    invented.strength = 9.0
    assert invented.strength == 2.0
    with pytest.raises(TypeError):
        invented.lens = "fish"


def test_a_declared_setting_has_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    plain = parsed()
    assert [getattr(plain, name) for name in NEW] == [None, None, None]
    given = parsed("--lens", "fisheye", "--strength", "1.5", "--no-patient")
    assert [getattr(given, name) for name in NEW] == ["fisheye", 1.5, False]
    for wrong in (["--lens", "fish"], ["--strength", "2.1"], ["--strength", "nan"]):
        with pytest.raises(SystemExit):
            parsed(*wrong)
    assert "from 0 to 2" in capsys.readouterr().err


def test_a_declared_setting_goes_into_the_request_and_the_manifest_with_its_key(
    invented: Any,
) -> None:
    from sam2_splat_addon.blender.context.requests import chosen

    def run(settings: RunSettings) -> RunManifest:
        return RunManifest("f", 9, 9, 3, "bundled", "ab", settings, MACHINE, PromptSet(()))

    before = Invented(**chosen(invented, Invented))
    assert before == Invented()
    invented.lens, invented.strength = "fisheye", 0.5
    settings = Invented(2, 3, **chosen(invented, Invented))
    assert (settings.lens, settings.strength, settings.patient) == ("fisheye", 0.5, False)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Invented) == settings
    assert b'"lens":"fisheye"' in msgspec.json.encode(run(settings))
    assert run(settings).key() != run(before).key()  # this changes every matte
    assert run(Invented(strength=0.5)).key() == run(before).key()  # this changes only the way


def test_the_preview_key_knows_a_declared_setting_that_previews_show(
    invented: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_splat_addon.blender.clip import preview_key

    monkeypatch.setattr(preview_key, "CLIP_SETTINGS", (ModelSettings, Invented, BakeSettings))
    key = preview_key.of_clip(invented)
    invented.strength, invented.patient = 0.5, True
    assert preview_key.of_clip(invented) == key
    invented.lens = "fisheye"
    assert preview_key.of_clip(invented) != key


def _others(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield each declared setting with a value that is not its default."""
    for one in declared(kind):
        if one.values:
            yield one.name, next(value for value in one.values if value != one.default)
        else:
            yield one.name, (not one.default) if one.kind is bool else one.kind(one.default + 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [case for kind in CLIP_SETTINGS for case in _others(kind)],
    ids=lambda case: str(case),
)
def test_every_setting_is_a_property_and_an_option_of_the_command_line(
    name: str, value: Any, make_clip: Callable[[int, int], bpy.types.MovieClip]
) -> None:
    from sam2_splat_addon.blender.cli.show_result import apply_settings
    from sam2_splat_addon.client.command.options import job_of, parser

    clip = make_clip(64, 48)
    settings = clip.sam2_splat
    one = next(one for kind in CLIP_SETTINGS for one in declared(kind) if one.name == name)
    assert getattr(settings, name) == one.default
    words = [one.setting.option] if one.kind is bool else [one.setting.option, str(value)]
    options = parser().parse_args(words)
    job = job_of(options, None)
    assert job_from_json(to_json(job)) == job
    apply_settings(clip, job)
    assert getattr(settings, name) == value
    others = [other for kind in CLIP_SETTINGS for other in declared(kind) if other.name != name]
    assert all(getattr(settings, other.name) == other.default for other in others)


@pytest.mark.parametrize(
    ("name", "value"), [case for kind in CLIP_SETTINGS for case in _others(kind)], ids=str
)
def test_the_preview_key_changes_with_what_previews_show_and_nothing_else(
    name: str, value: Any, make_clip: Callable[[int, int], bpy.types.MovieClip], tmp_path: Path
) -> None:
    from sam2_splat_addon.blender.clip import preview_key

    clip = make_clip(64, 48)
    key = preview_key.of_clip(clip.sam2_splat)
    setattr(clip.sam2_splat, name, value)
    changed = preview_key.of_clip(clip.sam2_splat) != key
    one = next(one for kind in CLIP_SETTINGS for one in declared(kind) if one.name == name)
    assert changed == one.setting.previews
    first = RunManifest("f", 64, 48, 3, "bundled", "ab", RunSettings(), MACHINE, PromptSet(()))
    other = msgspec.structs.replace(
        first,
        **(
            {"model": value}
            if name == "model"
            else {"settings": msgspec.structs.replace(first.settings, **{name: value})}
            if name in RunSettings.__struct_fields__
            else {}
        ),
    )
    assert (preview_key.of_run(other) != preview_key.of_run(first)) == changed


def test_previews_show_how_a_photo_is_seen_and_not_how_masks_are_carried_or_baked() -> None:
    shows = {one.name: one.setting.previews for kind in CLIP_SETTINGS for one in declared(kind)}
    assert shows["model"] and shows["speed"] and shows["panorama"]
    carried = ("direction", "nearby_prompts", "memory", "both_sides", "second_look")
    baked = [one.name for one in declared(BakeSettings)]
    assert not any(shows[name] for name in (*carried, *baked))


def test_a_run_has_the_preview_key_of_the_clip_that_asked_for_it(
    make_clip: Callable[[int, int], bpy.types.MovieClip],
) -> None:
    from sam2_splat_addon.blender.clip import checkpoint_identity, preview_key
    from sam2_splat_addon.blender.context.requests import run_settings

    settings = make_clip(64, 48).sam2_splat
    settings.speed, settings.panorama, settings.second_look = "fast", True, "whole"
    digest = checkpoint_identity.sha256_of(settings)
    assert digest is not None
    run = RunManifest(
        "f", 64, 48, 3, "bundled", digest, run_settings(settings, 3), MACHINE, PromptSet(())
    )
    assert preview_key.of_run(run) == preview_key.of_clip(settings)
    for other in ({"checkpoint_sha256": "ab"}, {"model": "sam2.1_hiera_tiny"}):
        changed = msgspec.structs.replace(run, **other)
        assert preview_key.of_run(changed) != preview_key.of_clip(settings)


def test_a_value_that_another_file_brought_is_a_clear_error(
    make_clip: Callable[[int, int], bpy.types.MovieClip],
) -> None:
    """Blender does not check the bounds of values in a .blend file."""
    from sam2_splat_addon.blender.context.requests import run_settings

    settings = make_clip(64, 48).sam2_splat
    settings["speed"] = 9
    with pytest.raises(PromptError, match=r"Speed can't be ''.*quality, balanced, fast"):
        run_settings(settings, 3)


def test_what_blend_files_keep_stands_where_it_stood() -> None:
    """A .blend file stores the place of a choice, so new choices go to the end."""
    from sam2_splat_addon.blender.context.properties import SAM2SPLAT_PG_clip

    kept = {
        "model": "bundled sam2.1_hiera_tiny sam2.1_hiera_small sam2.1_hiera_base_plus"
        " sam2.1_hiera_large",
        "direction": "both forward backward",
        "speed": "quality balanced fast",
        "memory": "exact guarded",
        "second_look": "off whole parts details",
        "alpha": "binary soft",
        "sidecar_masks": "none postshot colmap colmap_photos",
    }
    properties = SAM2SPLAT_PG_clip.bl_rna.properties
    for name, values in kept.items():
        items = properties[name].enum_items
        places = [(item.identifier, item.value) for item in items][: len(values.split())]
        assert places == [(value, place) for place, value in enumerate(values.split())]
