# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the links and the anchors of Markdown files, in the way that GitHub reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}\2`*~*[ \t]*$|\Z)", re.M | re.S)
_INDENTED = re.compile(r"(?:\A|(?<=\n\n))(?:(?: {4}|\t)[^\n]*\n|\n(?= {4}|\t))+")
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
_LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\[\]]*\](?:\([^()]*\))?)*\]\(\s*<?([^()\s<>]+)>?(?:\s+\"[^\"]*\")?\s*\)"
)
_IMAGE_INSIDE = re.compile(r"!\[[^\[\]]*\]\(\s*<?([^()\s<>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^\s<>]+)>?", re.M)
_HTML = re.compile(r"<(?:a|img|source|video)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"", re.S)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", re.M)
_ANCHOR = re.compile(r"<[a-z0-9]+\b[^>]*?\b(?:id|name)=\"([^\"]+)\"")
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.I)


@dataclass(frozen=True)
class Link:
    """A link to something in the same repository.

    Attributes
    ----------
    start, end
        Begin and end of its target in the text.
    path
        Relative to the file, without the anchor; empty for a link within the file.
    anchor
        The text after the `#`; empty if there is none.
    """

    start: int
    end: int
    path: str
    anchor: str


def links_of(text: str) -> Iterator[Link]:
    """Yield the relative links of a Markdown text in order, with its images."""
    plain = _without_code(text, inline=True)
    found = {
        match.span(1): match[1]
        for pattern in (_LINK, _IMAGE_INSIDE, _REFERENCE, _HTML)
        for match in pattern.finditer(plain)
    }
    for (start, end), target in sorted(found.items()):
        if _ELSEWHERE.match(target):
            continue
        path, _, anchor = target.partition("#")
        yield Link(start, end, unquote(path.partition("?")[0]), unquote(anchor))


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a Markdown text: those that GitHub makes of headings, and its own."""
    plain = _without_code(text, inline=False)
    anchors: set[str] = set(_ANCHOR.findall(plain))
    for match in _HEADING.finditer(plain):
        title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
        title = re.sub(r"[*`]|<[^>]+>", "", title)
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        again = 0
        while (name := f"{slug}-{again}" if again else slug) in anchors:
            again += 1
        anchors.add(name)
    return anchors


def title_of(text: str) -> str:
    """Return the first heading of a Markdown text, without marks; empty if it has none."""
    found = _HEADING.search(_without_code(text, inline=False))
    return re.sub(r"[*`]", "", found[1]) if found else ""


def broken_links(path: Path, root: Path) -> list[str]:
    """Return a sentence for each broken relative link of a Markdown file.

    Parameters
    ----------
    path
        The file.
    root
        The repository; no link may lead out of it.
    """
    text = path.read_text(encoding="utf-8")
    found = []
    for link in links_of(text):
        target = (path.parent / link.path).resolve() if link.path else path.resolve()
        where = f"{path.relative_to(root)}, line {text.count(chr(10), 0, link.start) + 1}"
        if not target.is_relative_to(root) or not target.exists():
            found.append(f"{where}: there is no {link.path}.")
        elif (
            link.anchor
            and target.suffix == ".md"
            and link.anchor not in anchors_of(target.read_text(encoding="utf-8"))
        ):
            found.append(f"{where}: {target.name} has no #{link.anchor}.")
    return found


def _without_code(text: str, *, inline: bool) -> str:
    """Replace code and comments by other characters, so that all else keeps its place.

    Not by spaces, because spaces at the start of a line begin a block of code.
    """

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", "\0", match[0])

    for pattern in (_FENCE, _COMMENT, _INDENTED, *([_CODE] if inline else [])):
        text = pattern.sub(blank, text)
    return text
