# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a mask with Blender's own compositor, to compare layers with mattes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray


class MaskRenderer:
    """Render a mask in the photos' size, frame by frame, from the current scene.

    Parameters
    ----------
    mask
        The mask to render.
    width, height
        Size of the photos in px.
    folder
        Folder of the rendered pictures.
    """

    def __init__(self, mask: bpy.types.Mask, width: int, height: int, folder: Path) -> None:
        self.width, self.height, self.folder = width, height, folder
        # Use the current scene, because Blender evaluates masks for this scene only.
        scene = bpy.context.scene
        self.scene = scene
        render = scene.render
        render.resolution_x, render.resolution_y = width, height
        render.resolution_percentage = 100
        render.dither_intensity = 0.0
        render.use_sequencer = False
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "BW"
        render.image_settings.color_depth = "8"
        if hasattr(render, "compositor_device"):
            render.compositor_device = "CPU"
        view: Any = scene.view_settings  # the names come from the colour configuration
        view.view_transform, view.look = "Raw", "None"
        tree: Any
        if hasattr(scene, "compositing_node_group"):
            tree = bpy.data.node_groups.new("mask_render", "CompositorNodeTree")
            scene.compositing_node_group = tree
            tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
            output = tree.nodes.new("NodeGroupOutput")
        else:
            scene.use_nodes = True
            tree = scene.node_tree
            tree.nodes.clear()
            output = tree.nodes.new("CompositorNodeComposite")
        node = tree.nodes.new("CompositorNodeMask")
        node.mask = mask
        if hasattr(node, "use_antialiasing"):
            node.use_antialiasing = False
        tree.links.new(node.outputs[0], output.inputs[0])

    def values(self, frame: int) -> NDArray[np.float64]:
        """Return the compositor's result on a scene frame, (height, width), 0 to 1, y down."""
        self.scene.frame_set(frame)
        path = self.folder / f"mask_{frame:04d}.png"
        self.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True, scene=self.scene.name)
        image: Any = bpy.data.images.load(str(path))
        image.colorspace_settings.name = "Non-Color"
        flat = np.empty(self.width * self.height * 4, dtype=np.float32)
        image.pixels.foreach_get(flat)
        bpy.data.images.remove(image)
        pixels = flat.reshape(self.height, self.width, 4)[::-1, :, 0]
        return pixels.astype(np.float64)

    def matte(self, frame: int) -> NDArray[np.bool_]:
        """Return the pixels that the compositor covers by at least half, (height, width)."""
        inside: NDArray[np.bool_] = self.values(frame) >= 0.5
        return inside
