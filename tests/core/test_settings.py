# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared settings are complete and strict; each mode of speed has its input size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sam2_splat_addon.core.bake_plan import BakeOptions
from sam2_splat_addon.core.checkpoint_catalogue import CHECKPOINTS
from sam2_splat_addon.core.errors import BakeError, PromptError
from sam2_splat_addon.core.settings import (
    BALANCED,
    BUNDLED,
    CLIP_SETTINGS,
    FAST,
    QUALITY,
    QUESTIONS,
    SPEEDS,
    BakeSettings,
    Declared,
    ModelSettings,
    RunSettings,
    declared,
    speed_named,
)


def test_quality_leaves_nothing_out() -> None:
    assert [QUALITY.input_size(own) for own in (1024, 512)] == [1024, 512]
    assert not QUALITY.pooled


def test_each_mode_sees_less_than_the_one_before_in_multiples_of_32_px() -> None:
    for own in (1024, 512):
        sizes = [speed.input_size(own) for speed in SPEEDS]
        assert sizes == sorted(set(sizes), reverse=True)
        assert all(size % 32 == 0 for size in sizes)
    assert (BALANCED.input_size(1024), FAST.input_size(1024)) == (768, 512)


def test_modes_are_found_by_name_and_an_unknown_one_names_those_there_are() -> None:
    assert [speed_named(speed.name) for speed in SPEEDS] == list(SPEEDS)
    with pytest.raises(PromptError, match="quality, balanced, fast"):
        speed_named("warp")


EVERY = [one for kind in CLIP_SETTINGS for one in declared(kind)]


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_every_setting_says_what_it_is(one: Declared) -> None:
    setting = one.setting
    assert setting.label and setting.text and setting.help
    assert setting.option.startswith("--")
    assert tuple(setting.choices) == one.values
    assert all(label and text for label, text in setting.choices.values())
    one.check(one.default, PromptError)
    if one.kind in (int, float):
        assert one.low > -math.inf and one.high < math.inf and setting.unit
    assert setting.without_word is None or setting.without_word in one.values


def test_options_names_and_labels_are_each_one_settings_own() -> None:
    for names in (
        [one.name for one in EVERY],
        [one.setting.option for one in EVERY],
        [one.setting.label for one in EVERY],
    ):
        assert len(set(names)) == len(EVERY)


def test_every_field_that_a_run_and_a_bake_have_is_declared_but_the_range() -> None:
    fields = [name for kind in CLIP_SETTINGS for name in kind.__struct_fields__]
    assert [name for name in fields if name not in {one.name for one in EVERY}] == [
        "first_frame",
        "last_frame",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": "fats"},
        {"direction": "Both"},
        {"memory": ""},
        {"second_look": "hole"},
        {"nearby_prompts": -1},
        {"nearby_prompts": 2**31},
        {"panorama": "yes"},
        {"first_frame": "1"},
        {"sped": "fast"},
        {"bitwise": True},
        {"image_size": 256},
    ],
    ids=str,
)
def test_a_misspelt_or_impossible_value_is_refused_by_its_type(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(wrong), type=RunSettings)
    if not wrong.keys() & {"panorama", "first_frame"}:  # in code, only mypy checks plain types
        with pytest.raises((TypeError, PromptError)):
            RunSettings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"alpha": "sotf"}, {"sidecar_masks": "colmap_photo"}, {"grow_px": 201.0}], ids=str
)
def test_a_misspelt_or_impossible_option_of_a_bake_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BakeError):
        BakeOptions(**wrong)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(wrong), type=BakeOptions)


def test_models_are_named_alike_in_settings_and_in_the_catalogue() -> None:
    (model,) = declared(ModelSettings)
    assert set(model.values) == {BUNDLED, *CHECKPOINTS}


def test_what_decides_the_way_alone_is_reset_and_nothing_else() -> None:
    settings = RunSettings(3, 9, "forward", 2, "fast", "guarded", True, "parts", True)
    assert settings.without_way() == RunSettings(
        speed="fast", memory="guarded", second_look="parts", panorama=True
    )


def test_the_guide_answers_the_questions_of_the_panel() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in guide.splitlines() if line.startswith("| ")]
    asked = ""
    answers: dict[str, str] = {}
    for row in rows:
        asked = row[0].strip() or asked
        asked = "" if asked in ("question", "---") else asked
        answers[asked] = answers.get(asked, "") + "|".join(row[1:])
    for kind in (RunSettings, BakeSettings):
        for one in declared(kind):
            if one.setting.group == "front" or one.name == "precision":  # in the text below
                assert one.setting.label in guide
            else:
                question = QUESTIONS[one.setting.group]
                label = one.setting.label.partition(" (")[0]
                assert label in answers.get(question, ""), f"{label} does not answer {question!r}"


def test_a_wrong_value_is_told_with_what_is_right() -> None:
    with pytest.raises(PromptError) as caught:
        RunSettings(speed="warp")  # type: ignore[arg-type]
    assert caught.value.message == "Speed can't be 'warp'."
    assert caught.value.fix == "Choose one of quality, balanced, fast."


def test_the_bounds_of_a_number_are_allowed_and_nothing_beyond() -> None:
    for one in declared(BakeSettings):
        if one.kind not in (int, float) or not math.isfinite(one.high):
            continue
        unit = f" {one.setting.unit}" if one.setting.unit else ""
        for good, bad in ((one.low, one.low - 1), (one.high, one.high + 1)):
            one.check(one.kind(good), BakeError)
            with pytest.raises(BakeError) as caught:
                one.check(one.kind(bad), BakeError)
            assert caught.value.message == f"{one.setting.label} can't be {bad:g}{unit}."
            assert caught.value.fix == f"Choose a number from {one.low:g} to {one.high:g}."
