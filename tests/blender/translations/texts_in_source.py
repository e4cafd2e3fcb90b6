# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the texts in the source that a user of the window can read.

Every text of two words or more counts, and every single word with a capital letter, unless it stands where
nobody sees it: in a docstring, in an error of Python's own, in a log, in the command line, or in one of the
files and texts below. Other single words count where Blender shows them. So a new text can't be forgotten.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "sam2_splat_addon"

# Files whose texts nobody reads in the window, each with the reason.
NOT_SHOWN_FILES = {
    "blender/cli/batch.py": "the command line",
    "blender/cli/register.py": "the command line",
    "client/command/batch.py": "the command line, which is in English",
    "client/command/many.py": "the command line, which is in English",
    "client/command/capture.py": "the command line, which is in English",
    "client/command/farm.py": "the command line, which is in English",
    "client/command/farm_graph.py": "the command line, which is in English",
    "client/command/farm_ray.py": "the command line, which is in English",
    "client/command/inform.py": "the command line, which is in English",
    "client/command/main.py": "the command line, which is in English",
    "client/command/options.py": "the command line, which is in English",
    "client/command/places.py": "the command line, which is in English",
    "client/command/run_job.py": "the command line, which is in English",
    "client/command/steps.py": "the command line, which is in English",
    "client/command/watch.py": "the command line, which is in English",
    "client/command/workplace.py": "the command line, which is in English",
    "blender/ui/help_report.py": "the report for those who help, which is in English",
    "blender/overlay/shaders.py": "code for the graphics card",
    "core/review/report.py": "the report, which is a file",
    "engine/jobs/report_pictures.py": "the report, which is a file",
    "engine/worker/entry.py": "the command line of the SAM 2 process",
}
_HIDDEN = "a property that no panel shows"
_INTERNAL = "an operator that only our code calls"
_NAME = "a name, which is the same in all languages"
_CONSOLE = "a line of the console"
_SIGN = "a sign in the words of another program"
_FAULT = "a fault of the program, which ends as an unexpected error"
_PLY = "a line in the header of a file"
_CAMERA = "why one camera or a cloud of another program can't be used: only how many is said"
_WORD = "a word in the files of another program"
_VERB = "a verb that translations leave out"
# Texts that nobody reads in the window, each with the reason.
NOT_SHOWN = {
    **dict.fromkeys(
        (
            "its place has a wrong number of values",
            "its place is no number",
            "its axes are not at right angles",
            "it is mirrored",
            "it is cut off",
            "the camera model {} is unknown",
            "a name does not end",
            "its camera {} is missing",
            "it has no focal length",
            "a camera",
            "it names no photo",
            "{} has {} parameters, not {}",
            "a parameter of {} is no number",
            "a camera has {}x{} px",
            "a focal length is not above 0",
            "its header does not end",
            "it is no PLY file",
            "its points have no x, y and z",
            "its points do not come first",
            "its points have a list or an unknown type",
        ),
        _CAMERA,
    ),
    **dict.fromkeys(("img_name", "utf-8-sig", "Rotation", "Position"), _WORD),
    "Round {}: {} with new prompts": _CONSOLE,
    "Going on after round {} of an earlier run": _CONSOLE,
    "Left out: {} that {} no click": _CONSOLE,
    "stands apart and has": _CONSOLE,
    "stand apart and have": _CONSOLE,
    "1 thing": _CONSOLE,
    "{} things": _CONSOLE,
    "Others contradict less now": _CONSOLE,
    "Others do not contradict less now": _CONSOLE,
    "{}; masks agree by {} ({})": _CONSOLE,
    "it is damaged": "caught where the file is read",
    "Comparing {} pairs of {} photos: {}": _CONSOLE,
    "a film": _CONSOLE,
    "What was kept of the last search is damaged. It begins anew": _CONSOLE,
    "photos in any order": _CONSOLE,
    "The ground stands still, so only what is inside the masks counts": _CONSOLE,
    "The ground stands still, so only what moves counts": _CONSOLE,
    "Subjects whose masks are set aside, as JSON": _HIDDEN,
    "The photo on frame 1, if the clip does not begin with the first photo": _HIDDEN,
    "Name and size of every frame's photo, as JSON": _HIDDEN,
    "Size in pixels and orientation of the photos, as JSON": _HIDDEN,
    "Whether the clip shows upright copies of the photos": _HIDDEN,
    "Whether the photos in subfolders are among this clip's": _HIDDEN,
    "Number of photos with a mask beside them": _HIDDEN,
    "The run whose masks belong to these photos before some were added or removed": _HIDDEN,
    "Photos that were left out, as JSON": _HIDDEN,
    "Photos that the last run left out because they are damaged, as JSON": _HIDDEN,
    "Frames that the user has ticked in the review, as JSON": _HIDDEN,
    "Frames on which only the clicks say where a subject is, as JSON": _HIDDEN,
    "Masks that are prompts, as JSON. Clicks and boxes are markers instead": _HIDDEN,
    "Choose the next layer to move": _INTERNAL,
    "Pick Layer": _INTERNAL,
    "Move mask layers up": _INTERNAL,
    "Move Layers": _INTERNAL,
    "Put the points of the next key into the layer": _INTERNAL,
    "Place Key": _INTERNAL,
    "Note that the key is set": _INTERNAL,
    "Key Placed": _INTERNAL,
    "Set the next keys of a mask layer": _INTERNAL,
    "Write Keys": _INTERNAL,
    "SAM2 Splat": _NAME,
    "NVIDIA (CUDA)": _NAME,
    "NVIDIA Corporation": _NAME,
    "Apple (MPS)": _NAME,
    "CUDA 12.6": _NAME,
    "CUDA 13.0": _NAME,
    "PyTorch": _NAME,
    "SAM 2": _NAME,
    "SAM 2.1 Tiny": _NAME,
    "SAM 2.1 Small": _NAME,
    "SAM 2.1 Base+": _NAME,
    "SAM 2.1 Large": _NAME,
    "float32": _NAME,
    "JPEG": _NAME,
    "PNG": _NAME,
    "{}, frame {}, {} s": "a tag of a photo",
    "bfloat16": _NAME,
    "Postshot": _NAME,
    "Postshot (Remove Background)": _NAME,
    "Postshot (Remove Occluders)": _NAME,
    "LichtFeld Studio": _NAME,
    "Brush": _NAME,
    "Metashape": _NAME,
    "fVDB Reality Capture": _NAME,
    "3D Gaussian Splatting (INRIA)": _NAME,
    "JPEG 2000": _NAME,
    "JPEG XL": _NAME,
    "this system has no clones": "the next way is tried then",
    "ply\nformat binary_little_endian 1.0\nelement vertex {}\n": _PLY,
    "property float {}\n": _PLY,
    "property uchar {}\n": _PLY,
    "Clip Editor": "Blender's own name of a keymap",
    "Masking": "the name of a workspace, which stays as it is",
    "Device: {} Threads: {}": _CONSOLE,
    "Continuing where an earlier run stopped, from frame {}": _CONSOLE,
    "chosen by you": _CONSOLE,
    "Nothing to do: the same bake is in {}": _CONSOLE,
    "{} of frames {} to {} lie ready": _CONSOLE,
    "chosen automatically": _CONSOLE,
    "Apple's GPU (MPS) in float32, {}": _CONSOLE,
    "because no GPU can be used": _CONSOLE,
    "CPU in {} ({}), {}": _CONSOLE,
    "{} in {} ({}), {}": _CONSOLE,
    "torch {}": _CONSOLE,
    "cuda: {}": _CONSOLE,
    "{}, torch {}": "a key of the cache",
    "Affinity": "a part of a function's name",
    "Header": "a part of a type's name",
    "model name": _SIGN,
    "WARNING: Location": _SIGN,
    "can't allocate memory": _SIGN,
    "not enough memory": _SIGN,
    "insufficient memory": _SIGN,
    "cuda out of memory": _SIGN,
    "broken data stream": _SIGN,
    "decoder error": _SIGN,
    "failed to": _SIGN,
    "unrecognized data": _SIGN,
    "the plan and the frames differ in number": _FAULT,
    "no build of PyTorch is called {}; there are {}": _FAULT,
    "an outline needs at least one point": _FAULT,
    "{} memory tokens do not fit an image of {}": _FAULT,
    "rgb {} {} and alpha {} {}": _FAULT,
    "image_size must be a positive multiple of 32, not {}": _FAULT,
    "{} holds no weights of {}": _FAULT,
    "a conditioning frame's memory has features": _FAULT,
    "this photo is": _VERB,
    "these photos are": _VERB,
    " and ": "a part of a list of names",
    "{}{}... (of about {} digits)": "a number",
    "SAM2 Splat made this folder, and deletes here what it made itself. Without this file it deletes"
    " nothing": "the text of a file",
}
# Parts of texts -> the whole text, which the code makes in two steps.
WHOLE = {
    " for {}": "PyTorch for {}",
    " and more": "{} and more",
    "\nIts last lines:": "Its last lines:",
    "The SAM 2 process met an unexpected error: {}:": "The SAM 2 process met an unexpected error: {}: {}",
}
# Texts that the code makes in a way that nobody can read from it, each with its maker.
MADE = {
    "{} and {}": "core/footage/scan.py: shorten",
    "frame {}": "engine/jobs/bake.py: _frames",
    "frames {}": "engine/jobs/bake.py: _frames",
    "1 click": "blender/clip/photo_remap.py",
    "{} clicks": "blender/clip/photo_remap.py",
    "1 drawn mask": "blender/clip/photo_remap.py",
    "{} drawn masks": "blender/clip/photo_remap.py",
    "{} s": "client/worker/job.py: duration",
    "Propagating {}": "client/worker/job.py: describe",
    "Baking {}": "client/worker/job.py: describe",
    "Reporting {}": "client/worker/job.py: describe",
}

