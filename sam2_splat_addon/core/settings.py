# SPDX-License-Identifier: GPL-3.0-or-later
"""Every setting of a run and of a bake, declared once; core, msgspec.

A setting is a field of one of the structs below: its name, its type, its default and, as a `Setting`,
what people read of it. Blender's properties (`blender/context/properties.py`), the panels, the command
line (`blender/cli/options.py`), requests, the key of previews and the manifest's key are made from that.
To add a setting, add its field here, and write the code that uses its value.

Also here: what each mode of speed leaves out. What a mode costs is measured in docs/performance.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    Self,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Meta

from .errors import BakeError, CheckpointError, PromptError, SplatError

MAX_GROW_PX: Final = 200.0
MAX_FEATHER_PX: Final = 200.0
MAX_EXPOSURE: Final = 32.0  # stops; float32 holds four times that
MANY: Final = 2**31 - 1  # the largest number that Blender's own properties hold

BUNDLED: Final = "bundled"
"""The model that needs no checkpoint file."""
GUARDED: Final = "guarded"
NO_LOOK: Final = "off"
WHOLE_LOOK: Final = "whole"

ModelName = Literal[
    "bundled",
    "sam2.1_hiera_tiny",
    "sam2.1_hiera_small",
    "sam2.1_hiera_base_plus",
    "sam2.1_hiera_large",
]
Direction = Literal["both", "forward", "backward"]
SpeedName = Literal["quality", "balanced", "fast"]
Memory = Literal["exact", "guarded"]
Look = Literal["off", "whole", "parts", "details"]
Alpha = Literal["binary", "soft"]
Sidecar = Literal["none", "postshot", "colmap", "colmap_photos"]

LOOKS: Final[tuple[Look, ...]] = get_args(Look)


@dataclass(frozen=True, eq=False)
class Setting:
    """What a field says of itself, beside its name, type and default.

    Attributes
    ----------
    label, text
        Its name and tooltip in Blender.
    option, help
        Its command line option, and what ``--help`` says of it.
    choices
        Label and tooltip of each value of a ``Literal``. A .blend file keeps the place of a value in
        this order: so new ones go to the end.
    unit
        What a number counts, such as px. The command line shows it in capitals.
    soft
        The ends of a number's slider, where these are nearer than its bounds.
    without_word
        The value that the option means when no value follows it.
    has_no
        Whether a switch also has the option ``--no-...``.
    affects
        ``mattes``: the bytes of every matte. ``way``: only the way through the frames, which each
        matte's own key knows. ``bake``: the images.
    previews
        Whether it changes what a preview of one frame's clicks shows.
    group
        The part of the panel that it stands in.
    """

    label: str
    text: str
    option: str
    help: str
    choices: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unit: str = ""
    soft: tuple[float, float] | None = None
    without_word: str | None = None
    has_no: bool = False
    affects: Literal["mattes", "way", "bake"] = "mattes"
    previews: bool = False
    group: Literal["front", "options"] = "options"


@dataclass(frozen=True)
class Declared:
    """One declared setting of a struct.

    Attributes
    ----------
    kind
        bool, int, float or str.
    values
        Those of a ``Literal``, in order; empty for other types.
    low, high
        A number's bounds, both included.
    """

    name: str
    kind: type
    default: Any
    setting: Setting
    values: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    def check(self, value: Any, error: type[SplatError]) -> None:
        """Raise ``error`` where a value is none that the setting can have."""
        if self.values and value not in self.values:
            told = ", ".join(self.values)
            raise error(f"{self.setting.label} can't be {value!r}.", f"Choose one of {told}.")
        if self.kind in (int, float) and not self.low <= value <= self.high:
            unit = f" {self.setting.unit}" if self.setting.unit else ""
            raise error(
                f"{self.setting.label} can't be {value:g}{unit}.",
                f"Choose a number from {self.low:g} to {self.high:g}.",
            )


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields with a declaration, and maybe others; a wrong value is refused, however it is made.

    Raises
    ------
    SplatError
        ``error``: a value is none of the declared ones, or out of its bounds.
    """

    error: ClassVar[type[SplatError]] = PromptError

    def __post_init__(self) -> None:
        """Refuse a value that its type does not allow; msgspec looks only at what it decodes."""
        for one in declared(type(self)):
            one.check(getattr(self, one.name), self.error)


