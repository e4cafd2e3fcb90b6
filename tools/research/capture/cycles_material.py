# SPDX-License-Identifier: GPL-3.0-or-later
"""Finishes as Cycles materials."""

from __future__ import annotations

from typing import Any

import bpy

from .finishes import BRICKS, CHECKER, NOISE, SPOTS, STRIPES, Colour, Finish

# Blender's stubs know of a node and a socket only what all kinds of them share.
Node = Any
Socket = Any


def build_material(name: str, finish: Finish) -> bpy.types.Material:
    """Return a material that looks like `finish`."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = _Nodes(material.node_tree)
    surface = nodes.tree.nodes["Principled BSDF"]
    surface.inputs["Roughness"].default_value = finish.roughness
    surface.inputs["Metallic"].default_value = finish.metallic
    surface.inputs["Specular IOR Level"].default_value = 0.5
    colour = _pattern(nodes, finish)
    if isinstance(colour, tuple):
        surface.inputs["Base Color"].default_value = (*colour, 1.0)
    else:
        nodes.tree.links.new(colour, surface.inputs["Base Color"])
    return material


class _Nodes:
    """Adds nodes to a material's tree."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.object_coordinates = tree.nodes.new("ShaderNodeTexCoord").outputs["Object"]

    def mapped(
        self, vector: Socket, scale: tuple[float, float, float], turn: float = 0.0
    ) -> Socket:
        """Return the vector turned about z (radians), then scaled per axis."""
        # A "point" mapping scales before it turns. A finish scales after it turns, so two nodes are needed.
        for inputs in ({"Rotation": (0.0, 0.0, turn)}, {"Scale": scale}):
            node = self.tree.nodes.new("ShaderNodeMapping")
            for name, value in inputs.items():
                node.inputs[name].default_value = value
            self.tree.links.new(vector, node.inputs["Vector"])
            vector = node.outputs["Vector"]
        return vector

    def swapped(self, vector: Socket) -> Socket:
        """Return the vector with y and z exchanged."""
        split = self.tree.nodes.new("ShaderNodeSeparateXYZ")
        join = self.tree.nodes.new("ShaderNodeCombineXYZ")
        self.tree.links.new(vector, split.inputs["Vector"])
        for source, target in (("X", "X"), ("Y", "Z"), ("Z", "Y")):
            self.tree.links.new(split.outputs[source], join.inputs[target])
        return join.outputs["Vector"]

    def texture(self, kind: str, vector: Socket, **inputs: float | Colour) -> Node:
        """Add a texture node of a type such as ``"Noise"`` and set its inputs by name."""
        node = self.tree.nodes.new(f"ShaderNodeTex{kind}")
        self.tree.links.new(vector, node.inputs["Vector"])
        for name, value in inputs.items():
            socket = node.inputs[name.replace("_", " ")]
            socket.default_value = (*value, 1.0) if isinstance(value, tuple) else value
        return node

    def ramp(
        self, factor: Socket, stops: list[tuple[float, Colour]], sharp: bool = False
    ) -> Socket:
        """Return a colour picked along `stops` (position 0 to 1, linear RGB) by `factor`."""
        node = self.tree.nodes.new("ShaderNodeValToRGB")
        node.color_ramp.interpolation = "CONSTANT" if sharp else "LINEAR"
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(1.0)
        for element, (position, colour) in zip(elements, stops, strict=True):
            element.position = position
            element.color = (*colour, 1.0)
        self.tree.links.new(factor, node.inputs["Fac"])
        return node.outputs["Color"]

    def multiplied(self, a: Socket, b: Socket) -> Socket:
        """Return colour `a` darkened by colour `b`."""
        node = self.tree.nodes.new("ShaderNodeMixRGB")
        node.blend_type = "MULTIPLY"
        node.inputs["Fac"].default_value = 1.0
        self.tree.links.new(a, node.inputs["Color1"])
        self.tree.links.new(b, node.inputs["Color2"])
        return node.outputs["Color"]


def _pattern(nodes: _Nodes, finish: Finish) -> Colour | Socket:
    """Return the finish's colour. It is a constant if the finish is plain."""
    first, second, third = finish.colours
    place = nodes.object_coordinates
    if finish.upright:
        place = nodes.swapped(place)
    x, y, z = (s * finish.scale for s in finish.stretch)
    vector = nodes.mapped(place, (x, y, z), finish.turn)
    if finish.pattern == NOISE:
        node = nodes.texture("Noise", vector, Scale=1.0, Detail=2.0)
        colour = nodes.ramp(node.outputs["Fac"], [(0.35, first), (0.5, second), (0.65, third)])
    elif finish.pattern == CHECKER:
        colour = nodes.texture("Checker", vector, Color1=first, Color2=second, Scale=1.0).outputs[
            "Color"
        ]
    elif finish.pattern == STRIPES:
        # One band of the wave node is pi / 10 units wide.
        node = nodes.texture("Wave", vector, Scale=0.31416, Distortion=0.0)
        node.bands_direction = "DIAGONAL" if finish.stretch[2] else "X"
        node.wave_profile = "SAW"
        edge = finish.edge
        stops = [(0.0, first), (edge, second), (0.5 + edge / 2, third)]
        colour = nodes.ramp(node.outputs["Fac"], stops, sharp=True)
    elif finish.pattern == SPOTS:
        node = nodes.texture("Voronoi", vector, Scale=1.0, Randomness=0.6)
        colour = nodes.ramp(
            node.outputs["Distance"], [(0.0, second), (finish.edge, first)], sharp=True
        )
    elif finish.pattern == BRICKS:
        node = nodes.texture(
            "Brick",
            vector,
            Color1=first,
            Color2=second,
            Mortar=third,
            Scale=1.0,
            Mortar_Size=0.02,
            Brick_Width=finish.edge,
            Row_Height=1.0,
        )
        node.offset = 0.0 if finish.edge < 1.5 else 0.5 if finish.edge < 4 else 0.37
        colour = node.outputs["Color"]
    else:
        return first
    if finish.grain > 0:
        node = nodes.texture("Noise", place, Scale=finish.grain_scale, Detail=2.0)
        dark = 1.0 - finish.grain
        shading = nodes.ramp(node.outputs["Fac"], [(0.35, (dark,) * 3), (0.6, (1.0, 1.0, 1.0))])
        colour = nodes.multiplied(colour, shading)
    return colour