# Calls whose texts nobody reads in the window, by the last part of their name.
_UNSEEN_CALLS = {
    *("TypeError", "RuntimeError", "AssertionError", "KeyError", "LookupError"),
    *("NotImplementedError", "SystemExit", "print", "debug", "info", "warning", "log", "compile"),
    *(
        "add_argument",
        "Thread",
        "shown_number",
        "encode",
        "search",
        "match",
        "Popen",
        "run",
        "field",
    ),
}
# Keywords, attributes and names whose text Blender shows, also if it is a single word.
_SHOWN_NAMES = {
    *("text", "name", "description", "placeholder", "bl_label", "bl_description"),
    *("title", "sentence", "summary", "message", "heading"),
}
# Dictionaries at the top of a module whose values are words for the user.
_SHOWN_DICTIONARIES = {"_WORDS", "_STAGES"}
# Calls that show a text, and those that translate one.
_LOOKED_UP = {
    *("label", "operator", "prop", "prop_enum", "menu", "popover", "operator_menu_enum"),
    *("progress", "report", "poll_message_set", "status_text_set", "header_text_set"),
}
_SHOWN_AS_GIVEN = {"status_text_set", "header_text_set"}
_TRANSLATES = {"translated", "translated_tip", "translated_report"}
_CAPITALIZED = re.compile(r"[A-Z][a-z]{2,}\.?")
_UNITS = re.compile(r"\{\}|\b(MB|px|x)\b")
_LETTERS = re.compile(r"[A-Za-z]{2}")
_IDS = re.compile(r"SAM2SPLAT_\w+|[a-z\d_]+\.[a-z_]+")
_CODE = re.compile(r"[^ ]+|.*\|.*|import .*|settings = .*| --.*")


