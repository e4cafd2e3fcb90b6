# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare every setting of a run and of a bake, once.

A setting is a field of one of the structs below. The field has a name, a type and a default, and a
`Setting` with all that people read of it. Everything else is made from that: Blender's property
(`blender/context/properties.py`), its place in the panel, the option of the command line
(`client/command/options.py`), its place in a job file (`core/capture_job.py`), the request, the
preview's key (`blender/clip/preview_key.py`) and the manifest's key (`core/mattes/run_manifest.py`).

To add a setting, add its field here and write the code that uses its value.

The modes of speed are here too. docs/performance.md has the measured cost of each mode.
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

from .errors import BakeError, CheckpointError, FootageError, PromptError, SplatError

MAX_GROW_PX: Final = 200.0
MAX_FEATHER_PX: Final = 200.0
MAX_EXPOSURE: Final = 32.0  # stops; float32 holds four times that
MANY: Final = 2**31 - 1  # the largest number that Blender's own properties hold

BUNDLED: Final = "bundled"
"""The model that needs no checkpoint file."""
GUARDED: Final = "guarded"
NO_LOOK: Final = "off"
WHOLE_LOOK: Final = "whole"
PARTS_LOOK: Final = "parts"
OWN_LOOK: Final = "automatic"

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
Look = Literal["off", "whole", "parts", "details", "automatic"]
ObeyClicks = Literal["automatic", "on", "off"]
CarryClicks = Literal["automatic", "on", "off"]
Precision = Literal["automatic", "float32", "bfloat16"]
RawSource = Literal["developed", "camera"]
Alpha = Literal["binary", "soft"]
VideoFormat = Literal["jpeg", "png"]
Sidecar = Literal["none", "postshot", "colmap", "colmap_photos"]
Role = Literal["keep", "remove", "ignore"]
Device = Literal["auto", "cpu", "cuda", "mps"]

Group = Literal["front", "lost", "edges", "slow", "holes", "photos", "other"]

QUESTIONS: Final[Mapping[Group, str]] = {
    "lost": "It loses the subject",
    "edges": "Edges are rough",
    "holes": "It has holes or crumbs",
    "slow": "It is slow",
    "photos": "Which photos",
    "other": "Something else is wanted",
}
"""What a user asks who looks for an option, in the order of the panel. The guide's tables use the same
questions."""

OBEYING: Final[Mapping[ObeyClicks, bool | None]] = {"automatic": None, "on": True, "off": False}
"""Whether clicks are always obeyed; None decides by the model."""

LOOKS: Final[tuple[Look, ...]] = get_args(Look)

ROLES: Final[Mapping[Role, tuple[str, str]]] = {
    "keep": ("Keep", "Keep this subject. Without such a subject the whole scene is kept"),
    "remove": ("Remove", "Take this subject out of what is kept, such as a stand under a vase"),
    "ignore": (
        "Ignore",
        "Do not train here, whatever is behind it: for passers-by, a tripod, the photographer",
    ),
}
"""What a bake does with a subject: label and tooltip. A .blend file stores the place in this order."""


@dataclass(frozen=True, eq=False)
class Setting:
    """The declaration of a setting, beside its name, type and default.

    Attributes
    ----------
    label, text
        Name and tooltip in Blender.
    option, help
        Option of the command line, and its line in ``--help``.
    choices
        Label and tooltip of each value of a ``Literal``. A .blend file stores the place of a value in
        this order, so a new value goes to the end.
    unit
        What a number counts, such as px. The command line shows it in capitals.
    soft
        Ends of a number's slider, if they are nearer than its bounds.
    without_word
        What the option means if no word follows it.
    has_no
        Whether there is also an option ``--no-...``.
    affects
        What a change reaches. ``mattes``: the bytes of every matte. ``way``: only the way through the
        frames, which is in the key of each matte. ``bake``: the baked images. ``photos``: which photos there
        are.
    previews
        Whether a preview of the clicks on one frame shows a change.
    group
        What the setting helps with, as a question of `QUESTIONS`. ``front``: everyone needs it, so it is
        in sight.
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
    affects: Literal["mattes", "way", "bake", "photos"] = "mattes"
    previews: bool = False
    group: Group = "front"


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
        """Raise ``error`` if the setting can't have this value."""
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
    """Base of all structs with declared settings. It refuses a wrong value, however it is made.

    Raises
    ------
    SplatError
        ``error``: a value is not one of the declared ones, or out of its bounds.
    """

    error: ClassVar[type[SplatError]] = PromptError

    def __post_init__(self) -> None:
        """Check all values: msgspec itself checks only what it decodes."""
        for one in declared(type(self)):
            one.check(getattr(self, one.name), self.error)


