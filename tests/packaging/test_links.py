# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds that no link between the Markdown files leads nowhere, and that one which does is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.build_site import DOWNLOADS
from tools.markdown_links import anchors_of, broken_links, links_of, title_of

ROOT = Path(__file__).resolve().parents[2]


def markdown_files() -> list[Path]:
    """Every Markdown file that belongs to the repository, or would with the next commit."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run([*command, "*.md"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("sample/*.md")]
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def test_every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading() -> None:
    files = markdown_files()
    assert ROOT / "README.md" in files
    broken = [sentence for path in files for sentence in broken_links(path, ROOT)]
    # The list of downloads stands beside the pages on the site only.
    assert [sentence for sentence in broken if f"{DOWNLOADS}/index.html" not in sentence] == []


LINKS = """\
[a](b.md) ![c](d/e.jpg "title") [f](<g h.md>) [![i](j.png)](k.md#l)
[over
two lines](m.md) `[code](no.md)` [out](https://example.org/x.md) [mail](mailto:a@example.org)

    [code](no.md)

```
[code](no.md)
```

<!-- [comment](no.md) --> <img alt="x" src="n.png"> [here](#o) [p%20q](r%20s.md)

[t]: u.md
"""


def test_links_are_found_outside_of_code_and_only_within_the_repository() -> None:
    found = [(link.path, link.anchor) for link in links_of(LINKS.replace("<g h.md>", "<g.md>"))]
    assert found == [
        *(("b.md", ""), ("d/e.jpg", ""), ("g.md", ""), ("j.png", ""), ("k.md", "l"), ("m.md", "")),
        *(("n.png", ""), ("", "o"), ("r s.md", ""), ("u.md", "")),
    ]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## Two words", "two-words"),
        ("# A `code.py` & more", "a-codepy--more"),
        ("## [A link](x.md), a comma", "a-link-a-comma"),
        ("### under_score - dash", "under_score---dash"),
        ("## Größe", "größe"),
        ('<a id="own"></a>', "own"),
    ],
)
def test_anchor_of_a_heading_is_the_one_that_github_makes(heading: str, anchor: str) -> None:
    assert anchors_of(f"{heading}\n\nText.\n") == {anchor}


def test_same_heading_again_has_a_number() -> None:
    assert anchors_of("# A\n\n# A\n\n```\n# B\n```\n") == {"a", "a-1"}
    assert title_of("Text\n\n# The `title`\n\n# Another\n") == "The title"


def test_link_that_leads_nowhere_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# Here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#here)\n\n[b](gone.md)\n[c](there.md#gone)\n[d](#gone)\n[e](../x)\n"
    )
    assert broken_links(page, tmp_path) == [
        "page.md, line 3: there is no gone.md.",
        "page.md, line 4: there.md has no #gone.",
        "page.md, line 5: page.md has no #gone.",
        "page.md, line 6: there is no ../x.",
    ]
