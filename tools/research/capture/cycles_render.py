# SPDX-License-Identifier: GPL-3.0-or-later
"""The Cycles renderer: a stage's frames as linear colour."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt
import OpenEXR

from .cycles_material import Node, build_material
from .identity import OCCLUDER
from .scene import Item, LightState, Sky
from .stage import Stage

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CyclesSettings:
    """How long Cycles works on a frame.

    Attributes
    ----------
    samples
        Rays for each pixel.
    threads
        Number of CPU threads that render.
    bounces
        How often light is reflected.
    denoise
        Whether Open Image Denoise cleans the picture.
    """

    samples: int
    threads: int
    bounces: int
    denoise: bool = True


class CyclesRenderer:
    """Build a stage in Blender's (emptied) scene and render its frames."""

    def __init__(self, stage: Stage, settings: CyclesSettings) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._stage = stage
        self._scene = _scene()
        for item in stage.items:
            _place(item)
        self._occluder = None
        for index in range(stage.plan.frames):
            occluder = stage.occluder(index)
            if occluder is not None and self._occluder is None:
                self._occluder = _place(occluder)
        self._background = _add_sky(stage.weather.sky)
        self._sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
        self._scene.collection.objects.link(self._sun)
        camera = bpy.data.cameras.new("Camera")
        camera.clip_start, camera.clip_end = 0.02, 500.0
        self._camera = bpy.data.objects.new("Camera", camera)
        self._scene.collection.objects.link(self._camera)
        self._scene.camera = self._camera
        _configure(self._scene, stage.plan.size, settings, stage.plan.seed)

    def render(self, index: int) -> FloatImage:
        """Return a frame's linear RGB, shape (H, W, 3)."""
        self.set_frame(index)
        with tempfile.TemporaryDirectory(prefix="capture-") as folder:
            path = Path(folder) / "frame.exr"
            self._scene.render.filepath = str(path)
            bpy.ops.render.render(write_still=True)
            with OpenEXR.File(str(path)) as stored:
                return stored.channels()["RGB"].pixels[..., :3].astype(np.float32)

    def set_frame(self, index: int) -> None:
        """Move camera, light and occluder to their places on a frame."""
        state, _ = self._stage.weather.at(self._stage.progress(index))
        self._scene.frame_set(index + 1)  # the noise differs from frame to frame
        self._set_light(state)
        self._set_camera(index)
        if self._occluder is not None:
            place = self._stage.occluder(index)
            # When not needed it waits far below. If we hid it, Cycles would build the scene again.
            self._occluder.location = (0.0, 0.0, -50.0) if place is None else place.at
            self._occluder.rotation_euler = (0.0, 0.0, 0.0 if place is None else place.turn)

    def _set_camera(self, index: int) -> None:
        pose = self._stage.poses[index]
        matrix = np.eye(4)
        matrix[:3, :3] = pose.axes
        matrix[:3, 3] = pose.position
        self._camera.matrix_world = matrix.T.tolist()  # Blender takes columns from a list
        camera: Any = self._camera.data
        camera.lens = pose.lens

    def _set_light(self, state: LightState) -> None:
        x, y, z = state.to_sun
        self._sun.rotation_euler = (math.acos(float(z)), 0.0, math.atan2(x, -y))
        lamp: Any = self._sun.data
        power = max(state.sun)
        lamp.energy = power
        lamp.color = tuple(c / power for c in state.sun)
        lamp.angle = state.softness
        self._background.inputs["Strength"].default_value = state.sky


def _scene() -> bpy.types.Scene:
    """The scene that is rendered."""
    scene = bpy.context.scene
    assert scene is not None
    return scene


def _place(item: Item) -> bpy.types.Object:
    """Add an item to the scene as an object."""
    model = item.model
    mesh = bpy.data.meshes.new(item.name)
    mesh.from_pydata(model.vertices, [], model.faces)
    roles = model.roles
    for role in roles:
        mesh.materials.append(build_material(role, item.finishes[role]))
    slots = np.array([roles.index(role) for role in model.face_roles], dtype=np.int32)
    mesh.polygons.foreach_set("material_index", slots)
    mesh.polygons.foreach_set("use_smooth", np.array(model.face_smooth, dtype=bool))
    mesh.update()
    placed = bpy.data.objects.new(item.name, mesh)
    placed.location = item.at
    placed.rotation_euler = (0.0, 0.0, item.turn)
    if item.lets_light_through:
        placed.visible_shadow = False
        placed.visible_diffuse = False
        placed.visible_glossy = False
    if item.instance == OCCLUDER:
        placed.visible_glossy = False  # it waits below the ground and must not show in mirrors
    _scene().collection.objects.link(placed)
    return placed


def _add_sky(sky: Sky) -> Node:
    """Make the world a gradient from the ground over the horizon to the zenith."""
    world: Any = bpy.data.worlds.new("Sky")
    _scene().world = world
    world.use_nodes = True
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 64
    tree = world.node_tree
    background = tree.nodes["Background"]
    where = tree.nodes.new("ShaderNodeTexCoord")
    split = tree.nodes.new("ShaderNodeSeparateXYZ")
    height = tree.nodes.new("ShaderNodeMapRange")  # the ramp takes 0 to 1, heights are -1 to 1
    height.inputs["From Min"].default_value = -1.0
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    elements = ramp.color_ramp.elements
    elements[0].position, elements[0].color = 0.475, (*sky.below, 1.0)
    elements[1].position, elements[1].color = 0.75, (*sky.zenith, 1.0)
    elements.new(0.5).color = (*sky.horizon, 1.0)
    tree.links.new(where.outputs["Generated"], split.inputs["Vector"])
    tree.links.new(split.outputs["Z"], height.inputs["Value"])
    tree.links.new(height.outputs["Result"], ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], background.inputs["Color"])
    return background


def _configure(
    scene: bpy.types.Scene, size: tuple[int, int], settings: CyclesSettings, seed: int
) -> None:
    render = scene.render
    cycles: Any = scene.cycles
    render.engine = "CYCLES"  # type: ignore[assignment]  # the stubs know of EEVEE alone
    render.resolution_x, render.resolution_y = size
    render.resolution_percentage = 100
    render.threads_mode = "FIXED"
    render.threads = settings.threads
    render.use_persistent_data = True
    render.use_compositing = False
    render.use_sequencer = False
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode = "RGB"
    render.image_settings.color_depth = "32"
    render.image_settings.exr_codec = "NONE"
    cycles.device = "CPU"
    cycles.samples = settings.samples
    cycles.seed = seed
    cycles.use_animated_seed = True
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = settings.denoise
    if settings.denoise:
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        cycles.denoising_prefilter = "NONE"
        cycles.denoising_quality = "FAST"
    cycles.max_bounces = settings.bounces
    cycles.diffuse_bounces = settings.bounces
    cycles.glossy_bounces = settings.bounces
    cycles.transmission_bounces = 0
    cycles.caustics_reflective = False
    cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 3.0
    cycles.use_light_tree = False
    cycles.use_auto_tile = False