@functools.cache
def declared(kind: type[Settings]) -> tuple[Declared, ...]:
    """Return the settings that a struct declares, in order."""
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
    """The model that makes the masks. A request has it in its `ModelChoice`."""

    error: ClassVar[type[SplatError]] = CheckpointError

    model: Annotated[
        ModelName,
        Setting(
            "Model",
            "The model that finds the subjects, where a larger one is more exact and slower",
            "--model",
            "default: bundled",
            choices={
                "bundled": (
                    "Bundled (small)",
                    "Comes with the add-on, is quick and needs no download, but is less exact",
                ),
                "sam2.1_hiera_tiny": ("SAM 2.1 Tiny", "156 MB checkpoint"),
                "sam2.1_hiera_small": ("SAM 2.1 Small", "184 MB checkpoint"),
                "sam2.1_hiera_base_plus": ("SAM 2.1 Base+", "324 MB checkpoint"),
                "sam2.1_hiera_large": ("SAM 2.1 Large", "898 MB checkpoint, the most exact model"),
            },
            previews=True,
            group="front",
        ),
    ] = "bundled"


class RunSettings(Settings, frozen=True):
    """The settings of a run.

    Attributes
    ----------
    first_frame, last_frame
        The frames to propagate over, both included; 0 means the last one of the footage. They are
        not declared: the property ``use_range`` and the option ``--frames`` set both at once.
    direction
        ``both``, ``forward`` or ``backward`` from the prompted frames.
    nearby_prompts
        0: a frame attends to all prompted frames of its object (at most to the nearest 16), and a
        changed prompt may change every frame. Otherwise it attends only to this many prompted frames on
        either side, and the memory of tracked frames starts new at each prompted frame. So a changed
        prompt changes no frame that is more than this many prompted frames away.
    speed
        A mode of `SPEEDS`. ``quality`` leaves nothing out; the other two do.
    memory
        ``exact``: every tracked frame is remembered, as in sam2. ``guarded``: doubtful frames are not
        remembered, and an object with little evidence counts as absent; see
        `engine/tracking/distractor_memory.py`.
    both_sides
        Whether a frame between two prompted frames of its object is tracked forwards and backwards, and
        the better matte is taken; see `engine/tracking/bidirectional.py`. False is as in sam2: only
        forwards.
    second_look
        ``off``. ``whole``: each matte is computed once more in a crop. ``parts``: also in four smaller
        crops. ``details``: also in nine still smaller ones. ``automatic``: ``parts`` on
        tracked photos with the bundled model at full quality, and ``off`` otherwise and for panoramas.
        See `engine/refine/zoom_refine.py`. Memories always use the first look.
    panorama
        Whether the photos are equirectangular: their left and right edges are then the same line; see
        `engine/tracking/panorama.py`.
    obey_clicks
        Whether a mask is changed until it has every include click of its frame, no exclude click, and
        lies inside a given box: ``on``, ``off``, or ``automatic``, which is on only for the bundled
        model. See `engine/tracking/kept_prompts.py`.
    carry_clicks
        Whether the clicks that say where a subject is are carried through space to other photos:
        ``automatic``: if the photos have cameras, and several passes. See `engine/jobs/carry_clicks.py`.
    raw_photos
        What camera RAW photos give: ``developed`` colours, or the JPEG that the ``camera`` put inside, if
        it has the photo's size. See `engine/images/raw.py`. SAM 2, the bake and the editor's copies use
        the same.
    precision
        ``float32``. ``bfloat16``: fewer digits in the matrix products of the image encoder, and on a GPU
        in nearly everything. ``automatic``: bfloat16 on a GPU that has it, and on a processor the faster
        of both (`engine/models/bfloat16_probe.py`). `Machine.dtype` has the result.
    """

    first_frame: int = 1
    last_frame: int = 0
    direction: Annotated[
        Direction,
        Setting(
            "Direction",
            "Which way to carry the masks from the frames with clicks",
            "--direction",
            "which way from the frames with prompts; default: both",
            choices={
                "both": ("Both Ways", "From the frames with clicks to both ends of the range"),
                "forward": ("Forwards", "From the frames with clicks to the end of the range"),
                "backward": ("Backwards", "From the frames with clicks to the start of the range"),
            },
            affects="way",
            group="photos",
        ),
    ] = "both"
    nearby_prompts: Annotated[
        int,
        Meta(ge=0, le=MANY),
        Setting(
            "Nearby Clicks",
            "How many frames with clicks, on either side, a frame learns from, so that a new click"
            " changes fewer frames (0 means all)",
            "--nearby-clicks",
            "learn from this many frames with prompts on either side; default: 0, which means all",
            unit="frames",
            soft=(0, 8),
            affects="way",
            group="photos",
        ),
    ] = 0
    speed: Annotated[
        SpeedName,
        Setting(
            "Speed",
            "How much exactness to give up for speed, where a new choice computes all masks anew",
            "--speed",
            "quicker, with coarser masks; default: quality",
            choices={
                "quality": ("Quality", "The best that the model can do"),
                "balanced": (
                    "Balanced",
                    "About 1.5 times as fast on a processor with the bundled model, 3 times with SAM 2.1,"
                    " but thin parts suffer first",
                ),
                "fast": (
                    "Fast",
                    "About twice as fast on a processor with the bundled model, 7 times with SAM 2.1, but"
                    " edges get coarser and thin parts may get lost",
                ),
            },
            previews=True,
            group="slow",
        ),
    ] = "quality"
    memory: Annotated[
        Memory,
        Setting(
            "Memory",
            "What a frame learns from the frames before it, where a new choice computes all masks anew",
            "--memory",
            "guarded: forget doubtful frames, for subjects that are hidden at times;"
            " default: exact",
            choices={
                "exact": ("Exact", "Remember every frame, as SAM 2 does"),
                "guarded": (
                    "Guarded",
                    "Remember no doubtful frame, for subjects that get hidden or stand among things that"
                    " look like them",
                ),
            },
            group="lost",
        ),
    ] = "exact"
    both_sides: Annotated[
        bool,
        Setting(
            "Both Sides",
            "Track the frames between two frames with clicks from both, and take the better mask, in"
            " about twice the time",
            "--both-sides",
            "track each frame between two frames with prompts from both, and take the better mask",
            affects="way",
            group="lost",
        ),
    ] = False
    second_look: Annotated[
        Look,
        Setting(
            "Second Look",
            "Look at each mask once more, close up, for finer edges and thin parts",
            "--second-look",
            "look at each mask once more, close up: whole (also if no word follows), parts of it"
            " too, or also details; default: automatic, parts with the bundled model",
            choices={
                "off": ("Off", "Masks are what SAM 2 finds in the whole photo"),
                "whole": (
                    "Whole Subject",
                    "Once more in a crop around the subject, for masks twice as fine in about twice the"
                    " time",
                ),
                "parts": (
                    "Subject and Parts",
                    "Also in four parts of that crop, for thin legs and rails in photos of more than 1,200"
                    " px, in about five times the time",
                ),
                "details": (
                    "Parts and Details",
                    "Also in nine smaller parts, in about ten times the time. With the bundled model it finds"
                    " nothing more",
                ),
                "automatic": (
                    "Automatic",
                    "Subject and Parts with the bundled model at full quality, off with SAM 2.1 and for"
                    " panoramas. Photos with clicks stay as the preview shows them",
                ),
            },
            without_word=WHOLE_LOOK,
            group="edges",
        ),
    ] = "automatic"
    panorama: Annotated[
        bool,
        Setting(
            "Panorama (360°)",
            "The photos go all the way round, so a subject may lie across their left and right edges",
            "--panorama",
            "photos that go all the way round; default: when twice as wide as high",
            has_no=True,
            previews=True,
            group="photos",
        ),
    ] = False
    obey_clicks: Annotated[
        ObeyClicks,
        Setting(
            "Obey Clicks",
            "Move a mask where it goes against a click, where a new choice computes all masks anew",
            "--obey-clicks",
            "move a mask where it goes against a click; default: automatic, with the bundled model",
            choices={
                "automatic": ("Automatic", "On with the bundled model, off with SAM 2.1"),
                "on": (
                    "Always",
                    "The mask of a photo covers each include click and no exclude click, and stays in"
                    " the box, whatever the model says",
                ),
                "off": ("Never", "Masks stay as the model makes them"),
            },
            previews=True,
            group="lost",
        ),
    ] = "automatic"
    precision: Annotated[
        Precision,
        Setting(
            "Number Format",
            "How exactly SAM 2 multiplies, where a new choice computes all masks anew",
            "--precision",
            "the number format of SAM 2's products; default: automatic, what is quicker",
            choices={
                "automatic": (
                    "Automatic",
                    "bfloat16 on graphics cards that have it, and the quicker one on a processor",
                ),
                "float32": ("float32", "Seven digits"),
                "bfloat16": (
                    "bfloat16",
                    "Three digits in SAM 2's image encoder, which gives nearly the same masks",
                ),
            },
            previews=True,
            group="slow",
        ),
    ] = "automatic"
    raw_photos: Annotated[
        RawSource,
        Setting(
            "RAW Photos",
            "What camera RAW photos look like, where photos that are loaded again are shown so too",
            "--raw-photos",
            "what is taken from camera RAW photos; default: developed",
            choices={
                "developed": (
                    "Developed",
                    "16 bit colours, developed in the same way for all photos",
                ),
                "camera": (
                    "Camera's JPEG",
                    "The JPEG inside, as the camera shows the photo, if it has the photo's full size",
                ),
            },
            previews=True,
            group="photos",
        ),
    ] = "developed"
    carry_clicks: Annotated[
        CarryClicks,
        Setting(
            "Carry Clicks",
            "Carry the clicks that say where a subject is to other photos, through its place in space."
            " It needs cameras",
            "--carry-clicks",
            "carry clicks through space to other photos, which needs cameras; automatic: where there are"
            " several passes; default: off",
            choices={
                "automatic": (
                    "Automatic",
                    "Where the photos have cameras and several passes",
                ),
                "on": ("Always", "Also in one pass. Without cameras this is an error"),
                "off": ("Never", "Only tracking carries masks from photo to photo"),
            },
            affects="way",
            group="lost",
        ),
    ] = "off"

    def without_way(self) -> Self:
        """Return a copy with defaults for settings that decide only the way through the frames."""
        way = {
            one.name: one.default for one in declared(type(self)) if one.setting.affects == "way"
        }
        return msgspec.structs.replace(self, first_frame=1, last_frame=0, **way)