def template_of(node: ast.expr) -> str | None:
    """Return the text of a string, with ``{}`` for each value of an f-string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)
        return "".join(str(part) for part in parts)
    return None


def skeleton(text: str) -> str:
    """Return a template with ``{}`` for each placeholder, without space and stop at its ends.

    A warning may be added to a sentence: ". 2 are left out".
    """
    return re.sub(r"((?<!\.)|(?<=\.\.\.))\.$", "", re.sub(r"\{\w*\}", "{}", text)).removeprefix(
        ". "
    )


@functools.cache
def texts_in_source() -> dict[str, str]:
    """Return all texts in the source, as skeletons, each with the place where it stands.

    Those of `NOT_SHOWN` are among them.
    """
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place in NOT_SHOWN_FILES or place.startswith("blender/translations/"):
            continue
        for line, text in texts_in(path.read_text(encoding="utf-8")):
            plain = skeleton(text)
            found.setdefault(WHOLE.get(plain, plain), f"{place}:{line}")
    return found


def texts_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every text that a user can read, of one file."""
    tree = ast.parse(source)
    unseen = set(_docstrings(tree)) | set(_unseen(tree))
    shown = set(_shown(tree))
    for node in ast.walk(tree):
        text = template_of(node) if isinstance(node, ast.expr) else None
        if text is None or id(node) in unseen or _IDS.fullmatch(text):
            continue
        if not _LETTERS.search(_UNITS.sub("", text)):
            continue
        if id(node) in shown or _CAPITALIZED.fullmatch(text) or not _CODE.fullmatch(text):
            yield node.lineno, text
    yield from _tooltips(tree)
    yield from _counted(tree)


