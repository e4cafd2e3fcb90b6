# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a clip (``MovieClip.sam2_splat``), saved in the .blend file.

`of_clip`, `of_scene` and `of_window` return them with their types. A property is declared as
``Annotated[type, XProperty(...)]``. The type is for readers and mypy, and Blender registers the call.

No ``from __future__ import annotations`` here: `take_properties` reads annotations as values.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_origin

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)
from bpy.types import PropertyGroup

from ...core.settings import CLIP_SETTINGS, ROLES, Declared, Role, Settings, VideoSettings, declared
from ...core.targets import DEFAULT, TARGETS
from .. import ADDON_PACKAGE
from ..translations.catalogue import CONTEXT
from . import editors
from .present import present

if TYPE_CHECKING:
    from ...core.settings import Alpha, ModelName, RawSource, VideoFormat

T = TypeVar("T")
# The name of our settings on each of Blender's types.
_NAME = "sam2_splat"

OVERLAY_ITEMS = (
    ("color", "Color", "Show the photo, with every subject in its colour"),
    ("matte", "Mask", "Show what is kept in white, and the rest in black"),
    ("cutout", "Cut-Out", "Show only what is kept of the photo, over a checkerboard"),
    (
        "trainer",
        "Trainer",
        "Show the photo as the first chosen trainer uses it: kept, black, or hatched where it does not"
        " look",
    ),
)

_ROLE_ICONS: dict[Role, str] = {"keep": "CHECKMARK", "remove": "TRASH", "ignore": "GHOST_ENABLED"}
ROLE_ITEMS = tuple(
    (role, label, text, _ROLE_ICONS[role], place)
    for place, (role, (label, text)) in enumerate(ROLES.items())
)
# Several at once: each has a bit of its own.
TARGET_ITEMS = tuple(
    (target.name, target.label, target.text, "NONE", 1 << place)
    for place, target in enumerate(TARGETS)
)


if TYPE_CHECKING:

    class Rows(Generic[T]):
        """The parts of a ``CollectionProperty`` that we use. Blender's stub does not know the item type."""

        def __iter__(self) -> Iterator[T]: ...
        def __len__(self) -> int: ...
        def __getitem__(self, key: int | str) -> T: ...
        def __contains__(self, name: str) -> bool: ...
        def get(self, name: str) -> T | None: ...
        def find(self, name: str) -> int: ...
        def keys(self) -> list[str]: ...
        def add(self) -> T: ...
        def clear(self) -> None: ...
        def remove(self, index: int) -> None: ...


class SAM2SPLAT_PG_object(PropertyGroup):
    """The data of a subject. Its tracking object can't have data of ours."""

    object_id: Annotated[int, IntProperty(min=1)]
    # Display values, so that the swatch and the overlay have the same colour on the screen.
    color: Annotated[
        Sequence[float],
        FloatVectorProperty(name="Color", subtype="COLOR_GAMMA", size=3, min=0.0, max=1.0),
    ]
    show: Annotated[
        bool,
        BoolProperty(
            name="Show",
            description="Show this subject's mask and clicks in the editor",
            default=True,
        ),
    ]
    use_in_bake: Annotated[
        bool,
        BoolProperty(
            name="Bake", description="Use this subject in the bake, in its role", default=True
        ),
    ]
    role: Annotated[
        str,
        EnumProperty(
            name="Role",
            description="What the bake does with this subject",
            items=ROLE_ITEMS,
            default="keep",
        ),
    ]


