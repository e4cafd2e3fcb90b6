# SPDX-License-Identifier: GPL-3.0-or-later
"""Load photos of 54 megapixels, make masks and look at them. Played inside Blender.

After each step it notes the most memory that Blender has used so far, MB.
"""

from __future__ import annotations

from pathlib import Path

from tools.window.session import Play, Until, Window

OBJECTS = 3


def peak_mb() -> float:
    """Return the largest resident memory of Blender so far, MB (10^6 bytes)."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError("this system doesn't tell a process's memory")


def scenario(window: Window) -> Play:
    peaks: dict[str, float] = {}

    def keep(step: str) -> None:
        peaks[step] = round(peak_mb(), 1)

    keep("start")
    yield from window.load(window.folder / "photos")
    keep("load")
    yield Until(
        lambda: window.space.clip_user.proxy_render_size == "PROXY_25",
        "the editor shows small copies of large photos",
        300,
    )
    yield from window.drawn()
    keep("small copies")
    width, height = window.clip.size
    for number in range(1, OBJECTS + 1):
        window.run("object_add", name=f"part {number}")
        yield from window.ctrl_click(width * 0.5, height * (0.25 + 0.15 * number))
        yield from window.settled_preview()
    keep("clicks")
    yield from window.to_end("propagate")
    keep("propagation")
    for frame in range(window.clip.sam2_splat.frame_count, 0, -1):
        yield from window.go_to(frame)
    keep("looking")
    yield from window.to_end("bake")
    keep("bake")
    window.note(
        frames=window.clip.sam2_splat.frame_count,
        layers=window.clip.sam2_splat.mask.layers.keys(),
        peaks=peaks,
    )
