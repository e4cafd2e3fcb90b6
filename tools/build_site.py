# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the site from docs/ into build/site, with Zensical. Uses only the standard library.

    python tools/build_site.py                                              # the pages
    python tools/build_site.py --repository dist/release/repository         # with downloads to drag

The first time it makes an environment of its own in build/. Pages for artists come first, pages for
engineers last, and all others between them. Files elsewhere in the repository are copied if a page links
to them. A broken link fails the build.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.markdown_links import links_of, title_of

DOCS = ROOT / "docs"
SITE = ROOT / "build" / "site"
LOCK = ROOT / "requirements" / "docs.txt"
ENVIRONMENT = ROOT / "build" / "docs-environment"
STAGE = ROOT / "build" / "site-source"
# The folder of the repository on the site. docs/install.md links to it, and tools/release.py makes it.
DOWNLOADS = "extensions"

ARTISTS = (
    *("index.md", "install.md", "guide.md", "when-it-goes-wrong.md", "formats.md", "trainers.md"),
    *(
        "review.md",
        "geometry.md",
        "prompts.md",
        "command-line.md",
        "job.md",
        "farm.md",
        "performance.md",
        "bundled-model.md",
        "promises.md",
    ),
)
# First those in docs/, then those of the repository.
ENGINEERS = ("architecture.md", "decisions.md", "dependencies.md")
PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md")

_CONFIG = """\
[project]
site_name = "SAM2 Splat"
site_description = "Masks for Gaussian splat captures, carried along by SAM 2, in Blender"
docs_dir = "docs"
site_dir = "site"
nav = {nav}

[project.theme]
features = [
  "navigation.footer", "navigation.sections", "navigation.top", "navigation.tracking",
  "search.highlight", "content.code.copy", "toc.follow",
]
font = false

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Switch to dark"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Switch to light"

[project.markdown_extensions]
attr_list = {{}}
tables = {{}}
md_in_html = {{}}
pymdownx.superfences = {{}}

[project.markdown_extensions.toc]
permalink = true
slugify = {{ object = "pymdownx.slugs.slugify", kwds = {{ case = "lower" }} }}
"""


def stage(folder: Path) -> list[Path]:
    """Copy the input of Zensical into an empty folder.

    Returns
    -------
    list[Path]
        The source of each page.
    """
    pages: list[Path] = []
    others: set[Path] = set()
    waiting = [
        *sorted(DOCS.rglob("*.md")),
        *(ROOT / name for name in PROJECT if (ROOT / name).exists()),
    ]
    while waiting:
        page = waiting.pop(0)
        if page in pages:
            continue
        pages.append(page)
        text = page.read_text(encoding="utf-8")
        for link in reversed(list(links_of(text))):
            if not link.path:
                continue
            target = (page.parent / link.path).resolve()
            if target == DOCS / DOWNLOADS / "index.html":
                continue
            if not target.is_relative_to(ROOT) or not target.is_file():
                raise SystemExit(f"{page.relative_to(ROOT)}: there is no file {link.path}.")
            if target.suffix == ".md":
                waiting.append(target)
            else:
                others.add(target)
            new = os.path.relpath(_place(target), _place(page).parent).replace(os.sep, "/")
            anchor = f"#{link.anchor}" if link.anchor else ""
            text = text[: link.start] + new + anchor + text[link.end :]
        target = folder / "docs" / _place(page)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for other in others:
        target = folder / "docs" / _place(other)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(other, target)
    config = _CONFIG.format(nav=_toml(navigation(pages)))
    (folder / "zensical.toml").write_text(config, encoding="utf-8")
    return pages