class SAM2SPLAT_PG_clip(PropertyGroup):
    """All data of a movie clip, including the settings of `core/settings.py`."""

    footage_folder: Annotated[
        str,
        StringProperty(
            name="Footage",
            description="The folder of photos that this clip shows",
            subtype="DIR_PATH",
        ),
    ]
    first_file: Annotated[
        str,
        StringProperty(
            description="The photo on frame 1, if the clip does not begin with the first photo"
        ),
    ]
    frame_count: Annotated[int, IntProperty()]
    photos: Annotated[
        str, StringProperty(description="Name and size of every frame's photo, as JSON")
    ]
    photo_sizes: Annotated[
        str, StringProperty(description="Size in pixels and orientation of the photos, as JSON")
    ]
    shows_upright: Annotated[
        bool, BoolProperty(description="Whether the clip shows upright copies of the photos")
    ]
    outdated_run: Annotated[
        str,
        StringProperty(
            description="The run whose masks belong to these photos before some were added or removed"
        ),
    ]
    with_subfolders: Annotated[
        bool, BoolProperty(description="Whether the photos in subfolders are among this clip's")
    ]
    queued: Annotated[
        bool, BoolProperty(description="Whether this capture is in the queue of the panel")
    ]
    found_masks: Annotated[int, IntProperty(description="Number of photos with a mask beside them")]
    has_raw: Annotated[
        bool, BoolProperty(description="Whether some photos of this clip are camera RAW")
    ]
    has_linear: Annotated[
        bool, BoolProperty(description="Whether some photos of this clip have scene-linear values")
    ]
    unreadable_count: Annotated[int, IntProperty()]
    unreadable_names: Annotated[
        str, StringProperty(description="Photos that were left out, as JSON")
    ]
    damaged_names: Annotated[
        str,
        StringProperty(
            description="Photos that the last run left out because they are damaged, as JSON"
        ),
    ]
    store_folder: Annotated[
        str,
        StringProperty(name="Masks", description="The folder of the masks", subtype="DIR_PATH"),
    ]
    # The stamp of the run that made the mattes; see `clip/matte_run.py`.
    run_stamp: Annotated[str, StringProperty()]
    mask: Annotated[
        bpy.types.Mask | None,
        PointerProperty(
            type=bpy.types.Mask, name="Mask", description="The Blender mask that shows the results"
        ),
    ]
    objects: Annotated["Rows[SAM2SPLAT_PG_object]", CollectionProperty(type=SAM2SPLAT_PG_object)]
    # The subjects at the last look; see `clip/markers.py`.
    seen_subjects: Annotated[str, StringProperty()]
    # An id is never used twice, because the mattes of a removed object may still be on disk.
    next_object_id: Annotated[int, IntProperty(default=1, min=1)]
    fine_frames: Annotated[
        str, StringProperty(description="Frames that the user has ticked in the review, as JSON")
    ]
    anew_frames: Annotated[
        str,
        StringProperty(
            description="Frames on which only the clicks say where a subject is, as JSON"
        ),
    ]
    mask_prompts: Annotated[
        str,
        StringProperty(
            description="Masks that are prompts, as JSON. Clicks and boxes are markers instead"
        ),
    ]

    checkpoint: Annotated[
        str,
        StringProperty(
            name="Checkpoint",
            description="Your own checkpoint file, or empty for the model folder",
            subtype="FILE_PATH",
        ),
    ]
    edits_prompt: Annotated[
        bool,
        BoolProperty(
            name="Learn from Edits",
            description="Let the frames around an edited mask follow it",
            default=True,
        ),
    ]
    use_range: Annotated[
        bool,
        BoolProperty(
            name="Range", description="Propagate over a part of the photos only", default=False
        ),
    ]
    first_frame: Annotated[
        int, IntProperty(name="First", description="First frame (of the clip)", default=1, min=1)
    ]
    last_frame: Annotated[
        int, IntProperty(name="Last", description="Last frame (of the clip)", default=1, min=1)
    ]

    targets: Annotated[
        set[str],
        EnumProperty(
            name="Trainers",
            description="The trainers that a bake writes files for",
            items=TARGET_ITEMS,
            options={"ANIMATABLE", "ENUM_FLAG"},
            default={DEFAULT},
        ),
    ]
    bake_folder: Annotated[
        str,
        StringProperty(
            name="Bake To",
            description="Where each bake makes a new folder, or empty for beside the photos",
            subtype="DIR_PATH",
        ),
    ]
    cameras: Annotated[
        str,
        StringProperty(
            name="Cameras",
            description="The file or folder of the photos' cameras: of COLMAP, nerfstudio, RealityScan or a"
            " trainer. Empty looks beside and above the photos",
            subtype="FILE_PATH",
        ),
    ]
    output_folder: Annotated[
        str,
        StringProperty(
            name="Last Bake", description="The folder of the last bake", subtype="DIR_PATH"
        ),
    ]

    if TYPE_CHECKING:
        # The settings of `core/settings.py` that Blender's side reads by name. `declare` makes all of them.
        model: ModelName
        panorama: bool
        raw_photos: RawSource
        alpha: Alpha
        grow_px: float
        feather_px: float
        fill_holes_px: int
        drop_specks_px: int
        invert: bool
        exposure: float


