# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace engine/jobs/preview.py in a copy of the add-on; ``request.photo`` says what to do.

The frame of the request comes back as the logits. "twice" answers a first time before, with 0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from ...core.errors import Cancelled, FootageError
from ...core.mattes.store import MatteScores
from ...core.protocol import PreviewMatte, PreviewRequest

SCORES = MatteScores(1.0, 0.5, 0.25)


def run(
    request: PreviewRequest,
    dropped: Callable[[], bool],
    *,
    on_first: Callable[[PreviewMatte], None],
) -> tuple[PreviewMatte, ...]:
    match request.photo:
        case "patient":  # until a newer request comes
            end = time.monotonic() + 30
            while time.monotonic() < end:
                if dropped():
                    raise Cancelled
                time.sleep(0.005)
        case "typed":
            raise FootageError("The photo is gone.", "Put it back.")
        case "bug":
            {}["missing"]
        case "exit":
            os._exit(7)
        case "twice":
            on_first(PreviewMatte.of(1, np.zeros((2, 3), np.float16), SCORES))
            while not dropped() and request.frame == 2:  # waits to be replaced
                time.sleep(0.005)
        case "chatty":
            print("said by the preview")
    if dropped():
        raise Cancelled
    logits = np.full((2, 3), request.frame, np.float16)
    return (PreviewMatte.of(1, logits, SCORES),)
