# SPDX-License-Identifier: GPL-3.0-or-later
"""The same request in two processes gives the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from ..photo_footage import clicked, request, store_bytes, write_checkpoint, write_photos

_PROPAGATE = """
import sys
import msgspec
from pathlib import Path
from sam2_splat_addon.core.protocol import PropagateRequest
from sam2_splat_addon.engine.jobs import propagate

propagate.run(
    msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=PropagateRequest),
    on_progress=lambda _: None,
    on_frame_done=lambda _: None,
    on_log=lambda _: None,
    cancelled=lambda: False,
    image_size=64,
)
"""


def test_two_processes_write_the_same_mattes_and_the_same_manifest(tmp_path: Path) -> None:
    footage = write_photos(tmp_path / "photos", 5)
    checkpoint = write_checkpoint(tmp_path / "random.safetensors")
    stores = [tmp_path / "store one", tmp_path / "store two"]
    for number, store in enumerate(stores):
        wish = request(
            footage, checkpoint, store, clicked(1, 2, 70.0, 40.0), clicked(2, 4, 120.0, 70.0)
        )
        path = tmp_path / f"{number}.json"
        path.write_bytes(msgspec.json.encode(wish))
        subprocess.run(
            [sys.executable, "-c", _PROPAGATE, str(path)],
            cwd=Path(__file__).parents[3],
            check=True,
        )
    first, second = (store_bytes(store) for store in stores)
    # Ten mattes, the memories of two prompted frames, the manifest, the lock, our marker.
    assert len(first) == 15
    assert first == second
