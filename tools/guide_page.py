# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one page of HTML from docs/guide.md, which the extension brings along for its *Guide* button.

It knows the Markdown that the guide uses, and nothing else: headings, paragraphs, lists, tables, pictures,
indented code, bold, italic and code in a line. Links to other pages become plain text, because those pages
are not in the extension.
"""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "guide.md"
NAME = "guide.html"

_ITEM = re.compile(r"(?:- |\d+\. )")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_STYLE = (
    "body{max-width:60rem;margin:2rem auto;padding:0 1rem;font:1rem/1.6 sans-serif;color:#222}"
    "img{max-width:100%}table{border-collapse:collapse}"
    "th,td{border:1px solid #bbb;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "pre,code{background:#eee}pre{padding:.6rem}"
)


def write_guide(folder: Path) -> None:
    """Write the page and its pictures into a new folder."""
    text = GUIDE.read_text(encoding="utf-8")
    folder.mkdir()
    for _, name in _IMAGE.findall(text):
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(GUIDE.parent / name, target)
    (folder / NAME).write_text(page(text), encoding="utf-8")


def page(text: str) -> str:
    """Return the page of a Markdown text. Its first heading is the title."""
    blocks = [block for block in re.split(r"\n{2,}", text.strip("\n")) if block]
    title = _inline(blocks[0].lstrip("# "))
    body = "\n".join(_block(block) for block in blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _block(block: str) -> str:
    lines = block.split("\n")
    if block.startswith("#"):
        marks, _, words = block.partition(" ")
        return f"<h{len(marks)}>{_inline(words)}</h{len(marks)}>"
    if block.startswith("    "):
        return f"<pre>{html.escape(chr(10).join(line[4:] for line in lines))}</pre>"
    if block.startswith("|"):
        return _table(lines)
    if _ITEM.match(block):
        return _list(lines)
    return f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: list[str]) -> str:
    rows = [re.split(r" ?(?<!\\)\| ?", line.strip())[1:-1] for line in lines]
    kinds = ["th", *["td"] * len(rows)]
    told = [
        "<tr>" + "".join(f"<{kind}>{_inline(cell)}</{kind}>" for cell in row) + "</tr>"
        for kind, row in zip(kinds, [rows[0], *rows[2:]], strict=False)
    ]
    return "<table>\n" + "\n".join(told) + "\n</table>"


def _list(lines: list[str]) -> str:
    items: list[str] = []
    for line in lines:
        if _ITEM.match(line):
            items.append(_ITEM.sub("", line, count=1))
        else:
            items[-1] += f" {line.strip()}"
    kind = "ul" if lines[0].startswith("- ") else "ol"
    told = "\n".join(f"<li>{_inline(item)}</li>" for item in items)
    return f"<{kind}>\n{told}\n</{kind}>"


def _inline(text: str) -> str:
    """Return a line's text with its pictures, links, and bold, italic and code parts."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        f"<code>{html.escape(part)}</code>" if number % 2 else _words(part)
        for number, part in enumerate(parts)
    )


def _words(text: str) -> str:
    told = html.escape(text)
    told = _IMAGE.sub(r'<img src="\2" alt="\1">', told)
    told = _LINK.sub(r"\1", told)
    told = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", told)
    return re.sub(r"\*(.+?)\*", r"<i>\1</i>", told)
