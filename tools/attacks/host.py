# SPDX-License-Identifier: GPL-3.0-or-later
"""Play the role of Blender in attacks: ask a worker what a file says, and print the events.

Its worker gets ready at once. The request is sent when a line comes in.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from sam2_splat_addon.client.packages.environment import find
from sam2_splat_addon.client.worker.job import Job
from sam2_splat_addon.client.worker.preview import Preview
from sam2_splat_addon.client.worker.worker_pool import WorkerPool
from tools.attacks.capture import Wish


def main() -> int:
    wish = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Wish)
    request = wish.propagate or wish.bake
    assert request is not None
    pool = WorkerPool(find())
    worker = pool.peek()
    assert worker is not None
    print("worker", worker.process_id, flush=True)
    if wish.first is not None:
        preview = Preview(pool)
        preview.ask(wish.first)
        while preview.busy:
            preview.poll()
            time.sleep(0.005)
    print("ready", flush=True)
    if not sys.stdin.readline():
        pool.shutdown()
        return 0
    job = Job(pool, request)
    while not job.poll(time.monotonic() + 0.1, wait=True).is_over:
        for done in job.new_frames():
            print("frame", done.frame, flush=True)
    for done in job.new_frames():
        print("frame", done.frame, flush=True)
    print(job.error or "finished", flush=True)
    pool.shutdown()
    return 0 if job.error is None else 1


if __name__ == "__main__":
    sys.exit(main())
