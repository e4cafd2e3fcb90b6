# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text that a user of the window can read has a translation in each language."""

from __future__ import annotations

import re

import pytest

from sam2_splat_addon.blender.translations.catalogue import FOLDER, LANGUAGES, read
from sam2_splat_addon.blender.translations.sentences import PLACEHOLDER
from tests.blender.translations.texts_in_source import (
    MADE,
    NOT_SHOWN,
    NOT_SHOWN_FILES,
    PACKAGE,
    skeleton,
    texts_in,
    texts_in_source,
    untranslated_in,
)

LETTERS = {"ja_JP": r"[\u3040-\u30ff\u4e00-\u9fff]", "zh_HANS": r"[\u4e00-\u9fff]"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_has_a_translation(language: str) -> None:
    """Add a missing text to each catalogue: CONTRIBUTING.md says how."""
    known = {skeleton(text) for text in read(language)}
    places = texts_in_source()
    missing = {text: place for text, place in places.items() if text not in {*known, *NOT_SHOWN}}
    assert not missing


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_of_a_text_that_is_gone(language: str) -> None:
    texts = {*texts_in_source(), *MADE} - NOT_SHOWN.keys()
    assert not [text for text in read(language) if skeleton(text) not in texts]


def test_nothing_is_left_out_that_is_gone() -> None:
    assert not NOT_SHOWN.keys() - texts_in_source().keys()
    assert all((PACKAGE / name).is_file() for name in NOT_SHOWN_FILES)


def test_each_language_has_one_catalogue() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_agree(language: str) -> None:
    for english, told in read(language).items():
        wanted = PLACEHOLDER.findall(english)
        needed = {name for name in wanted if not name.startswith("verb")}
        assert len(wanted) == len(set(wanted)), english
        assert needed <= set(PLACEHOLDER.findall(told)) <= set(wanted), told
        assert "{}" not in told


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_written_as_their_texts(language: str) -> None:
    """No full stop is added, and no space at the ends is lost: the code adds the one and needs the other."""
    for english, told in read(language).items():
        assert told.strip()
        assert not re.search(r"[^.][.\u3002]$", told), told
        assert english.endswith(" ") == told.endswith(" "), told
        if language in LETTERS and re.search(r"[a-z]{3} [a-z]{3}", english):
            assert re.search(LETTERS[language], told), told


def test_every_text_with_values_goes_through_the_translation() -> None:
    """Blender can't find such a text: give it to `translated`, `translated_tip` or `translated_report`."""
    found = [
        f"{path.relative_to(PACKAGE).as_posix()}:{line}: {text}"
        for path in sorted((PACKAGE / "blender").rglob("*.py"))
        if path.relative_to(PACKAGE).as_posix() not in NOT_SHOWN_FILES
        for line, text in untranslated_in(path.read_text(encoding="utf-8"))
    ]
    assert not found


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('class A(Panel):\n    bl_label = "Masks"', "Masks"),
        ('class A(Operator):\n    """Do it"""\n    bl_label = "x"', "Do it"),
        ('layout.label(text="matte")', "matte"),
        ('layout.label(text="on" if x else "off now")', "off now"),
        ('layout.label(text=f"{n} photos, {w} px")', "{} photos, {} px"),
        ('FloatProperty(name="grow", description="wide")', "wide"),
        ('X = (("a", "Automatic", ""), ("b", "Hand", "By hand"))', "Automatic"),
        ('self.report({"INFO"}, f"{n} deleted")', "{} deleted"),
        ('raise StoreError(f"{path} is gone.", "Check it.")', "{} is gone."),
        ('FIX = "Check the disk."', "Check the disk."),
        ('def f():\n    return "Reviewing" if x else f"Reviewing {n}"', "Reviewing"),
        ('Setting("grow", "wide", "--grow", "how wide")', "wide"),
        ('counted(n, "mask")', "{} masks"),
        ('_WORDS: dict[str, str] = {"a": "fine"}', "fine"),
    ],
)
def test_planted_text_is_found(source: str, text: str) -> None:
    assert text in [found for _, found in texts_in(source)]


@pytest.mark.parametrize(
    "source",
    [
        '"""A module."""',
        'def f():\n    """Do something."""',
        'Setting("a", "b", "--grow", "how wide")',
        'raise TypeError("two shapes differ")',
        'log.info(f"{n} frames done")',
        'layout.operator("sam2_splat.load", icon="FILE_FOLDER")',
        'f"{name}_{number}.png"',
    ],
)
def test_text_that_nobody_sees_is_not_asked_for(source: str) -> None:
    found = [text for _, text in texts_in(source)]
    assert found in ([], ["a", "b"])


@pytest.mark.parametrize(
    "source",
    [
        'layout.label(text=f"{n} photos")',
        'layout.label(text=f"{n} photos" if n else "none")',
        'self.report({"INFO"}, f"{n} deleted")',
        'cls.poll_message_set(f"{n} runs")',
        'def draw():\n    what = f"{n} photos"\n    layout.label(text=what)',
        'def head():\n    return f"{n} photos"\ndef draw():\n    layout.label(text=head())',
        'class A:\n    def description(cls):\n        return "Go there"',
        'area.header_text_set("Before")',
        'area.header_text_set(f"Size {n}")',
        "def begin(text):\n    area.header_text_set(text)",
    ],
)
def test_planted_text_without_translation_is_found(source: str) -> None:
    assert untranslated_in(source)


@pytest.mark.parametrize(
    "source",
    [
        'layout.label(text="Masks")',
        'layout.label(text=translated(f"{n} photos"))',
        'def draw():\n    what = translated(f"{n} photos")\n    layout.label(text=what)',
        'layout.label(text=f"{width} x {height} px")',
        "area.header_text_set(None)",
        'def f():\n    said = f"{translated(a)} {translated(b)}"\n    area.header_text_set(said)',
        'class A:\n    def description(cls):\n        return translated_tip("Go there")',
    ],
)
def test_translated_text_passes(source: str) -> None:
    assert not untranslated_in(source)
