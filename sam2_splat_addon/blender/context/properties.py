# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings a clip carries (``MovieClip.sam2_splat``), saved in the .blend; imports bpy.

No ``from __future__ import annotations`` here: Blender reads property annotations as values.
"""

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

from ...core.bake_plan import MAX_EXPOSURE

# The model that needs no checkpoint file.
BUNDLED = "bundled"

MODEL_ITEMS = (
    (
        BUNDLED,
        "Bundled (small)",
        "The small model that comes with the add-on: quick, no download, less exact",
    ),
    ("sam2.1_hiera_tiny", "SAM 2.1 Tiny", "156 MB checkpoint"),
    ("sam2.1_hiera_small", "SAM 2.1 Small", "184 MB checkpoint"),
    ("sam2.1_hiera_base_plus", "SAM 2.1 Base+", "324 MB checkpoint"),
    ("sam2.1_hiera_large", "SAM 2.1 Large", "898 MB checkpoint: the most exact"),
)

DIRECTION_ITEMS = (
    ("both", "Both Ways", "From the prompted frames to both ends of the range"),
    ("forward", "Forwards", "From the prompted frames to the end of the range"),
    ("backward", "Backwards", "From the prompted frames to the start of the range"),
)

SPEED_ITEMS = (
    ("quality", "Quality", "All that the model can do"),
    (
        "balanced",
        "Balanced",
        "Photos are seen smaller, and memory is coarser: about 1.5 times as fast with the bundled"
        " model, 3 times with SAM 2.1 on a CPU. Thin parts suffer first",
    ),
    (
        "fast",
        "Fast",
        "Smaller still: about twice as fast with the bundled model, 7 times with SAM 2.1 on a CPU."
        " Edges are coarser, and thin parts may get lost",
    ),
)

MEMORY_ITEMS = (
    ("exact", "Exact", "Every frame is remembered, as SAM 2 does it"),
    (
        "guarded",
        "Guarded",
        "Doubtful frames are not remembered, and where little speaks for the object it counts as"
        " hidden: for objects that get hidden, and among things that look like them",
    ),
)

LOOK_ITEMS = (
    ("off", "Off", "Masks are what SAM 2 finds in whole photos"),
    (
        "whole",
        "Whole Object",
        "Once more in a crop around the object: about twice the time, masks twice as fine",
    ),
    (
        "parts",
        "Object and Parts",
        "In a crop around the object, then in four parts of it where the photos are large enough: for"
        " thin legs and rails. In real photos of 480 to 1,200 px it gained nothing over Whole Object. About"
        " five times the time, masks four times as fine",
    ),
    (
        "details",
        "Parts and Details",
        "As before, then in nine smaller parts, for the best masks of large photos. About ten times the"
        " time",
    ),
)

ALPHA_ITEMS = (
    ("binary", "Binary", "Every pixel is kept or masked: what Postshot wants"),
    ("soft", "Soft", "A smooth edge, from how sure the model is"),
)

SIDECAR_ITEMS = (
    ("none", "None", "Only the RGBA images"),
    ("postshot", "Postshot", "A folder of masks beside the images, named as these"),
    ("colmap", "COLMAP (PNGs)", "A folder of masks for COLMAP run over the PNGs: named a.png.png"),
    (
        "colmap_photos",
        "COLMAP (Photos)",
        "A folder of masks for COLMAP run over the photos: named a.jpg.png",
    ),
)

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
    """Everything SAM2 Splat keeps with a movie clip."""

    footage_folder: StringProperty(
        name="Footage",
        description="The folder of photos that this clip shows",
        subtype="DIR_PATH",
    )
    first_file: StringProperty(
        description="The photo that frame 1 shows, when the clip doesn't begin with the first one"
    )
    frame_count: IntProperty()
    photos: StringProperty(
        description="Name and size of every frame's photo, as JSON; empty in older files"
    )
    outdated_run: StringProperty(
        description="The run whose mattes are of these photos as they were before some came or went"
    )
    unreadable_count: IntProperty()
    unreadable_names: StringProperty(description="As JSON; one a line in older files")
    damaged_names: StringProperty(
        description="Photos that the last job found damaged and left out, as JSON"
    )
    store_folder: StringProperty(
        name="Mattes", description="Where the results are kept", subtype="DIR_PATH"
    )
    # Of the run that its mattes are of; see `own_runs`.
    run_stamp: StringProperty()
    mask: PointerProperty(
        type=bpy.types.Mask, name="Mask", description="The mask that shows the results"
    )
    objects: CollectionProperty(type=SAM2SPLAT_PG_object)
    # As they were when last looked at; see `clip_prompts`.
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

    model: EnumProperty(name="Model", items=MODEL_ITEMS, default="bundled")
    checkpoint: StringProperty(
        name="Checkpoint",
        description="A checkpoint file of your own; empty: the model folder of the preferences",
        subtype="FILE_PATH",
    )
    speed: EnumProperty(
        name="Speed",
        description="How much exactness to give for time. Another speed computes all mattes anew",
        items=SPEED_ITEMS,
        default="quality",
    )
    memory: EnumProperty(
        name="Memory",
        description="What a frame learns from the frames before it. Another choice computes all"
        " mattes anew",
        items=MEMORY_ITEMS,
        default="exact",
    )
    both_sides: BoolProperty(
        name="Both Sides",
        description="A frame between two with clicks is tracked from both, and the better mask is"
        " taken, so clicks help the frames before them too. Takes about twice the time between the"
        " first and the last frame with clicks",
        default=False,
    )
    second_look: EnumProperty(
        name="Second Look",
        description="Each mask is looked at once more, close up, for finer edges and thin parts",
        items=LOOK_ITEMS,
        default="off",
    )
    panorama: BoolProperty(
        name="Panorama (360°)",
        description="The photos go all the way round, twice as wide as high: an object may lie"
        " across their left and right edges. One whose clicks are close together is looked at in the"
        " half around it",
        default=False,
    )
    direction: EnumProperty(name="Direction", items=DIRECTION_ITEMS, default="both")
    nearby_prompts: IntProperty(
        name="Nearby Clicks",
        description="0: every frame sees all frames with clicks that are known by then. Otherwise it"
        " sees only that many of them on either side, and memory begins anew at each",
        default=0,
        min=0,
        soft_max=8,
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

    alpha: EnumProperty(name="Alpha", items=ALPHA_ITEMS, default="binary")
    refine_edges: BoolProperty(
        name="Refine Edges",
        description="Take the edge from the photo's own pixels instead of the mask's coarse grid: for"
        " sharp photos of 1,200 px and more. In small or compressed ones, such as 480p video frames, it gains"
        " hardly anything, and it mends no mask that is wrong. Slower, on an NVIDIA card where there is"
        " one; frames whose mask you edited stay as you drew them",
        default=False,
    )
    invert: BoolProperty(
        name="Invert", description="Mask the subject and keep the rest", default=False
    )
    grow_px: FloatProperty(
        name="Grow",
        description="Move the edge outwards, or inwards when negative, in px of the photo",
        default=0.0,
        soft_min=-20.0,
        soft_max=20.0,
    )
    feather_px: FloatProperty(
        name="Feather",
        description="Width of the soft edge, in px of the photo",
        default=0.0,
        min=0.0,
        soft_max=20.0,
    )
    fill_holes_px: IntProperty(
        name="Fill Holes",
        description="Fill holes of fewer pixels than this",
        default=0,
        min=0,
        soft_max=10000,
    )
    drop_specks_px: IntProperty(
        name="Drop Specks",
        description="Drop separate parts of fewer pixels than this",
        default=0,
        min=0,
        soft_max=10000,
    )
    black_rgb: BoolProperty(
        name="Black Background",
        description="Multiply the colour by the alpha, for trainers that ignore the alpha;"
        " Postshot wants this off",
        default=False,
    )
    sidecar_masks: EnumProperty(name="Mask Files", items=SIDECAR_ITEMS, default="none")
    exposure: FloatProperty(
        name="Exposure",
        description="Of EXR and float photos on their way to 16 bit, in stops",
        default=0.0,
        min=-MAX_EXPOSURE,
        max=MAX_EXPOSURE,
        soft_min=-8.0,
        soft_max=8.0,
    )
    bake_folder: StringProperty(
        name="Bake To",
        description="The folder that gets a new folder with each bake; empty: beside the photos",
        subtype="DIR_PATH",
    )
    output_folder: StringProperty(
        name="Last Bake", description="Where the last bake went", subtype="DIR_PATH"
    )


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
