# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds that every page of docs/ reaches the site and its menu, with no link that leads nowhere."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import build_site
from tools.build_site import DOCS, ROOT, broken_links, build, is_ready, navigation, stage


def menu_pages(menu: object) -> Iterator[str]:
    if isinstance(menu, str):
        yield menu
    elif isinstance(menu, dict):
        for inner in menu.values():
            yield from menu_pages(inner)
    elif isinstance(menu, list):
        for inner in menu:
            yield from menu_pages(inner)


def test_every_page_of_the_docs_stands_in_the_menu_once_artists_first(tmp_path: Path) -> None:
    stage(tmp_path)
    config = tomllib.loads((tmp_path / "zensical.toml").read_text(encoding="utf-8"))
    listed = list(menu_pages(config["project"]["nav"]))
    assert len(listed) == len(set(listed))
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} <= set(listed)
    assert listed[:4] == ["index.md", "install.md", "guide.md", "when-it-goes-wrong.md"]
    assert listed.index("architecture.md") > listed.index("promises.md")
    for name in listed:
        assert (tmp_path / "docs" / name).is_file(), name


def test_page_that_nobody_sorted_stands_before_the_engineers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_site, "DOCS", tmp_path)
    for name in ("index.md", "new.md", "architecture.md"):
        (tmp_path / name).write_text(f"# The {name}\n")
    pages = sorted(tmp_path.glob("*.md"))
    home, new, engineers = navigation(pages)
    assert (home, new) == ({"Home": "index.md"}, {"The new.md": "new.md"})
    assert json.dumps(engineers).count("architecture.md") == 2


def test_what_a_page_links_to_outside_of_the_docs_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "docs/index.md": "# A\n\n[b](../tools/b.md#c) [d](../LICENSE) ![e](images/e.png)\n",
        "docs/images/e.png": "picture",
        "tools/b.md": "# C\n\n[back](../docs/index.md)\n",
        "LICENSE": "free",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(build_site, "ROOT", tmp_path)
    monkeypatch.setattr(build_site, "DOCS", tmp_path / "docs")
    staged = tmp_path / "staged"
    stage(staged)
    home = (staged / "docs" / "index.md").read_text()
    assert "[b](repository/tools/b.md#c) [d](repository/LICENSE) ![e](images/e.png)" in home
    assert "[back](../../index.md)" in (staged / "docs/repository/tools/b.md").read_text()
    assert (staged / "docs/repository/LICENSE").read_text() == "free"
    assert (staged / "docs/images/e.png").read_text() == "picture"

    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)\n")
    with pytest.raises(SystemExit, match=r"docs/index\.md: there is no file gone\.md\."):
        stage(tmp_path / "again")


def test_broken_link_of_a_built_page_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="a/#here">1</a><a href="a/#no">2</a><img src="x.png">'
    )
    (tmp_path / "a" / "index.html").write_text(
        '<p id="here"><a href="..">3</a><a href="../b/">4</a>'
    )
    assert list(broken_links(tmp_path)) == [
        "a/index.html: there is no ../b/.",
        "index.html: there is no anchor a/#no.",
        "index.html: there is no x.png.",
    ]


@pytest.mark.slow
def test_site_is_built_and_none_of_its_links_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_ready():
        pytest.skip("Zensical is not here: python tools/build_site.py fetches it.")
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "index.html").write_text("<h1>Install</h1>")
    monkeypatch.setattr(build_site, "STAGE", tmp_path / "stage")
    site = tmp_path / "site"
    assert build(site, downloads) == []
    home = (site / "index.html").read_text(encoding="utf-8")
    assert "Keep the chair, lose the room" in home
    assert (site / "guide" / "index.html").is_file()
    assert (site / "extensions" / "index.html").is_file()
    assert (ROOT / "docs" / "images" / "sample.jpg").stat().st_size == (
        site / "images" / "sample.jpg"
    ).stat().st_size
