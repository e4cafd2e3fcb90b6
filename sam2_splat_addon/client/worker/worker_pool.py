# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep one worker running between jobs and previews."""

from __future__ import annotations

import threading
from pathlib import Path

from ...core.errors import WorkerError
from ..packages.environment import WorkerEnvironment
from .process import ADDON_FOLDER, WorkerProcess


class WorkerPool:
    """Give the one worker to one job at a time, and start it if there is none.

    Previews use the worker while no job has it. A worker that keeps running has its model loaded, so
    the next job begins at once.

    Parameters
    ----------
    environment
        The Python and the package folders of the worker.
    addon_folder
        The folder with ``core`` and ``engine``.
    """

    def __init__(
        self,
        environment: WorkerEnvironment,
        *,
        addon_folder: Path = ADDON_FOLDER,
    ) -> None:
        self._environment = environment
        self._addon_folder = addon_folder
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._is_acquired = False

    @property
    def is_warm(self) -> bool:
        """Whether a worker is running, whether a job has it or not."""
        return self._worker is not None and self._worker.is_alive

    @property
    def is_acquired(self) -> bool:
        """Whether a job has the worker."""
        return self._is_acquired

    def acquire(self) -> WorkerProcess:
        """Return the worker for a job, started if needed; does not wait until it is ready.

        Raises
        ------
        WorkerError
            Another job has it, or it can't be started.
        """
        with self._lock:
            if self._is_acquired:
                raise WorkerError("Another job is running.", "Wait until it ends, or cancel it.")
            worker = self._running()
            self._is_acquired = True
            return worker

    def peek(self) -> WorkerProcess | None:
        """Return the worker for a preview, started if needed; None while a job has it.

        The preview reads only its own events and gives nothing back: a job may take the worker at any
        time. Raises WorkerError if the worker can't be started.
        """
        with self._lock:
            return None if self._is_acquired else self._running()

    def _running(self) -> WorkerProcess:
        if self._worker is not None and not self._worker.is_alive:
            # By the time the next one has started, it writes nothing any more.
            self._worker.kill(wait=False)
            self._worker = None
        if self._worker is None:
            self._worker = WorkerProcess(self._environment, addon_folder=self._addon_folder)
        return self._worker

    def release(self, worker: WorkerProcess) -> None:
        """Give the worker back at the end of a job, dead or alive."""
        with self._lock:
            if worker is self._worker:  # not one that was shut down in between
                self._is_acquired = False

    def shutdown(self) -> None:
        """End the worker, even one that a job still uses; a later job starts another."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None
            self._is_acquired = False
