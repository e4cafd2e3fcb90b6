# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a release: zips, check sums, notes, and a repository for Blender's installs and updates.

    python tools/release.py            # into dist/release, from a clean tree with the tag of the version
    python tools/release.py --draft    # from any tree, as a preview

The repository is a folder of plain files, made by Blender's own tool, for any web server. Its page has a
link for each system, to drag onto Blender's window. The same tree gives the same bytes.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.build_extension import DIST, build, run_blender_ext
from tools.fetch_wheels import PLATFORMS, PYTHONS, sha256
from tools.setup_env import ensure_environment

RELEASE = DIST / "release"
PAGE = Path(__file__).with_name("repository.html")
SUMS = "SHA256SUMS"
NOTES = "notes.md"
REPOSITORY = "repository"
# Blender's name of a platform -> the name for people.
SYSTEMS = {
    "windows-x64": "Windows",
    "macos-arm64": "Mac with Apple silicon",
    "linux-x64": "Linux",
}
_ROW = re.compile(r"^  <tr>\n    <td>.*?^  </tr>\n", re.M | re.S)
_LINK = re.compile(r'<a href="(\./[^"?]+\.zip\?[^"]+)">')


@dataclass(frozen=True)
class DragLink:
    """A link of the page. It installs the extension if it is dragged onto Blender.

    Attributes
    ----------
    address
        Relative, with all that Blender checks before a download: the versions and systems that it is
        for, and the source of newer versions.
    """

    address: str

    @property
    def asked(self) -> dict[str, str]:
        """The parameters of the link by name."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.address).query).items()}

    @property
    def title(self) -> str:
        """The system and the versions of Blender, in words."""
        low, high = (
            ".".join(self.asked.get(name, "").split(".")[:2])
            for name in ("blender_version_min", "blender_version_max")
        )
        until = f"{low} or newer, before {high}" if high else f"{low} or newer"
        return f"{SYSTEMS[self.asked['platforms']]}, Blender {until}"


def version_of(root: Path = ROOT) -> str:
    """Return the version in the manifest of a tree."""
    text = (root / "blender_manifest.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["version"])


def obstacles(root: Path = ROOT) -> list[str]:
    """Return why a tree can't be released, one sentence each; empty if it can."""
    version = version_of(root)
    try:
        changed = _git(root, "status", "--porcelain").splitlines()
        tags = _git(root, "tag", "--points-at", "HEAD").split()
    except (OSError, subprocess.CalledProcessError):
        return ["Git can't tell what is in this folder."]
    found = []
    if changed:
        names = ", ".join(line[3:] for line in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        found.append(f"Not committed: {names}{more}.")
    if f"v{version}" not in tags:
        found.append(
            f"blender_manifest.toml says {version}, and this commit has no tag v{version}."
        )
    if not notes_of(version, root):
        found.append(f"CHANGELOG.md has no section [{version}].")
    return found


def notes_of(version: str, root: Path = ROOT) -> str:
    """Return the text of CHANGELOG.md about a version, or about `Unreleased`; empty if none."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1].strip() if found else ""


def publish(zips: Sequence[Path], folder: Path) -> list[DragLink]:
    """Make the repository of some zips in a folder, and replace its old contents.

    Returns
    -------
    list[DragLink]
        The links of its page: those for Windows first, and older Blenders first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for archive in sorted(zips):
        shutil.copy2(archive, folder / archive.name)
    # Blender's tool puts its table into the page; then we add ours.
    run_blender_ext(
        *("server-generate", "--html", "--html-template", str(PAGE)),
        *("--repo-dir", str(folder)),
    )
    listing = folder / "index.json"
    listed = json.loads(listing.read_text(encoding="utf-8"))
    if len(listed["data"]) != len(zips):
        raise SystemExit(f"Blender's tool lists {len(listed['data'])} of {len(zips)} zips.")
    # Sort: the disk gives the files in an order that differs between machines.
    listed["data"].sort(key=lambda entry: entry["archive_url"])
    listing.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    page = folder / "index.html"
    text = page.read_text(encoding="utf-8")
    rows = iter(sorted(_ROW.findall(text)))
    text = _ROW.sub(lambda _: next(rows), text)
    links = sorted((DragLink(address) for address in _LINK.findall(text)), key=_for_reading)
    lines = [
        f'<li><a href="{html.escape(link.address)}">{html.escape(link.title)}</a></li>'
        for link in links
    ]
    versions = sorted({str(entry["version"]) for entry in listed["data"]})
    text = text.replace("<!-- links -->", "\n".join(lines))
    text = text.replace("<!-- version -->", html.escape(", ".join(versions)))
    page.write_text(text, encoding="utf-8")
    return links


def _for_reading(link: DragLink) -> tuple[int, list[int]]:
    low = [int(part) for part in link.asked["blender_version_min"].split(".")]
    return list(SYSTEMS).index(link.asked["platforms"]), low


def write_sums(zips: Sequence[Path], target: Path) -> None:
    """Write the check sums of the zips in the format of `sha256sum --check`."""
    lines = [f"{sha256(archive)}  {archive.name}\n" for archive in sorted(zips)]
    target.write_text("".join(lines), encoding="utf-8", newline="\n")


def release(folder: Path = RELEASE, *, notes: str, website: str = "") -> list[Path]:
    """Build the complete release into a folder, and replace its old contents; return the zips."""
    shutil.rmtree(folder, ignore_errors=True)
    zips = [
        build(platform, python, folder, website)
        for platform in sorted(PLATFORMS)
        for python in PYTHONS
    ]
    write_sums(zips, folder / SUMS)
    (folder / NOTES).write_text(notes + "\n", encoding="utf-8")
    publish(zips, folder / REPOSITORY)
    return zips


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Build a release, or say why this tree can't be released."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draft", action="store_true", help="from any tree, as a preview")
    parser.add_argument("--output", type=Path, default=RELEASE, help="folder, which is replaced")
    parser.add_argument("--website", default="", help="address of the site, shown in Blender")
    options = parser.parse_args()
    output: Path = options.output
    if not options.draft and (found := obstacles()):
        print("No release is made.", *found, "With --draft it is built all the same.", sep="\n")
        return 1
    if output.exists() and any(output.iterdir()) and not (output / SUMS).exists():
        print(f"{output} has other files than those of a release: name another folder.")
        return 1
    ensure_environment()
    version = version_of()
    notes = notes_of(version) or (notes_of("Unreleased") if options.draft else "")
    for archive in release(output, notes=notes, website=options.website):
        print(archive)
    print(
        f"{output / REPOSITORY}: the repository; serve it, and drag a link of its page onto Blender"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