def navigation(pages: list[Path]) -> list[dict[str, object]]:
    """Return the menu of the site: pages for artists, pages without a group, pages for engineers."""

    def entry(page: Path) -> dict[str, object]:
        title = "Home" if page == DOCS / "index.md" else title_of(page.read_text(encoding="utf-8"))
        return {title or page.stem: _place(page).as_posix()}

    artists = [DOCS / name for name in ARTISTS]
    engineers = [*(DOCS / name for name in ENGINEERS), *(ROOT / name for name in PROJECT)]
    sorted_out = {*artists, *engineers}
    # Notes beside the code are not in the menu: pages link to them.
    more = [page for page in pages if page not in sorted_out and page.is_relative_to(DOCS)]
    menu = [entry(page) for page in [*artists, *more] if page in pages]
    return [*menu, {"For engineers": [entry(page) for page in engineers if page in pages]}]


def _place(path: Path) -> Path:
    """Return the place on the site of a file in the repository."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS)
    return Path("repository", path.relative_to(ROOT))


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(k)} = {_toml(v)}' for k, v in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)


class _Page(HTMLParser):
    """The links of a page of the site, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        for name, value in attrs:
            if value and name == "id":
                self.anchors.add(value)
            elif value and (name == "src" or (name == "href" and tag != "base")):
                self.links.append(value)


def broken_links(site: Path) -> Iterator[str]:
    """Yield a sentence for each broken link between pages and files of the site."""
    pages: dict[Path, _Page] = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    for path, page in pages.items():
        if path == site / "404.html":
            continue  # it may be shown at any address, so its links begin at the root of the site
        base = path.relative_to(site).as_posix()
        for link in dict.fromkeys(page.links):
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            address, anchor = urldefrag(urljoin(f"http://site/{base}", link))
            target = site / unquote(urlsplit(address).path.lstrip("/"))
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{base}: there is no {link}."
            elif (
                anchor
                and target in pages
                and unquote(anchor) not in pages[target].anchors | {"__skip"}
            ):
                yield f"{base}: there is no anchor {link}."


def environment_python() -> Path:
    """Return the Python of Zensical's environment, whether or not it exists."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_ready() -> bool:
    """Return whether that environment has the packages of its lock."""
    mark = ENVIRONMENT / "lock"
    return mark.exists() and mark.read_bytes() == LOCK.read_bytes()


def make_environment() -> None:
    """Make that environment, or update it."""
    if is_ready():
        return
    print("Fetching Zensical (once) ...", flush=True)
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [str(environment_python()), "-m", "pip", "install", "--quiet", "--require-hashes"]
    subprocess.run([*pip, "--disable-pip-version-check", "-r", str(LOCK)], check=True)
    shutil.copyfile(LOCK, ENVIRONMENT / "lock")


def build(site: Path = SITE, repository: Path | None = None) -> list[str]:
    """Build the site into a folder of its own, which is replaced; return the faults of its links."""
    shutil.rmtree(STAGE, ignore_errors=True)
    STAGE.mkdir(parents=True)
    stage(STAGE)
    # Show the output of Zensical only if it fails.
    ran = subprocess.run(
        [str(environment_python()), "-m", "zensical", "build", "--clean"],
        cwd=STAGE,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0 or not (STAGE / "site" / "index.html").exists():
        raise SystemExit(f"Zensical builds nothing:\n{ran.stdout}{ran.stderr}")
    shutil.rmtree(site, ignore_errors=True)
    site.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(STAGE / "site", site)
    if repository is not None:
        shutil.copytree(repository, site / DOWNLOADS)
    return [
        sentence
        for sentence in broken_links(site)
        if repository is not None or f"{DOWNLOADS}/index.html" not in sentence
    ]


def main() -> int:
    """Build the site; return 1 if a link is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, help="folder of downloads from tools/release.py")
    options = parser.parse_args()
    if options.repository and not (options.repository / "index.html").is_file():
        print(
            f"There is no repository in {options.repository}: make it with python tools/release.py."
        )
        return 1
    make_environment()
    broken = build(repository=options.repository)
    print(*broken, f"{SITE / 'index.html'}: the site", sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
