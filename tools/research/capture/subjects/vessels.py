# SPDX-License-Identifier: GPL-3.0-or-later
"""Vases, jugs, teapots, buckets, baskets and plants in pots."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from ..mesh import Model, rotation


def _handle(
    model: Model, role: str, x: float, low: float, high: float, reach: float, radius: float
) -> None:
    """Add a handle as a half loop on the +x side."""
    path = []
    for k in range(9):
        a = math.pi * (k / 8 - 0.5)
        path.append(
            (x + reach * math.cos(a), 0.0, (low + high) / 2 + (high - low) / 2 * math.sin(a))
        )
    model.tube(role, path, radius)
    model.anchors["handle"] = (x + reach, 0.0, (low + high) / 2)


def vase(rng: Random) -> Model:
    """Return a vase or a jug, with no, one or two handles, sometimes with twigs in it."""
    model = Model()
    height = rng.uniform(0.28, 0.6)
    belly, foot = rng.uniform(0.09, 0.17), rng.uniform(0.05, 0.09)
    neck, lip = rng.uniform(0.03, 0.07), rng.uniform(0.045, 0.09)
    profile = []
    for k in range(15):
        t = k / 14
        r = foot + (belly - foot) * math.sin(min(t / 0.5, 1.0) * math.pi / 2)
        if t > 0.5:
            r = belly + (neck - belly) * (0.5 - 0.5 * math.cos((t - 0.5) / 0.35 * math.pi))
        if t > 0.85:
            r = neck + (lip - neck) * ((t - 0.85) / 0.15) ** 1.5
        profile.append((r, t * height))
    profile += [(lip - 0.012, height - 0.002), (neck * 0.7, height * 0.84), (1e-5, height * 0.83)]
    model.lathe("body", profile)
    if rng.random() < 0.4:
        z = height * rng.uniform(0.3, 0.5)
        model.ring("band", (0, 0, z), belly * 0.98, 0.01)
    handles = rng.choice([0, 1, 1, 2])
    for i in range(handles):
        with model.placed(rotation("z", math.pi * i)):
            _handle(
                model,
                "handle",
                neck * 1.05,
                height * 0.55,
                height * 0.88,
                0.09,
                rng.uniform(0.009, 0.014),
            )
    if rng.random() < 0.35:
        for _ in range(rng.randint(4, 9)):
            a, lean = rng.uniform(0, 2 * math.pi), rng.uniform(0.03, 0.2)
            tip = (lean * math.cos(a), lean * math.sin(a), height * rng.uniform(1.3, 1.7))
            model.bar("twigs", (0, 0, height * 0.84), tip, 0.004, 0.003, sides=5)
            model.ellipsoid("blossom", tip, (0.02, 0.02, 0.025), sides=8)
    model.anchors |= {
        "belly": (0.0, -belly, height * 0.5),
        "shoulder": (-belly * 0.9, 0.0, height * 0.45),
        "neck": (0.0, -neck, height * 0.8),
    }
    return model


def teapot(rng: Random) -> Model:
    """Return a teapot or watering can with lid, spout and handle."""
    model = Model()
    r, h = rng.uniform(0.1, 0.16), rng.uniform(0.14, 0.26)
    profile = []
    for k in range(13):
        a = math.pi * (0.12 + 0.76 * k / 12)
        profile.append((r * math.sin(a) ** rng.uniform(0.7, 0.75), h * (0.5 - 0.5 * math.cos(a))))
    floor = profile[0][1]
    model.lathe("body", [(rr, z - floor) for rr, z in profile])
    top = profile[-1][1] - floor
    lid = profile[-1][0]
    model.lathe("lid", [(lid, top), (lid * 0.8, top + 0.03), (1e-5, top + 0.04)])
    model.ellipsoid("knob", (0, 0, top + 0.05), (0.018, 0.018, 0.018), sides=12)
    spout = [(-r * 0.8, 0, h * 0.3), (-r * 1.35, 0, h * 0.5), (-r * 1.65, 0, h * 0.95)]
    model.tube("body", spout, [0.03, 0.02, 0.013])
    if rng.random() < 0.35:
        path = [
            (r * 0.9 * math.cos(a), 0, top + 0.16 * math.sin(a))
            for a in (math.pi * k / 8 for k in range(9))
        ]
        model.tube("handle", path, 0.009)
        model.anchors["handle"] = (0.0, 0.0, top + 0.16)
    else:
        _handle(model, "handle", r * 0.9, h * 0.2, h * 0.8, 0.1, 0.012)
    model.anchors |= {
        "body": (0.0, -r, h * 0.42),
        "spout": (-r * 1.35, 0.0, h * 0.5),
        "lid": (0.0, -lid * 0.5, top + 0.035),
    }
    return model


def bucket(rng: Random) -> Model:
    """Return a bucket with its bail up or down, sometimes with a mop or a brush in it."""
    model = Model()
    top, foot, h = rng.uniform(0.13, 0.18), rng.uniform(0.09, 0.13), rng.uniform(0.22, 0.34)
    model.lathe(
        "body",
        [
            (foot, 0),
            (top, h),
            (top + 0.012, h),
            (top + 0.012, h - 0.012),
            (top - 0.004, h - 0.012),
            (foot - 0.008, 0.02),
            (1e-5, 0.02),
        ],
    )
    if rng.random() < 0.5:
        model.ring("band", (0, 0, h * 0.6), foot + (top - foot) * 0.6, 0.006)
    tilt = rotation("x", rng.choice([0.0, 0.4, 1.3]))
    bail = [
        (top * math.cos(a), 0.0, top * 1.15 * math.sin(a))
        for a in (math.pi * k / 12 for k in range(13))
    ]
    with model.placed(tilt, (0, 0, h - 0.01)):
        model.tube("bail", bail, 0.006)
    if rng.random() < 0.35:
        model.bar("stick", (0.03, 0, 0.03), (0.16, 0.08, h * 2.6), 0.011)
    model.anchors |= {
        "body": (0.0, -(foot + top) / 2, h * 0.5),
        "body side": (-(foot + top) / 2, 0.0, h * 0.45),
        "rim": (0.0, -top - 0.012, h - 0.006),
    }
    return model


def basket(rng: Random) -> Model:
    """Return an open basket of rings and staves that one can see through, with a handle or two."""
    model = Model()
    top, foot, h = rng.uniform(0.16, 0.24), rng.uniform(0.12, 0.18), rng.uniform(0.2, 0.4)
    rings = rng.randint(4, 9)
    for i in range(rings):
        t = i / (rings - 1)
        r = foot + (top - foot) * t
        model.ring(
            "rings", (0, 0, 0.012 + (h - 0.012) * t), r, 0.011 if i == rings - 1 else 0.007, sides=6
        )
    staves = rng.randint(10, 22)
    for i in range(staves):
        a = 2 * math.pi * i / staves
        model.bar(
            "staves",
            (foot * math.cos(a), foot * math.sin(a), 0.01),
            (top * math.cos(a), top * math.sin(a), h),
            0.006,
            sides=5,
        )
    model.lathe("floor", [(foot, 0), (foot, 0.012), (1e-5, 0.012)])
    lift = rng.uniform(0.15, 0.3)
    arch = [
        (top * math.cos(a), 0.0, h + lift * math.sin(a))
        for a in (math.pi * k / 12 for k in range(13))
    ]
    model.tube("rings", arch, 0.011)
    if rng.random() < 0.6:
        for _ in range(rng.randint(3, 7)):
            a, d = rng.uniform(0, 6.28), rng.uniform(0, foot * 0.6)
            s = rng.uniform(0.04, 0.07)
            model.ellipsoid(
                rng.choice(["fruit", "other fruit"]),
                (d * math.cos(a), d * math.sin(a), rng.uniform(0.05, h * 0.7)),
                (s, s, s),
                sides=12,
            )
    model.anchors |= {
        "rim": (0.0, -top, h),
        "handle": (0.0, 0.0, h + lift),
        "side": (0.0, -(foot + top) / 2, 0.012 + (h - 0.012) * (rings // 2) / (rings - 1)),
    }
    return model


def plant(rng: Random) -> Model:
    """Return a plant in a pot: broad leaves, blades or a small tree."""
    model = Model()
    top, foot, h = rng.uniform(0.1, 0.17), rng.uniform(0.07, 0.12), rng.uniform(0.14, 0.26)
    model.lathe(
        "pot",
        [
            (foot, 0),
            (top, h * 0.85),
            (top + 0.01, h * 0.85),
            (top + 0.01, h),
            (top - 0.005, h),
            (top - 0.01, h * 0.9),
            (1e-5, h * 0.9),
        ],
    )
    style = rng.choice(["leaves", "blades", "tree"])
    tall = rng.uniform(0.3, 0.7)
    if style == "tree":
        model.bar("stem", (0, 0, h * 0.8), (0.02, 0, h + tall * 0.7), 0.014, 0.009)
        for _ in range(rng.randint(5, 12)):
            s = rng.uniform(0.05, 0.11)
            centre = (rng.gauss(0.02, 0.08), rng.gauss(0, 0.08), h + tall * rng.uniform(0.65, 1.05))
            model.ellipsoid("leaves", centre, (s, s, s * 0.8), sides=10)
        model.anchors["stem"] = (0.01, -0.011, h + tall * 0.3)
        model.anchors["leaves"] = (0.02, -0.1, h + tall * 0.85)
    else:
        count = rng.randint(9, 18)
        for i in range(count):
            a = 2.4 * i
            lean = rng.uniform(0.1, 0.95)
            length = tall * rng.uniform(0.7, 1.1)
            width = rng.uniform(0.03, 0.05) if style == "leaves" else rng.uniform(0.012, 0.02)
            _leaf(model, a, lean, length, width, h * 0.88, stalk=style == "leaves")
        model.anchors["leaves"] = (0.0, 0.0, h + tall * 0.3)
    model.anchors |= {
        "pot": (0.0, -(foot + top) / 2 - 0.003, h * 0.42),
        "pot rim": (0.0, -top - 0.01, h * 0.93),
    }
    return model


def _leaf(
    model: Model, around: float, lean: float, length: float, width: float, z: float, stalk: bool
) -> None:
    """Add one leaf that rises from the z axis at height z and bends outwards."""
    steps = 6
    left, right = [], []
    for k in range(steps + 1):
        t = k / steps
        bend = lean * (0.3 + 0.9 * t)
        along = (length * t * math.sin(bend), length * t * math.cos(bend))
        if stalk:
            half = width * math.sin(math.pi * min(max((t - 0.4) / 0.6, 0.06), 0.98)) * 1.6
        else:
            half = width * (1 - t) ** 0.6
        half = max(half, 0.0025)
        left.append((along[0], -half, z + along[1] + half * 0.3))
        right.append((along[0], half, z + along[1] + half * 0.3))
    vertices = np.array(left + right) @ rotation("z", around).T
    faces = [(k, k + 1, steps + 2 + k, steps + 1 + k) for k in range(steps)]
    model.add("leaves", vertices.tolist(), faces, smooth=True)