@functools.cache
def declared(kind: type[Settings]) -> tuple[Declared, ...]:
    """The settings that a struct declares, in order."""
    fields = {entry.name: entry for entry in msgspec.structs.fields(kind)}
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        notes = hint.__metadata__ if get_origin(hint) is Annotated else ()
        for setting in (note for note in notes if isinstance(note, Setting)):
            plain, default = hint.__origin__, fields[name].default
            values = get_args(plain) if get_origin(plain) is Literal else ()
            bounds = next((note for note in notes if isinstance(note, Meta)), Meta())
            low = -math.inf if bounds.ge is None else bounds.ge
            high = math.inf if bounds.le is None else bounds.le
            found.append(Declared(name, type(default), default, setting, values, low, high))
    return tuple(found)


class ModelSettings(Settings, frozen=True):
    """Which model a clip's masks are made with; a request has it in its `ModelChoice`."""

    error: ClassVar[type[SplatError]] = CheckpointError

    model: Annotated[
        ModelName,
        Setting(
            "Model",
            "The model that finds the subjects. Larger ones are more exact, and slower",
            "--model",
            "default: bundled",
            choices={
                "bundled": (
                    "Bundled (small)",
                    "The small model that comes with the add-on: quick, no download, less exact",
                ),
                "sam2.1_hiera_tiny": ("SAM 2.1 Tiny", "156 MB checkpoint"),
                "sam2.1_hiera_small": ("SAM 2.1 Small", "184 MB checkpoint"),
                "sam2.1_hiera_base_plus": ("SAM 2.1 Base+", "324 MB checkpoint"),
                "sam2.1_hiera_large": ("SAM 2.1 Large", "898 MB checkpoint: the most exact"),
            },
            previews=True,
            group="front",
        ),
    ] = "bundled"


class RunSettings(Settings, frozen=True):
    """What the user may change about a run.

    Attributes
    ----------
    first_frame, last_frame
        The frames to propagate over, both included; 0 means the footage's end. Not declared: the
        property ``use_range`` and the option ``--frames`` give both at once.
    direction
        ``both``, ``forward`` or ``backward`` from the prompted frames.
    nearby_prompts
        0: a frame attends to all prompted frames of its object (to the nearest 16 of more), and
        a changed prompt may change every frame. Otherwise it attends only to that many on either
        side, and what SAM 2 remembers of tracked frames starts anew at each prompted frame: so a
        changed prompt changes no frame beyond that many prompted frames away.
    speed
        A mode of `SPEEDS`: the quicker two leave something out. ``quality`` is what the model gives.
    memory
        ``exact``: every tracked frame is remembered, as in sam2. ``guarded``: doubtful ones are
        not, and where hardly anything speaks for the object it is taken for absent; see
        `engine/tracking/distractor_memory.py`.
    both_sides
        Whether a frame between two prompted ones of its object is tracked from both, forwards and
        backwards, and the better matte is taken: see `engine/tracking/bidirectional.py`. False is
        sam2's way: forwards alone.
    second_look
        ``off``; ``whole``: each matte is looked at once more, close up; ``parts``: four parts of it
        are too, closer still; ``details``: and nine smaller ones. See `engine/refine/zoom_refine.py`.
        What is remembered for other frames is the first look's, and so is what a preview shows.
    panorama
        Whether the photos go all the way round (equirectangular), so that their left and right
        edges are one: see `engine/tracking/panorama.py`.
    """

    first_frame: int = 1
    last_frame: int = 0
    direction: Annotated[
        Direction,
        Setting(
            "Direction",
            "Which way masks are carried from the frames with clicks",
            "--direction",
            "from the frames with prompts; default: both",
            choices={
                "both": ("Both Ways", "From the prompted frames to both ends of the range"),
                "forward": ("Forwards", "From the prompted frames to the end of the range"),
                "backward": ("Backwards", "From the prompted frames to the start of the range"),
            },
            affects="way",
        ),
    ] = "both"
    nearby_prompts: Annotated[
        int,
        Meta(ge=0, le=MANY),
        Setting(
            "Nearby Clicks",
            "0: every frame sees all frames with clicks that are known by then. Otherwise it"
            " sees only that many of them on either side, and memory begins anew at each",
            "--nearby-clicks",
            "a frame sees only this many frames with prompts on either side; default: 0, all",
            unit="frames",
            soft=(0, 8),
            affects="way",
        ),
    ] = 0
    speed: Annotated[
        SpeedName,
        Setting(
            "Speed",
            "How much exactness to give for time. Another speed computes all mattes anew",
            "--speed",
            "quicker with coarser mattes; default: quality",
            choices={
                "quality": ("Quality", "All that the model can do"),
                "balanced": (
                    "Balanced",
                    "Photos are seen smaller, and memory is coarser: about 1.5 times as fast with the"
                    " bundled model, 3 times with SAM 2.1 on a CPU. Thin parts suffer first",
                ),
                "fast": (
                    "Fast",
                    "Smaller still: about twice as fast with the bundled model, 7 times with SAM 2.1"
                    " on a CPU. Edges are coarser, and thin parts may get lost",
                ),
            },
            previews=True,
            group="front",
        ),
    ] = "quality"
    memory: Annotated[
        Memory,
        Setting(
            "Memory",
            "What a frame learns from the frames before it. Another choice computes all mattes anew",
            "--memory",
            "guarded: doubtful frames are not remembered, for subjects that are hidden at times;"
            " default: exact",
            choices={
                "exact": ("Exact", "Every frame is remembered, as SAM 2 does it"),
                "guarded": (
                    "Guarded",
                    "Doubtful frames are not remembered, and where little speaks for the object it"
                    " counts as hidden: for objects that get hidden, and among things that look like"
                    " them",
                ),
            },
        ),
    ] = "exact"
    both_sides: Annotated[
        bool,
        Setting(
            "Both Sides",
            "A frame between two with clicks is tracked from both, and the better mask is taken, so"
            " clicks help the frames before them too. Takes about twice the time between the first"
            " and the last frame with clicks",
            "--both-sides",
            "frames between prompted ones are tracked from both, and the better matte is taken",
            affects="way",
        ),
    ] = False
    second_look: Annotated[
        Look,
        Setting(
            "Second Look",
            "Each mask is looked at once more, close up, for finer edges and thin parts",
            "--second-look",
            "look at each matte once more, close up: whole (as without a word), its parts too, or"
            " also details",
            choices={
                "off": ("Off", "Masks are what SAM 2 finds in whole photos"),
                "whole": (
                    "Whole Object",
                    "Once more in a crop around the object: about twice the time, masks twice as"
                    " fine",
                ),
                "parts": (
                    "Object and Parts",
                    "In a crop around the object, then in four parts of it where the photos are large"
                    " enough: for thin legs and rails. In real photos of 480 to 1,200 px it gained"
                    " nothing over Whole Object. About five times the time, masks four times as fine",
                ),
                "details": (
                    "Parts and Details",
                    "As before, then in nine smaller parts, for the best masks of large photos. About"
                    " ten times the time",
                ),
            },
            without_word=WHOLE_LOOK,
        ),
    ] = "off"
    panorama: Annotated[
        bool,
        Setting(
            "Panorama (360°)",
            "The photos go all the way round, twice as wide as high: an object may lie across their"
            " left and right edges. One whose clicks are close together is looked at in the half"
            " around it",
            "--panorama",
            "photos that go all the way round; default: when twice as wide as high",
            has_no=True,
            previews=True,
        ),
    ] = False

    def without_way(self) -> Self:
        """The same, with defaults for all that decides only the way through the frames."""
        way = {
            one.name: one.default for one in declared(type(self)) if one.setting.affects == "way"
        }
        return msgspec.structs.replace(self, first_frame=1, last_frame=0, **way)


