# SPDX-License-Identifier: GPL-3.0-or-later
"""Voxels of several sizes have one closed surface, and points in them are known."""

from __future__ import annotations

import numpy as np

from sam2_splat_addon.core.geometry.voxel_surface import VoxelGrid


def test_a_cube_has_six_sides_that_look_outwards() -> None:
    grid = VoxelGrid(np.array([[1.0, 2.0, 3.0]]), np.array([2.0]))
    corners, quads = grid.surface()
    assert (len(corners), len(quads)) == (8, 6)
    np.testing.assert_allclose(corners.min(axis=0), [0, 1, 2])
    np.testing.assert_allclose(corners.max(axis=0), [2, 3, 4])
    for quad in corners[quads]:
        way = np.cross(quad[1] - quad[0], quad[2] - quad[1])
        assert way @ (quad.mean(axis=0) - [1.0, 2.0, 3.0]) > 0


def test_a_large_voxel_beside_small_ones_has_no_wall_between() -> None:
    small = [[2.5, y, z] for y in (0.5, 1.5) for z in (0.5, 1.5)]
    centres = np.array([[1.0, 1.0, 1.0], *small])
    grid = VoxelGrid(centres, np.array([2.0, 1, 1, 1, 1]))
    corners, quads = grid.surface()
    assert len(quads) == 2 * (3 * 2 + 3 * 2 + 2 * 2)
    np.testing.assert_allclose(corners.max(axis=0), [3, 2, 2])
    asked = np.array([[0.1, 0.1, 0.1], [2.9, 1.9, 0.1], [3.1, 1, 1], [-0.1, 1, 1], [np.nan, 0, 0]])
    np.testing.assert_array_equal(grid.holds(asked), [True, True, False, False, False])


def test_many_fine_voxels_are_brought_to_fewer_cells() -> None:
    side = (np.arange(64) + 0.5) / 64
    centres = np.stack(np.meshgrid(side, side, side), -1).reshape(-1, 3)
    grid = VoxelGrid(centres, np.full(len(centres), 1 / 64), across=16)
    assert len(grid.surface()[1]) == 6 * 16 * 16
    assert grid.holds(centres).all()


def test_no_voxels_have_no_surface() -> None:
    corners, quads = VoxelGrid(np.zeros((0, 3)), np.zeros(0)).surface()
    assert (len(corners), len(quads)) == (0, 0)
