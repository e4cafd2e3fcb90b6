# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings a clip carries (``MovieClip.sam2_splat``), saved in the .blend.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

import math
from typing import Any

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

OVERLAY_ITEMS = (
    ("color", "Overlay", "The photo, with every object in its colour"),
    ("matte", "Matte", "What is kept in white, the rest in black"),
    ("cutout", "Cut-Out", "What is kept of the photo, before a checkerboard"),
)


class SAM2SPLAT_PG_object(PropertyGroup):
    """What a subject has beside its tracking object, which can carry no data of its own."""

    object_id: IntProperty(min=1)
    # Display values, so that the swatch and the overlay are the same on the screen.
    color: FloatVectorProperty(name="Color", subtype="COLOR_GAMMA", size=3, min=0.0, max=1.0)
    show: BoolProperty(
        name="Show", description="Show this object's mask and clicks in the editor", default=True
    )
    use_in_bake: BoolProperty(
        name="Bake", description="This object is kept in the baked images", default=True
    )


class SAM2SPLAT_PG_clip(PropertyGroup):
    """Everything SAM2 Splat keeps with a movie clip; also all settings of `core/settings.py`."""

    footage_folder: StringProperty(
        name="Footage",
        description="The folder of photos that this clip shows",
        subtype="DIR_PATH",
    )
    first_file: StringProperty(
        description="The photo that frame 1 shows, when the clip doesn't begin with the first one"
    )
    frame_count: IntProperty()
    photos: StringProperty(description="Name and size of every frame's photo, as JSON")
    outdated_run: StringProperty(
        description="The run whose mattes are of these photos as they were before some came or went"
    )
    unreadable_count: IntProperty()
    unreadable_names: StringProperty(description="Photos that were left out, as JSON")
    damaged_names: StringProperty(
        description="Photos that the last job found damaged and left out, as JSON"
    )
    store_folder: StringProperty(
        name="Mattes", description="Where the results are kept", subtype="DIR_PATH"
    )
    # Of the run that its mattes are of; see `clip/matte_run.py`.
    run_stamp: StringProperty()
    mask: PointerProperty(
        type=bpy.types.Mask, name="Mask", description="The mask that shows the results"
    )
    objects: CollectionProperty(type=SAM2SPLAT_PG_object)
    # As they were when last looked at; see `clip/markers.py`.
    seen_subjects: StringProperty()
    # Ids are not given twice: the mattes of a removed object may still be on disk.
    next_object_id: IntProperty(default=1, min=1)
    fine_frames: StringProperty(
        description="Frames that the user has ticked in the review, as JSON"
    )
    anew_frames: StringProperty(
        description="Frames whose clicks alone say where an object is, as JSON"
    )
    mask_prompts: StringProperty(
        description="Mask prompts as JSON; clicks and boxes are markers, masks have no marker"
    )

    checkpoint: StringProperty(
        name="Checkpoint",
        description="A checkpoint file of your own; empty: the model folder of the preferences",
        subtype="FILE_PATH",
    )
    edits_prompt: BoolProperty(
        name="Learn from Edits",
        description="A frame whose mask you edited is a prompt for the frames around it, in place of"
        " its clicks; off: it is kept as you drew it, and the others don't follow it",
        default=True,
    )
    use_range: BoolProperty(
        name="Range", description="Propagate over a part of the footage only", default=False
    )
    first_frame: IntProperty(
        name="First", description="First frame (of the clip)", default=1, min=1
    )
    last_frame: IntProperty(name="Last", description="Last frame (of the clip)", default=1, min=1)

    bake_folder: StringProperty(
        name="Bake To",
        description="The folder that gets a new folder with each bake; empty: beside the photos",
        subtype="DIR_PATH",
    )
    output_folder: StringProperty(
        name="Last Bake", description="Where the last bake went", subtype="DIR_PATH"
    )


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

    show_overlay: BoolProperty(
        name="Masks", description="Show the masks over the photo", default=True
    )
    overlay_mode: EnumProperty(name="View", items=OVERLAY_ITEMS, default="color")
    overlay_opacity: FloatProperty(
        name="Opacity",
        description="Of the colours over the photo",
        subtype="FACTOR",
        default=0.4,
        min=0.0,
        max=1.0,
    )
    show_clicks: BoolProperty(
        name="Clicks", description="Show clicks and boxes over the photo", default=True
    )
    follow: BoolProperty(
        name="Follow",
        description="The playhead goes along with the frames as their masks arrive",
        default=False,
    )
    live_preview: BoolProperty(
        name="Live Preview",
        description="Show the mask of this frame right after a click",
        default=True,
    )


class SAM2SPLAT_PG_window(PropertyGroup):
    """What is neither saved nor undone."""

    use_tool: BoolProperty(
        name="Mask Clicks",
        description="Click to include, Alt+click to exclude, drag a box, X to delete what is under"
        " the mouse; off: Blender's own mouse buttons",
        default=False,
    )


CLASSES = (
    SAM2SPLAT_PG_object,
    SAM2SPLAT_PG_clip,
    SAM2SPLAT_PG_scene,
    SAM2SPLAT_PG_window,
)


def attach() -> None:
    """Hang the settings onto Blender's types, once the classes are registered."""
    bpy.types.MovieClip.sam2_splat = PointerProperty(type=SAM2SPLAT_PG_clip)
    bpy.types.WindowManager.sam2_splat = PointerProperty(type=SAM2SPLAT_PG_window)
    bpy.types.Scene.sam2_splat = PointerProperty(type=SAM2SPLAT_PG_scene)


def detach() -> None:
    """Take the settings off Blender's types."""
    del bpy.types.Scene.sam2_splat
    del bpy.types.WindowManager.sam2_splat
    del bpy.types.MovieClip.sam2_splat