class BakeSettings(Settings, frozen=True):
    """How mattes become alpha. They apply in the order fill, drop, grow, feather, invert.

    Attributes
    ----------
    alpha
        "binary" is 0 or full, the edge where the logits are 0. "soft" keeps the model's own
        uncertainty in a narrow band around that edge.
    refine_edges
        Take the edge from the photo itself, with the edge model, instead of from the matte's grid.
        Masks that the user drew stay as they are.
    grow_px
        Moves the edge outwards by this distance, px; negative values move it inwards.
    feather_px
        Width of the ramp that replaces a hard edge, px; 0 leaves the edge as it is.
    fill_holes_px, drop_specks_px
        Enclosed holes, and separate parts, of fewer px than this are closed, and removed.
    invert
        Keep what the objects do not cover.
    black_rgb
        Multiply the colours by alpha. For trainers that expect a black ground; off for Postshot.
    sidecar_masks
        Also write black-and-white masks to "<output folder>_masks": "postshot" names them like the
        image; "colmap" appends ".png" to the image's whole name, and "colmap_photos" to the photo's,
        as COLMAP wants it where it is run over the one or the other.
    exposure
        Stops added to floating-point photos before their view transform.
    """

    error: ClassVar[type[SplatError]] = BakeError

    alpha: Annotated[
        Alpha,
        Setting(
            "Alpha",
            "Whether the edge between kept and masked is hard or smooth",
            "--alpha",
            "default: binary, every pixel kept or not",
            choices={
                "binary": ("Binary", "Every pixel is kept or masked: what Postshot wants"),
                "soft": ("Soft", "A smooth edge, from how sure the model is"),
            },
            affects="bake",
        ),
    ] = "binary"
    refine_edges: Annotated[
        bool,
        Setting(
            "Refine Edges",
            "Take the edge from the photo's own pixels instead of the mask's coarse grid: for sharp"
            " photos of 1,200 px and more. In small or compressed ones, such as 480p video frames, it"
            " gains hardly anything, and it mends no mask that is wrong. Slower, on an NVIDIA card"
            " where there is one; frames whose mask you edited stay as you drew them",
            "--refine-edges",
            "edges from the photo's pixels",
            affects="bake",
        ),
    ] = False
    grow_px: Annotated[
        float,
        Meta(ge=-MAX_GROW_PX, le=MAX_GROW_PX),
        Setting(
            "Grow",
            "Move the edge outwards, or inwards when negative, in px of the photo",
            "--grow",
            "move the edge outwards; negative: inwards",
            unit="px",
            soft=(-20, 20),
            affects="bake",
        ),
    ] = 0.0
    feather_px: Annotated[
        float,
        Meta(ge=0.0, le=MAX_FEATHER_PX),
        Setting(
            "Feather",
            "Width of the soft edge, in px of the photo",
            "--feather",
            "width of a soft edge",
            unit="px",
            soft=(0, 20),
            affects="bake",
        ),
    ] = 0.0
    fill_holes_px: Annotated[
        int,
        Meta(ge=0, le=MANY),
        Setting(
            "Fill Holes",
            "Fill holes of fewer pixels than this",
            "--fill-holes",
            "close holes of fewer pixels than this",
            unit="px",
            soft=(0, 10000),
            affects="bake",
        ),
    ] = 0
    drop_specks_px: Annotated[
        int,
        Meta(ge=0, le=MANY),
        Setting(
            "Drop Specks",
            "Drop separate parts of fewer pixels than this",
            "--drop-specks",
            "drop separate parts of fewer pixels than this",
            unit="px",
            soft=(0, 10000),
            affects="bake",
        ),
    ] = 0
    invert: Annotated[
        bool,
        Setting(
            "Invert",
            "Mask the subject and keep the rest",
            "--invert",
            "keep the rest and mask the objects",
            affects="bake",
        ),
    ] = False
    black_rgb: Annotated[
        bool,
        Setting(
            "Black Background",
            "Multiply the colour by the alpha, for trainers that ignore the alpha; Postshot wants"
            " this off",
            "--black-rgb",
            "multiply colour by alpha",
            affects="bake",
        ),
    ] = False
    sidecar_masks: Annotated[
        Sidecar,
        Setting(
            "Mask Files",
            "Whether black-and-white masks are written too, and how these are named",
            "--masks",
            "mask files too",
            choices={
                "none": ("None", "Only the RGBA images"),
                "postshot": ("Postshot", "A folder of masks beside the images, named as these"),
                "colmap": (
                    "COLMAP (PNGs)",
                    "A folder of masks for COLMAP run over the PNGs: named a.png.png",
                ),
                "colmap_photos": (
                    "COLMAP (Photos)",
                    "A folder of masks for COLMAP run over the photos: named a.jpg.png",
                ),
            },
            affects="bake",
        ),
    ] = "none"
    exposure: Annotated[
        float,
        Meta(ge=-MAX_EXPOSURE, le=MAX_EXPOSURE),
        Setting(
            "Exposure",
            "Of EXR and float photos on their way to 16 bit, in stops",
            "--exposure",
            "of EXR and float photos",
            unit="stops",
            soft=(-8, 8),
            affects="bake",
        ),
    ] = 0.0


