# SPDX-License-Identifier: GPL-3.0-or-later
"""Give Blender our translations, and translate sentences that have values in them.

Blender itself looks up every label, name and tooltip that it draws. It can't find a text with values
in it. So such a text goes through `translated`, `translated_tip` or `translated_report`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import bpy

from .. import ADDON_PACKAGE
from .sentences import PLACEHOLDER, Punctuation, Sentences

FOLDER: Final = Path(__file__).parent
LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "de_DE": ("de_DE", "de"),
    "fr_FR": ("fr_FR", "fr"),
    "ja_JP": ("ja_JP", "ja"),
    "zh_HANS": ("zh_HANS", "zh_CN"),
}
"""Name of a catalogue -> the codes that versions of Blender have for its language."""

_PUNCTUATION: Final = {
    "ja_JP": Punctuation("\u3002", "", "\u3001"),
    "zh_HANS": Punctuation("\u3002", "", "\uff0c"),
}
CONTEXT: Final = "SAM2 Splat"
"""Where Blender looks up the texts of our classes and properties.

Blender's own translations mean something else by some words: its German *Back* is the back of a thing.
"""
# Labels and tooltips are always looked up in the default context, and the text of a button that calls one of
# Blender's own operators in that of operators.
_CONTEXTS: Final = (CONTEXT, "*", "Operator")


def read(language: str) -> dict[str, str]:
    """Read the catalogue of a language: English text -> translation."""
    catalogue: dict[str, str] = json.loads(
        (FOLDER / f"{language}.json").read_text(encoding="utf-8")
    )
    return catalogue


def register() -> None:
    """Give Blender the texts without placeholders. Some places show them with a full stop."""
    messages: dict[str, Any] = {}  # the stub wants plain texts where Blender wants (context, text)
    for language, codes in LANGUAGES.items():
        stop = _punctuation(language).stop
        texts: dict[tuple[str, str], str] = {}
        for english, told in read(language).items():
            if not PLACEHOLDER.search(english):
                for context in _CONTEXTS:
                    texts[context, english] = told
                    texts[context, f"{english}."] = f"{told}{stop}"
        messages |= dict.fromkeys(codes, texts)
    bpy.app.translations.register(ADDON_PACKAGE, messages)


def unregister() -> None:
    """Take them back."""
    bpy.app.translations.unregister(ADDON_PACKAGE)


def translated(text: str) -> str:
    """Translate a label with values in it, if the user wants the interface translated."""
    return _told(text) if _view().use_translate_interface else text


def translated_tip(text: str) -> str:
    """Translate a tooltip with values in it, if the user wants tooltips translated."""
    return _told(text) if _view().use_translate_tooltips else text


def translated_report(text: str) -> str:
    """Translate a report with values in it, if the user wants reports translated."""
    view = _view()
    # Blender 4.2 has one switch for both.
    return _told(text) if getattr(view, "use_translate_reports", True) else text


def _told(text: str) -> str:
    language = language_of(bpy.app.translations.locale)
    return _translated(language, text) if language else text


def language_of(locale: str) -> str:
    """Return the name of the catalogue for one of Blender's codes; empty for English and others."""
    return next((name for name, codes in LANGUAGES.items() if locale in codes), "")


# A panel is drawn often, and always with the same few sentences.
@functools.lru_cache(maxsize=256)
def _translated(language: str, text: str) -> str:
    return _sentences(language).translated(text)


@functools.cache
def _sentences(language: str) -> Sentences:
    return Sentences(read(language), _punctuation(language))


def _punctuation(language: str) -> Punctuation:
    return _PUNCTUATION.get(language, Punctuation())


def _view() -> bpy.types.PreferencesView:
    preferences = bpy.context.preferences
    assert preferences is not None  # Blender always has them
    return preferences.view
