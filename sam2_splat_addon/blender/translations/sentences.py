# SPDX-License-Identifier: GPL-3.0-or-later
"""Translate finished English sentences by the templates of a catalogue.

A sentence with values in it ("3 left out, damaged") is made in many places, some of them in another
process, and arrives as text. A catalogue has its template ("{count} left out, damaged"). So a sentence
is matched with the templates. The name of a placeholder says what happens to its value:

- ``{text}``, ``{text_what}``: it is one of our texts too, and is translated.
- ``{list}``, ``{list_names}``: names with "and" before the last one; only the "and" is translated.
- ``{list_text}``: the same, and the names are translated too.
- ``{number}``: it stays as it is, and has no spaces.
- ``{verb}``: it stays as it is, and a translation may leave it out.
- any other name: it stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
LISTS: Final = ("{names} and {count} more", "{names} and more", "{names} and {name}")
"""Templates that only a ``{list}`` may have: as sentences, they would match nearly anything."""

# A text may be several sentences or clauses. Each part ends before one of these.
_GAP: Final = re.compile(r"(?<=[.!?]) +|, |\n")
_STOP: Final = re.compile(r"((?<!\.)|(?<=\.\.\.))\.$")
_MOST_PARTS: Final = 24  # of one text; the rest of a longer one stays English


@dataclass(frozen=True)
class Punctuation:
    """What stands between and after sentences in a language.

    Attributes
    ----------
    stop
        After a sentence.
    gap
        Between two sentences, after the stop.
    comma
        Between two clauses, with its space.
    """

    stop: str = "."
    gap: str = " "
    comma: str = ", "


@dataclass(frozen=True)
class _Template:
    """A text of the catalogue with placeholders, without its full stop.

    Attributes
    ----------
    literal
        Its longest part without placeholders. A sentence without it can't match.
    weight
        How many letters of a sentence it explains.
    """

    pattern: re.Pattern[str]
    text: str
    literal: str
    weight: int


@dataclass(frozen=True)
class _Told:
    """A translated text.

    Attributes
    ----------
    weight
        How many letters of the English text the catalogue explains.
    parts
        Into how many parts it was cut.
    """

    told: str
    weight: int = 0
    parts: int = 0

    @property
    def gain(self) -> int:
        """What it adds to the weight of the text that it is a value of.

        It is a letter less for each part. So "0.4 s per frame, 16 s left" is two parts, and not one part
        that is "{text} left".
        """
        return max(0, self.weight - self.parts)


class Sentences:
    """A catalogue that translates finished sentences.

    Parameters
    ----------
    catalogue
        English text or template -> translation. Translations have no full stop at their end: it is added
        where the sentence has one.
    """

    def __init__(
        self, catalogue: Mapping[str, str], punctuation: Punctuation = Punctuation()
    ) -> None:
        self._punctuation = punctuation
        self._translations = {_bare(text): told for text, told in catalogue.items()}
        found = [_template(_bare(text)) for text in catalogue if PLACEHOLDER.search(text)]
        self._lists = [one for one in found if one.text in LISTS]
        self._templates = [one for one in found if one.text not in LISTS]

    def translated(self, text: str) -> str:
        """Translate a text, which may be several sentences. What is unknown stays as it is."""
        return self._best(text).told

    def _best(self, text: str) -> _Told:
        """Translate a text so that the catalogue explains as many letters as possible.

        The text is cut into parts, because a template such as "{name} can't be read: {text}" would also
        match all that follows. Of several ways that explain as much, the one with the longest parts counts.
        """
        cuts = [(0, 0), *(found.span() for found in _GAP.finditer(text))][:_MOST_PARTS]
        ends = [(len(text), len(text))]
        best = {len(text): _Told("")}
        for _, begin in reversed(cuts):
            found = _Told("", -1)
            for end, after in ends:
                weight, told = self._part(text[begin:end])
                rest = best[after]
                if weight + rest.weight >= found.weight:
                    gap = self._gap(text[end:after], told) if weight else text[end:after]
                    found = _Told(told + gap + rest.told, weight + rest.weight, rest.parts + 1)
            best[begin] = found
            ends = sorted({*ends, *((end, after) for end, after in cuts if after == begin)})
        return best[0]

    def _part(self, text: str) -> tuple[int, str]:
        """Translate a text as one sentence. The weight is 0 if the catalogue does not have it."""
        bare = _bare(text)
        for english in (bare, bare[:1].lower() + bare[1:]):
            weight, told = self._whole(english)
            if weight:
                if english != bare:
                    told = told[:1].upper() + told[1:]
                return weight, told + (self._punctuation.stop if text != bare else "")
        return 0, text

    def _whole(self, text: str) -> tuple[int, str]:
        if text in self._translations and not PLACEHOLDER.search(text):
            return len(text), self._translations[text]
        found = (0, text)
        for template in self._templates:
            match = template.pattern.fullmatch(text) if template.literal in text else None
            if match is None:
                continue
            values = {name: self._value(name, value) for name, value in match.groupdict().items()}
            weight = template.weight + sum(value.gain for value in values.values())
            if weight > found[0]:
                told = {name: value.told for name, value in values.items()}
                found = (weight, filled(self._translations[template.text], told))
        return found

    def _value(self, name: str, value: str) -> _Told:
        """Translate the value of a placeholder."""
        if name.startswith("text"):
            return self._best(value)
        for template in self._lists if name.startswith("list") else ():
            match = template.pattern.fullmatch(value)
            if match is not None:
                names = {one: _Told(text) for one, text in match.groupdict().items()}
                if name.startswith("list_text"):
                    names = {one: self._best(text.told) for one, text in names.items()}
                told = {one: text.told for one, text in names.items()}
                return _Told(
                    filled(self._translations[template.text], told),
                    sum(text.weight for text in names.values()),
                    sum(text.parts for text in names.values()),
                )
        return self._best(value) if name.startswith("list_text") else _Told(value)

    def _gap(self, gap: str, before: str) -> str:
        if gap == ", ":
            return self._punctuation.comma
        ends = gap.startswith(" ") and before.endswith(self._punctuation.stop)
        return self._punctuation.gap if ends else gap


def filled(template: str, values: Mapping[str, str]) -> str:
    """Put values into the placeholders of a template."""
    return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def _bare(text: str) -> str:
    """Return a text without its full stop. An ellipsis stays."""
    return _STOP.sub("", text)


def _template(text: str) -> _Template:
    pieces = PLACEHOLDER.split(text)
    literals, names = pieces[::2], pieces[1::2]
    pattern = re.escape(literals[0]) + "".join(
        f"(?P<{name}>{'[^ ]*' if name == 'number' else '.*?'}){re.escape(literal)}"
        for name, literal in zip(names, literals[1:], strict=True)
    )
    return _Template(re.compile(pattern), text, max(literals, key=len), sum(map(len, literals)))
