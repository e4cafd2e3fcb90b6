# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings a clip carries (``MovieClip.sam2_splat``), saved in the .blend.

`of_clip`, `of_scene` and `of_window` give them with their types. A property is declared as
``Annotated[type, XProperty(...)]``: the type is for readers and mypy, the call is what Blender registers.

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

from ...core.settings import CLIP_SETTINGS, Declared, Settings, declared
from .present import present

if TYPE_CHECKING:
    from ...core.settings import Alpha, ModelName

T = TypeVar("T")
# What our settings are called on each of Blender's types.
_NAME = "sam2_splat"

OVERLAY_ITEMS = (
    ("color", "Overlay", "The photo, with every object in its colour"),
    ("matte", "Matte", "What is kept in white, the rest in black"),
    ("cutout", "Cut-Out", "What is kept of the photo, before a checkerboard"),
)


if TYPE_CHECKING:

    class Rows(Generic[T]):
        """A ``CollectionProperty``, as far as we use it: Blender's stub forgets what it holds."""

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
    """What a subject has beside its tracking object, which can carry no data of its own."""

    object_id: Annotated[int, IntProperty(min=1)]
    # Display values, so that the swatch and the overlay are the same on the screen.
    color: Annotated[
        Sequence[float],
        FloatVectorProperty(name="Color", subtype="COLOR_GAMMA", size=3, min=0.0, max=1.0),
    ]
    show: Annotated[
        bool,
        BoolProperty(
            name="Show",
            description="Show this object's mask and clicks in the editor",
            default=True,
        ),
    ]
    use_in_bake: Annotated[
        bool,
        BoolProperty(
            name="Bake", description="This object is kept in the baked images", default=True
        ),
    ]


class SAM2SPLAT_PG_clip(PropertyGroup):
    """Everything SAM2 Splat keeps with a movie clip; also all settings of `core/settings.py`."""

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
            description="The photo that frame 1 shows, when the clip doesn't begin with the first one"
        ),
    ]
    frame_count: Annotated[int, IntProperty()]
    photos: Annotated[
        str, StringProperty(description="Name and size of every frame's photo, as JSON")
    ]
    outdated_run: Annotated[
        str,
        StringProperty(
            description="The run whose mattes are of these photos as they were before some came or went"
        ),
    ]
    unreadable_count: Annotated[int, IntProperty()]
    unreadable_names: Annotated[
        str, StringProperty(description="Photos that were left out, as JSON")
    ]
    damaged_names: Annotated[
        str,
        StringProperty(description="Photos that the last job found damaged and left out, as JSON"),
    ]
    store_folder: Annotated[
        str,
        StringProperty(name="Mattes", description="Where the results are kept", subtype="DIR_PATH"),
    ]
    # Of the run that its mattes are of; see `clip/matte_run.py`.
    run_stamp: Annotated[str, StringProperty()]
    mask: Annotated[
        bpy.types.Mask | None,
        PointerProperty(
            type=bpy.types.Mask, name="Mask", description="The mask that shows the results"
        ),
    ]
    objects: Annotated["Rows[SAM2SPLAT_PG_object]", CollectionProperty(type=SAM2SPLAT_PG_object)]
    # As they were when last looked at; see `clip/markers.py`.
    seen_subjects: Annotated[str, StringProperty()]
    # Ids are not given twice: the mattes of a removed object may still be on disk.
    next_object_id: Annotated[int, IntProperty(default=1, min=1)]
    fine_frames: Annotated[
        str, StringProperty(description="Frames that the user has ticked in the review, as JSON")
    ]
    anew_frames: Annotated[
        str, StringProperty(description="Frames whose clicks alone say where an object is, as JSON")
    ]
    mask_prompts: Annotated[
        str,
        StringProperty(
            description="Mask prompts as JSON; clicks and boxes are markers, masks have no marker"
        ),
    ]

    checkpoint: Annotated[
        str,
        StringProperty(
            name="Checkpoint",
            description="A checkpoint file of your own; empty: the model folder of the preferences",
            subtype="FILE_PATH",
        ),
    ]
    edits_prompt: Annotated[
        bool,
        BoolProperty(
            name="Learn from Edits",
            description="A frame whose mask you edited is a prompt for the frames around it, in place of"
            " its clicks; off: it is kept as you drew it, and the others don't follow it",
            default=True,
        ),
    ]
    use_range: Annotated[
        bool,
        BoolProperty(
            name="Range", description="Propagate over a part of the footage only", default=False
        ),
    ]
    first_frame: Annotated[
        int, IntProperty(name="First", description="First frame (of the clip)", default=1, min=1)
    ]
    last_frame: Annotated[
        int, IntProperty(name="Last", description="Last frame (of the clip)", default=1, min=1)
    ]

    bake_folder: Annotated[
        str,
        StringProperty(
            name="Bake To",
            description="The folder that gets a new folder with each bake; empty: beside the photos",
            subtype="DIR_PATH",
        ),
    ]
    output_folder: Annotated[
        str,
        StringProperty(
            name="Last Bake", description="Where the last bake went", subtype="DIR_PATH"
        ),
    ]

    if TYPE_CHECKING:
        # Those of `core/settings.py` that Blender's side reads by name. `declare` makes all of them.
        model: ModelName
        panorama: bool
        alpha: Alpha
        grow_px: float
        feather_px: float
        fill_holes_px: int
        drop_specks_px: int
        invert: bool