def property_of(one: Declared, **more: Any) -> Any:
    """Return the Blender property of a declared setting, for a class's annotations."""
    setting = one.setting
    about = {"name": setting.label, "description": setting.text, "default": one.default, **more}
    if one.values:
        return EnumProperty(
            items=[(value, *setting.choices[value]) for value in one.values], **about
        )
    if one.kind is bool:
        return BoolProperty(**about)
    bounds = {"min": one.low, "max": one.high}
    about |= {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    if setting.unit == "px":
        about["subtype"] = "PIXEL"  # Blender writes the unit behind the number
    if setting.soft is not None:
        about["soft_min"], about["soft_max"] = setting.soft
    return (IntProperty if one.kind is int else FloatProperty)(**about)


def declare(group: type[PropertyGroup], kind: type[Settings], **more: Any) -> None:
    """Add the properties of a struct's settings to a class. It must not be registered yet.

    ``more`` are further arguments of each property.
    """
    group.__annotations__.update((one.name, property_of(one, **more)) for one in declared(kind))


for _kind in CLIP_SETTINGS:
    declare(SAM2SPLAT_PG_clip, _kind)


class SAM2SPLAT_PG_scene(PropertyGroup):
    """How masks and clicks look in this scene's Clip Editors."""

    show_overlay: Annotated[
        bool, BoolProperty(name="Masks", description="Show the masks over the photo", default=True)
    ]
    overlay_mode: Annotated[str, EnumProperty(name="View", items=OVERLAY_ITEMS, default="color")]
    overlay_opacity: Annotated[
        float,
        FloatProperty(
            name="Opacity",
            description="Opacity of the colours over the photo",
            subtype="FACTOR",
            default=0.4,
            min=0.0,
            max=1.0,
        ),
    ]
    show_clicks: Annotated[
        bool,
        BoolProperty(
            name="Clicks", description="Show clicks and boxes over the photo", default=True
        ),
    ]
    queue_bakes: Annotated[
        bool,
        BoolProperty(
            name="Bake Too",
            description="Bake each capture of the queue after its propagation, without a look at its masks",
            default=False,
        ),
    ]
    show_hull: Annotated[
        bool,
        BoolProperty(
            name="Outline in 3D",
            description="Show where all masks together say that the subject is, after a comparison in 3D",
            default=False,
        ),
    ]
    follow: Annotated[
        bool,
        BoolProperty(
            name="Follow",
            description="Move the playhead to each frame when its mask arrives",
            default=False,
        ),
    ]
    live_preview: Annotated[
        bool,
        BoolProperty(
            name="Live Preview",
            description="Show the mask of this frame right after a click",
            default=True,
        ),
    ]


class SAM2SPLAT_PG_window(PropertyGroup):
    """Settings that are neither saved nor undone."""

    use_tool: Annotated[
        bool,
        BoolProperty(
            name="Mask Clicks",
            description="Click to include, Alt+click to exclude, drag a box, or press X to delete a click",
            default=False,
        ),
    ]
    use_exclude: Annotated[
        bool,
        BoolProperty(
            name="Exclude",
            description="A click says what does not belong to the subject. Alt+click does the opposite",
            default=False,
        ),
    ]
    use_brush: Annotated[
        bool,
        BoolProperty(
            name="Mask Brush",
            description="Paint on the active subject's mask of this photo",
            default=False,
        ),
    ]
    use_eraser: Annotated[
        bool,
        BoolProperty(
            name="Eraser",
            description="The brush takes away. Ctrl switches between painting and erasing",
            default=False,
        ),
    ]
    brush_px: Annotated[
        int,
        IntProperty(
            name="Size",
            description="Radius of the brush on the screen",
            default=25,
            min=1,
            soft_max=250,
            max=2000,
            subtype="PIXEL",
        ),
    ]
    video_folder: Annotated[
        str,
        StringProperty(
            name="Folder",
            description="Where the photos of the video get a new folder, or empty for beside the video",
            subtype="DIR_PATH",
        ),
    ]

    if TYPE_CHECKING:
        video_photos: int
        video_format: VideoFormat


def _redraw(_: Any, __: bpy.types.Context) -> None:
    """Let the strip over the picture follow a number in the sidebar."""
    editors.redraw()


declare(SAM2SPLAT_PG_window, VideoSettings, update=_redraw)


CLASSES = (
    SAM2SPLAT_PG_object,
    SAM2SPLAT_PG_clip,
    SAM2SPLAT_PG_scene,
    SAM2SPLAT_PG_window,
)


_OWNERS = (
    (bpy.types.MovieClip, SAM2SPLAT_PG_clip),
    (bpy.types.WindowManager, SAM2SPLAT_PG_window),
    (bpy.types.Scene, SAM2SPLAT_PG_scene),
)


def take_properties(cls: type) -> None:
    """Replace each ``Annotated[type, property]`` in a class's annotations by the property, for Blender.

    Call it before the class is registered.
    """
    for base in cls.__mro__:
        notes = getattr(base, "__annotations__", {})
        if any(get_origin(note) is Annotated for note in notes.values()):
            # Set as a whole: from Python 3.14 on, a class makes its annotations when they are asked for.
            base.__annotations__ = {
                name: note.__metadata__[0] if get_origin(note) is Annotated else note
                for name, note in notes.items()
            }


def use_own_words(cls: Any) -> None:
    """Let Blender look up the words of a class and its properties among our translations, not its own.

    Call it after `take_properties`, and before the class is registered.
    """
    if hasattr(cls, "bl_label"):
        cls.bl_translation_context = CONTEXT
    own = [base for base in cls.__mro__ if base.__module__.startswith(f"{ADDON_PACKAGE}.")]
    for base in own:  # a base class of Blender's is not ours to change
        for note in getattr(base, "__annotations__", {}).values():
            if hasattr(note, "keywords"):  # what `bpy.props` has made
                note.keywords.setdefault("translation_context", CONTEXT)


def pointer(group: type[PropertyGroup]) -> Any:
    """Return the property that adds our group to one of Blender's types."""
    return PointerProperty(type=group)


def attach() -> None:
    """Add the settings to Blender's types, after the classes are registered."""
    for owner, group in _OWNERS:
        setattr(owner, _NAME, pointer(group))


def detach() -> None:
    """Remove the settings from Blender's types."""
    for owner, _ in reversed(_OWNERS):
        delattr(owner, _NAME)


def of_clip(clip: bpy.types.MovieClip) -> SAM2SPLAT_PG_clip:
    """Return our data of a clip."""
    settings: SAM2SPLAT_PG_clip = getattr(clip, _NAME)
    return settings


def of_scene(scene: bpy.types.Scene | None) -> SAM2SPLAT_PG_scene:
    """Return how masks and clicks look in a scene, such as ``context.scene``."""
    look: SAM2SPLAT_PG_scene = getattr(present(scene), _NAME)
    return look


def of_window(manager: bpy.types.WindowManager | None) -> SAM2SPLAT_PG_window:
    """Return the settings that are neither saved nor undone, of ``context.window_manager``."""
    state: SAM2SPLAT_PG_window = getattr(present(manager), _NAME)
    return state