class BakeSettings(Settings, frozen=True):
    """How mattes become alpha. The order is: fill, drop, grow, feather, invert.

    Attributes
    ----------
    alpha
        "binary": alpha is 0 or full, and the edge is where the logits are 0. "soft": a narrow band
        around that edge has the uncertainty of the model.
    refine_edges
        Take the edge from the photo itself, with the edge model, and not from the grid of the matte.
        Masks that the user drew stay as they are.
    grow_px
        Moves the edge outwards by this distance, px; negative values move it inwards.
    feather_px
        Width of the ramp that replaces a hard edge, px; 0 leaves the edge as it is.
    fill_holes_px
        Enclosed holes with fewer px than this are closed.
    drop_specks_px
        Separate parts with fewer px than this are removed.
    invert
        Keep everything except the objects. Only for files from before subjects had roles.
    black_rgb
        Multiply the colours by alpha. For trainers that expect a black background; off for Postshot.
    sidecar_masks
        Also write black-and-white masks to "<output folder>_masks". "postshot": each has the name of its
        image. "colmap": ".png" is added to the complete name of the image, for COLMAP run over the
        images. "colmap_photos": ".png" is added to the name of the photo, for COLMAP run over the photos.
    exposure
        Stops added to floating-point photos before their view transform.
    upright
        Turn the pixels of each image upright, as its photo's EXIF orientation says, and reset the tag.
        Otherwise pixels and tag stay as the photo has them.
    clip_to_hull
        Remove what is outside of the hull that the masks of all photos agree on in 3D. It needs cameras.
        Masks that the user drew, and photos with prompts, stay as they are.
    hull_margin_px
        How far a mask may reach beyond the hull, px.
    """

    error: ClassVar[type[SplatError]] = BakeError

    alpha: Annotated[
        Alpha,
        Setting(
            "Alpha",
            "Whether the edge of the mask is hard or smooth",
            "--alpha",
            "default: binary, a hard edge",
            choices={
                "binary": ("Binary", "Keep each pixel or mask it, as Postshot wants it"),
                "soft": ("Soft", "Make a smooth edge, from how sure the model is"),
            },
            affects="bake",
            group="edges",
        ),
    ] = "binary"
    refine_edges: Annotated[
        bool,
        Setting(
            "Refine Edges",
            "Take the edge from the photo's own pixels in the bake, in sharp photos of 1,200 px and"
            " more, at some seconds a photo",
            "--refine-edges",
            "take edges from the photo's own pixels",
            affects="bake",
            group="edges",
        ),
    ] = False
    grow_px: Annotated[
        float,
        Meta(ge=-MAX_GROW_PX, le=MAX_GROW_PX),
        Setting(
            "Grow",
            "Move the edge outwards, or inwards if negative, in px of the photo",
            "--grow",
            "move the edge outwards, or inwards if negative",
            unit="px",
            soft=(-20, 20),
            affects="bake",
            group="front",
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
            group="front",
        ),
    ] = 0.0
    fill_holes_px: Annotated[
        int,
        Meta(ge=0, le=MANY),
        Setting(
            "Fill Holes",
            "Fill holes of fewer pixels than this",
            "--fill-holes",
            "fill holes of fewer pixels than this",
            unit="px",
            soft=(0, 10000),
            affects="bake",
            group="holes",
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
            group="holes",
        ),
    ] = 0
    invert: Annotated[
        bool,
        Setting(
            "Invert",
            "Mask the subjects and keep the rest",
            "--invert",
            "mask the subjects and keep the rest (better: --remove)",
            affects="bake",
            group="other",
        ),
    ] = False
    black_rgb: Annotated[
        bool,
        Setting(
            "Black Background",
            "Multiply the colour by the alpha, for trainers that ignore the alpha (not for Postshot)",
            "--black-rgb",
            "multiply colour by alpha",
            affects="bake",
            group="other",
        ),
    ] = False
    sidecar_masks: Annotated[
        Sidecar,
        Setting(
            "Mask Files",
            "Write black-and-white masks too, and name them as this trainer wants",
            "--masks",
            "write mask files too, named as this trainer wants",
            choices={
                "none": ("None", "Write only the RGBA images"),
                "postshot": (
                    "Postshot",
                    "A folder of masks beside the images, with the names of the images",
                ),
                "colmap": (
                    "COLMAP (PNGs)",
                    "A folder of masks for COLMAP run on the PNGs, where the mask of a.png is a.png.png",
                ),
                "colmap_photos": (
                    "COLMAP (Photos)",
                    "A folder of masks for COLMAP run on the photos, where the mask of a.jpg is a.jpg.png",
                ),
            },
            affects="bake",
            group="other",
        ),
    ] = "none"
    exposure: Annotated[
        float,
        Meta(ge=-MAX_EXPOSURE, le=MAX_EXPOSURE),
        Setting(
            "Exposure",
            "Make EXR and float photos brighter or darker by so many stops, before they become 16 bit",
            "--exposure",
            "make EXR and float photos brighter, or darker if negative",
            unit="stops",
            soft=(-8, 8),
            affects="bake",
            group="other",
        ),
    ] = 0.0
    upright: Annotated[
        bool,
        Setting(
            "Turn Upright",
            "Turn the pixels of photos that a camera stored lying on their side, and reset their"
            " orientation tag, for programs that ignore this tag",
            "--upright",
            "turn stored pixels upright and reset the orientation tag; default: keep both",
            affects="bake",
            group="other",
        ),
    ] = False
    clip_to_hull: Annotated[
        bool,
        Setting(
            "Clip to Hull",
            "Remove what masks have where most other photos say that there is nothing, for photos with"
            " known cameras",
            "--clip-to-hull",
            "remove what most other photos say is not there; it needs cameras",
            affects="bake",
            group="lost",
        ),
    ] = False
    hull_margin_px: Annotated[
        float,
        Meta(ge=0.0, le=MAX_GROW_PX),
        Setting(
            "Hull Margin",
            "How far a mask may reach beyond the hull, in px of the photo",
            "--hull-margin",
            "how far a mask may reach beyond the hull; default: 8",
            unit="px",
            soft=(0, 50),
            affects="bake",
            group="lost",
        ),
    ] = 8.0