def property_of(one: Declared) -> Any:
    """The Blender property of a declared setting, as a class has it among its annotations."""
    setting = one.setting
    about = {"name": setting.label, "description": setting.text, "default": one.default}
    if one.values:
        return EnumProperty(
            items=[(value, *setting.choices[value]) for value in one.values], **about
        )
    if one.kind is bool:
        return BoolProperty(**about)
    bounds = {"min": one.low, "max": one.high}
    about |= {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    if setting.soft is not None:
        about["soft_min"], about["soft_max"] = setting.soft
    return (IntProperty if one.kind is int else FloatProperty)(**about)


def declare(group: type[PropertyGroup], kind: type[Settings]) -> None:
    """Give a class that is not yet registered the properties of a struct's settings."""
    group.__annotations__.update((one.name, property_of(one)) for one in declared(kind))


for _kind in CLIP_SETTINGS:
    declare(SAM2SPLAT_PG_clip, _kind)


class SAM2SPLAT_PG_scene(PropertyGroup):
    """How the results look in this scene's Clip Editors."""

    show_overlay: Annotated[
        bool, BoolProperty(name="Masks", description="Show the masks over the photo", default=True)
    ]
    overlay_mode: Annotated[str, EnumProperty(name="View", items=OVERLAY_ITEMS, default="color")]
    overlay_opacity: Annotated[
        float,
        FloatProperty(
            name="Opacity",
            description="Of the colours over the photo",
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
    follow: Annotated[
        bool,
        BoolProperty(
            name="Follow",
            description="The playhead goes along with the frames as their masks arrive",
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
    """What is neither saved nor undone."""

    use_tool: Annotated[
        bool,
        BoolProperty(
            name="Mask Clicks",
            description="Click to include, Alt+click to exclude, drag a box, X to delete what is under"
            " the mouse; off: Blender's own mouse buttons",
            default=False,
        ),
    ]


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
    """Leave of a class's annotations what Blender reads: of ``Annotated[type, property]`` the property.

    Called before the class is registered.
    """
    for base in cls.__mro__:
        notes = vars(base).get("__annotations__", {})
        for name, note in notes.items():
            if get_origin(note) is Annotated:
                notes[name] = note.__metadata__[0]


def pointer(group: type[PropertyGroup]) -> Any:
    """The property through which one of Blender's types gets a group of ours."""
    return PointerProperty(type=group)


def attach() -> None:
    """Hang the settings onto Blender's types, once the classes are registered."""
    for owner, group in _OWNERS:
        setattr(owner, _NAME, pointer(group))


def detach() -> None:
    """Take the settings off Blender's types."""
    for owner, _ in reversed(_OWNERS):
        delattr(owner, _NAME)


def of_clip(clip: bpy.types.MovieClip) -> SAM2SPLAT_PG_clip:
    """What SAM2 Splat keeps with a clip."""
    settings: SAM2SPLAT_PG_clip = getattr(clip, _NAME)
    return settings


def of_scene(scene: bpy.types.Scene | None) -> SAM2SPLAT_PG_scene:
    """How the results look in a scene, such as ``context.scene``."""
    look: SAM2SPLAT_PG_scene = getattr(present(scene), _NAME)
    return look


def of_window(manager: bpy.types.WindowManager | None) -> SAM2SPLAT_PG_window:
    """What is neither saved nor undone, of ``context.window_manager``."""
    state: SAM2SPLAT_PG_window = getattr(present(manager), _NAME)
    return state