def untranslated_in(source: str) -> list[tuple[int, str]]:
    """Return (line, text) of every text that Blender can't look up, and that is not translated before.

    A text with values goes through `translated` before it becomes a label, a report or the reason why a
    button is grey. The text of a `description` does so too: Blender looks up no tooltip that it is given.
    """
    tree = ast.parse(source)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found = []
    inside = set()
    for scope in functions.values():
        given: dict[str, list[ast.expr]] = {}
        for line in ast.walk(scope):
            if isinstance(line, ast.Assign):
                for target in line.targets:
                    given.setdefault(_name(target), []).append(line.value)
        for call in _calls(scope, _LOOKED_UP):
            inside.add(id(call))
            found += list(_untranslated(call, given, functions))
    for call in _calls(tree, _LOOKED_UP):
        if id(call) not in inside:
            found += list(_untranslated(call, {}, functions))
    for scope in functions.values():
        if scope.name == "description":
            for node in ast.walk(scope):
                if isinstance(node, ast.Return) and _is_plain(node.value):
                    found.append((node.lineno, ast.unparse(node)))
    return sorted(set(found))


def _untranslated(
    call: ast.Call, given: dict[str, list[ast.expr]], functions: dict[str, ast.FunctionDef]
) -> Iterator[tuple[int, str]]:
    texts = [word.value for word in call.keywords if word.arg == "text"]
    if _name(call.func) in {"report", "poll_message_set"}:
        texts += call.args
    if _name(call.func) in _SHOWN_AS_GIVEN:
        for one in call.args:
            values = given.get(one.id, [one]) if isinstance(one, ast.Name) else [one]
            plain = [value for value in values if not _is_translated(value)]
            yield from ((value.lineno, ast.unparse(value)) for value in plain)
    for text in texts:
        values = [text]
        if isinstance(text, ast.Name):
            values = given.get(text.id, [])
        elif isinstance(text, ast.Call) and _name(text.func) in functions:
            body = ast.walk(functions[_name(text.func)])
            values = [node.value for node in body if isinstance(node, ast.Return) and node.value]
        for value in values:
            yield from ((node.lineno, template_of(node) or "") for node in _with_values(value))


def _with_values(value: ast.AST) -> Iterator[ast.JoinedStr]:
    """Yield the f-strings with words in an expression, but not those that are translated."""
    if isinstance(value, ast.Call) and _name(value.func) in _TRANSLATES:
        return
    if isinstance(value, ast.JoinedStr):
        if _LETTERS.search(_UNITS.sub("", template_of(value) or "")):
            yield value
        return
    for part in ast.iter_child_nodes(value):
        yield from _with_values(part)