CLIP_SETTINGS: Final[tuple[type[Settings], ...]] = (ModelSettings, RunSettings, BakeSettings)
"""All structs whose settings a clip carries."""


@dataclass(frozen=True)
class Speed:
    """One mode of speed.

    Attributes
    ----------
    name
        As settings and manifests have it.
    input_sizes
        Side of the model's square input by the side that it was trained for, px. A model that
        sees little as it is can do without less of it.
    pooled
        Whether a frame attends to a quarter of each memory's cells.
    """

    name: SpeedName
    input_sizes: Mapping[int, int] = field(default_factory=dict)
    pooled: bool = True

    def input_size(self, own: int) -> int:
        """Side of the input in px, for a model whose own is ``own``."""
        return self.input_sizes.get(own, own)


QUALITY = Speed("quality", pooled=False)
BALANCED = Speed("balanced", {1024: 768, 512: 448})
FAST = Speed("fast", {1024: 512, 512: 384})
SPEEDS = (QUALITY, BALANCED, FAST)


def speed_named(name: str) -> Speed:
    """The mode of this name; raises PromptError when there is none."""
    for speed in SPEEDS:
        if speed.name == name:
            return speed
    raise PromptError(
        f"There is no speed called {name!r}.",
        f"Choose one of {', '.join(speed.name for speed in SPEEDS)}.",
    )