class VideoSettings(Settings, frozen=True):
    """How a video becomes photos, before they are loaded.

    Attributes
    ----------
    video_photos
        The most photos that are taken.
    video_format
        "jpeg": quality 95 with full colour resolution. "png": without loss, and with more than 8 bit if
        the video has them.
    """

    error: ClassVar[type[SplatError]] = FootageError

    video_photos: Annotated[
        int,
        Meta(ge=1, le=100_000),
        Setting(
            "Photos",
            "The most photos that are taken from the video, where fewer are taken if fewer views differ",
            "--photos",
            "the most photos that are taken from a video; default: 200",
            unit="photos",
            soft=(10, 1000),
            affects="photos",
        ),
    ] = 200
    video_format: Annotated[
        VideoFormat,
        Setting(
            "Format",
            "The kind of file that the photos of the video are",
            "--photo-format",
            "the kind of file of a video's photos; default: jpeg",
            choices={
                "jpeg": ("JPEG", "Quality 95 with full colour resolution, for small files"),
                "png": ("PNG", "Without loss, and with 16 bit if the video has more than 8"),
            },
            affects="photos",
        ),
    ] = "jpeg"


CLIP_SETTINGS: Final[tuple[type[Settings], ...]] = (ModelSettings, RunSettings, BakeSettings)
"""All structs whose settings belong to a clip."""


@dataclass(frozen=True)
class Speed:
    """One mode of speed.

    Attributes
    ----------
    name
        Its name in settings and manifests.
    input_sizes
        Side of the square input for each side that a model was trained for, px. A model with a small
        input loses less of it, because it has little to spare.
    pooled
        Whether a frame attends to only a quarter of the cells of each memory.
    """

    name: SpeedName
    input_sizes: Mapping[int, int] = field(default_factory=dict)
    pooled: bool = True

    def input_size(self, own: int) -> int:
        """Return the side of the input, px, for a model that was trained for ``own``."""
        return self.input_sizes.get(own, own)


QUALITY = Speed("quality", pooled=False)
BALANCED = Speed("balanced", {1024: 768, 512: 448})
FAST = Speed("fast", {1024: 512, 512: 384})
SPEEDS = (QUALITY, BALANCED, FAST)


def speed_named(name: str) -> Speed:
    """Return the mode with this name; raises PromptError if there is none."""
    for speed in SPEEDS:
        if speed.name == name:
            return speed
    raise PromptError(
        f"There is no speed called {name!r}.",
        f"Choose one of {', '.join(speed.name for speed in SPEEDS)}.",
    )
