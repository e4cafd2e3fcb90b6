# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender shows the add-on in the user's language. Blender as a module knows no languages."""

from __future__ import annotations

import json

from sam2_splat_addon.blender.translations.catalogue import LANGUAGES, read
from tests.window.conftest import SCENARIOS
from tools.window.chroot import Bind
from tools.window.launcher import InstalledBlender

# Blender's own list of languages, which these Debians leave out with all translations. Blender 4.3 ends
# without its first line.
CODES = ("en_US", *LANGUAGES)
LINES = [f"{number}:{code}:{code}:100%" for number, code in enumerate(CODES, start=1)]
NAMES = "\n".join(["0:Automatic:DEFAULT:100%", *LINES])
TIP = "Write images and masks for the chosen trainers into a new folder"
ERROR = ("{path} does not exist", "Choose a folder of photos, or one of its photos")


def test_translations(blender: InstalledBlender) -> None:
    """A label, a button, a tooltip and an error are translated, and nothing is after it is disabled."""
    folder = blender.session / "locale"
    folder.mkdir(exist_ok=True)
    (folder / "languages").write_text(f"{NAMES}\n", encoding="utf-8")
    result = blender.session / "said.json"
    ended = blender.blender(
        *("-b", "--python-exit-code", "9", "-P", blender.inside(SCENARIOS / "translations.py")),
        *("--", blender.inside(result)),
        binds=(Bind(folder, "/usr/share/locale"),),
    )
    assert ended.code == 0, ended.said
    said = json.loads(result.read_text(encoding="utf-8"))
    english = said["en_US"]
    assert english["button"] == "Bake PNGs"
    assert english["value"] == "3 left out, damaged"
    for language in LANGUAGES:
        texts, told = read(language), said[language]
        assert told["label"] == texts["Propagate"]
        assert told["button"] == texts["Bake PNGs"]
        assert told["own word"] == texts["Range"]
        assert told["Blender's button"] == texts["Open Folder"]
        assert told["tooltip"] == texts[TIP]
        assert told["value"] == texts["{count} left out, damaged"].replace("{count}", "3")
        for part in ERROR:
            assert texts[part].replace("{path}", "/no/such/folder") in told["report"]
    off = said["switched off"]
    assert (off["label"], off["value"]) == (english["label"], english["value"])
    assert english["report"].strip() in off["report"].replace("Fehler", "Error")
    assert off["tooltip"] == said["de_DE"]["tooltip"]
    assert said["disabled"]["button"] == "Bake PNGs"
