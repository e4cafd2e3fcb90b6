# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished English sentence is translated by the templates of a catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam2_splat_addon.blender.translations import catalogue
from sam2_splat_addon.blender.translations.catalogue import LANGUAGES, read
from sam2_splat_addon.blender.translations.sentences import (
    LISTS,
    PLACEHOLDER,
    Punctuation,
    Sentences,
    filled,
)
from sam2_splat_addon.core.errors import SplatError, WorkerError
from sam2_splat_addon.core.footage.damaged_photos import DamagedFrame, left_out
from sam2_splat_addon.core.footage.scan import scan, shorten
from sam2_splat_addon.core.footage.sizes import PhotoSizes
from sam2_splat_addon.core.printable import counted
from sam2_splat_addon.core.prompts import PromptSet
from sam2_splat_addon.core.settings import BakeSettings

GERMAN = Sentences(
    {
        "{file} can't be read: {text_problem}": "{file} ist nicht lesbar: {text_problem}",
        "the file is empty": "die Datei ist leer",
        "Copy this photo again, or remove it": "Dieses Foto neu kopieren",
        "{count} photos": "{count} Fotos",
        "1 photo": "1 Foto",
        "Next: look at {text_photos}": "Weiter: {text_photos} ansehen",
        "Subject {list} has no mask": "{list} hat keine Maske",
        "{names} and {count} more": "{names} und {count} weitere",
        "{names} and {name}": "{names} und {name}",
        "Propagating": "Propagieren",
        "{seconds} s per frame": "{seconds} s je Bild",
        "{text_time} left": "noch {text_time}",
        "{seconds} s": "{seconds} s",
        "hardly seen": "kaum gesehen",
        "Mask": "Maske",
    }
)


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("Propagating", "Propagieren"),
        ("3 photos", "3 Fotos"),
        ("a.jpg can't be read: the file is empty.", "a.jpg ist nicht lesbar: die Datei ist leer."),
        # What an error says and what to do are two texts.
        (
            "a.jpg can't be read: the file is empty. Copy this photo again, or remove it.",
            "a.jpg ist nicht lesbar: die Datei ist leer. Dieses Foto neu kopieren.",
        ),
        ("a.jpg can't be read: Errno 5.", "a.jpg ist nicht lesbar: Errno 5."),
        ("Next: look at 2 photos", "Weiter: 2 Fotos ansehen"),
        ("Next: look at 1 photo", "Weiter: 1 Foto ansehen"),
        ("Propagating, 0.42 s per frame", "Propagieren, 0.42 s je Bild"),
        ("0.42 s per frame, 16 s left", "0.42 s je Bild, noch 16 s"),
        ("Hardly seen, other", "Kaum gesehen, other"),
        ("Subject a, b and c has no mask.", "a, b und c hat keine Maske."),
        # A name is never translated, though it may be one of our words.
        ("Subject Mask has no mask.", "Mask hat keine Maske."),
        ("Subject a, Mask and 3 more has no mask.", "a, Mask und 3 weitere hat keine Maske."),
        ("Something else. Nobody knows it.", "Something else. Nobody knows it."),
        ("", ""),
    ],
)
def test_sentence(english: str, german: str) -> None:
    assert GERMAN.translated(english) == german


def test_punctuation_is_of_the_language() -> None:
    japanese = Sentences(
        {"Stop it": "A", "{n} is gone": "B{n}"}, Punctuation("\u3002", "", "\u3001")
    )
    assert japanese.translated("3 is gone. Stop it.") == "B3\u3002A\u3002"
    assert japanese.translated("3 is gone, Stop it") == "B3\u3001A"


def values(template: str) -> dict[str, str]:
    """Return a value for each placeholder that no template of ours takes for a text."""
    return {name: f"<{number}>" for number, name in enumerate(PLACEHOLDER.findall(template))}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_finds_its_own_sentences(language: str) -> None:
    texts = read(language)
    sentences = catalogue._sentences(language)
    wrong = {}
    for english, told in texts.items():
        said = sentences.translated(filled(english, values(english)))
        if english not in LISTS and said != filled(told, values(english)):
            wrong[english] = said
    assert not wrong


def error_of_empty_folder(folder: Path) -> SplatError:
    with pytest.raises(SplatError) as raised:
        scan(folder)
    return raised.value


@pytest.mark.parametrize("language", LANGUAGES)
def test_real_errors_are_translated_whole(language: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    errors = [error_of_empty_folder(tmp_path), error_of_empty_folder(tmp_path / "none")]
    for make in (
        lambda: BakeSettings(grow_px=999.0),
        lambda: PromptSet((), 10, 10).checked(PhotoSizes(10, 10), 1),
    ):
        with pytest.raises(SplatError) as raised:
            make()
        errors.append(raised.value)
    for error in errors:
        told = catalogue._translated(language, str(error))
        rest = told.replace(str(tmp_path), "").lower()
        assert not {"the", "of", "be", "read", "choose", "click", "from"} & set(rest.split()), told


def test_lines_of_a_program_stay_as_they_are() -> None:
    error = WorkerError(
        "The SAM 2 process ended with exit code 3.", "Check the disk, then bake again."
    )
    error.quoting(["Masks", "the disk is full"])
    told = catalogue._translated("de_DE", str(error))
    first, second, *rest = told.split("\n")
    assert first == "Der SAM-2-Prozess endete mit Code 3."
    assert second == "Ihre letzten Zeilen:"
    assert rest[0] == "    Masks"
    assert rest[1].startswith("    the disk is full")


def test_lists_and_counts_are_those_of_the_code() -> None:
    german = catalogue._sentences("de_DE")
    photos = [DamagedFrame(frame, f"{frame}.jpg", "") for frame in range(1, 12)]
    told = german.translated(f"Saved. {left_out(photos[:3])}")
    assert told.endswith("1.jpg (Bild 1), 2.jpg (Bild 2) und 3.jpg (Bild 3).")
    told = german.translated(left_out(photos))
    assert told.startswith("Ausgelassen, weil besch\u00e4digt: 1.jpg (Bild 1), 2.jpg (Bild 2), ")
    assert told.endswith(" weitere.")
    named = shorten([str(frame) for frame in (3, 4, 5)])
    told = german.translated(f"Some subjects have no mask here: frames {named}.")
    assert told.endswith(": Bilder 3, 4 und 5.")
    assert german.translated(f"{counted(1, 'mask')} to look at") == "1 Maske anzusehen"
    assert german.translated(f"{counted(4, 'mask')} to look at") == "4 Masken anzusehen"


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de_DE", "de_DE"),
        ("de", "de_DE"),
        ("fr_FR", "fr_FR"),
        ("ja_JP", "ja_JP"),
        ("zh_HANS", "zh_HANS"),
        ("zh_CN", "zh_HANS"),
        ("zh_HANT", ""),
        ("en_US", ""),
        ("", ""),
    ],
)
def test_codes_of_languages(locale: str, language: str) -> None:
    assert catalogue.language_of(locale) == language