def _is_translated(value: ast.expr) -> bool:
    """Whether a text is translated already, has no words of its own, or is None."""
    if isinstance(value, ast.JoinedStr):
        return not list(_with_values(value))
    return not _is_plain(value) or (isinstance(value, ast.Constant) and value.value is None)


def _is_plain(value: ast.expr | None) -> bool:
    return value is not None and not (
        isinstance(value, ast.Call) and _name(value.func) in _TRANSLATES
    )


def _docstrings(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)


def _tooltips(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of classes with a label. Blender shows them as tooltips."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names = {
                target.id
                for line in node.body
                if isinstance(line, ast.Assign)
                for target in line.targets
                if isinstance(target, ast.Name)
            }
            doc = ast.get_docstring(node)
            if "bl_label" in names and doc and "bl_description" not in names:
                yield node.lineno, doc


def _counted(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield what `core.printable.counted` makes: "1 mask" and "{} masks"."""
    for node in _calls(tree, {"counted"}):
        what = node.args[1] if len(node.args) == 2 else None
        if isinstance(what, ast.Constant):
            yield node.lineno, f"1 {what.value!s}"
            yield node.lineno, f"{{}} {what.value!s}s"


def _calls(tree: ast.AST, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in names:
            yield node


def _unseen(tree: ast.AST) -> Iterator[int]:
    """Yield the nodes inside calls that nobody sees, parts of f-strings, keys and types."""
    for call in _calls(tree, _UNSEEN_CALLS):
        yield from map(id, ast.walk(call))
    for call in _calls(tree, {"Setting"}):  # label, text, option, help
        for argument in call.args[2:]:
            yield from map(id, ast.walk(argument))
    for call in _calls(tree, {"counted"}):
        yield from map(id, call.args)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                yield id(part)
                if isinstance(part, ast.FormattedValue) and part.format_spec is not None:
                    yield from map(id, ast.walk(part.format_spec))
        elif isinstance(node, ast.Assert):
            yield from map(id, ast.walk(node))
        elif isinstance(node, ast.Subscript) and _name(node.value) == "Literal":
            yield from map(id, ast.walk(node.slice))


def _shown(tree: ast.Module) -> Iterator[int]:
    """Yield the strings that count even if they are a single word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in _SHOWN_NAMES:
            yield from _strings(node.value)
        elif isinstance(node, ast.Assign):
            if {_name(target) for target in node.targets} & _SHOWN_NAMES:
                yield from _strings(node.value)
        elif isinstance(node, ast.Tuple) and _is_item(node):
            yield from map(id, node.elts[1:3])
    for call in _calls(tree, {"Setting", "Warning"}):
        for argument in call.args:
            yield from _strings(argument)
        for keyword in call.keywords:
            if keyword.arg == "choices":
                tuples = (one for one in ast.walk(keyword.value) if isinstance(one, ast.Tuple))
                yield from (id(text) for one in tuples for text in one.elts)
    for line in tree.body:
        if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(line.value, ast.Dict):
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            if {_name(target) for target in targets} & _SHOWN_DICTIONARIES:
                yield from map(id, line.value.values)


def _strings(value: ast.expr) -> Iterator[int]:
    """Yield the strings that an expression may give: also both of ``a if x else b``."""
    if isinstance(value, ast.IfExp):
        yield from _strings(value.body)
        yield from _strings(value.orelse)
    elif isinstance(value, ast.Call) and value.args:
        yield from _strings(value.args[0])
    else:
        yield id(value)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_item(node: ast.Tuple) -> bool:
    """Whether a tuple is an item of an enum: value, label, tooltip."""
    if len(node.elts) < 3 or not all(map(_is_text, node.elts[:3])):
        return False
    label, tooltip = (ast.literal_eval(one) for one in node.elts[1:3])
    return bool(label[:1].isupper() and (not tooltip or " " in tooltip))
