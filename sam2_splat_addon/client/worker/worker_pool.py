# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one worker warm between jobs and previews; imports core only."""

from __future__ import annotations

import threading
from pathlib import Path

from ...core.errors import WorkerError
from ..packages.environment import WorkerEnvironment
from .process import ADDON_FOLDER, WorkerProcess


class WorkerKeeper:
    """Lends the one worker to one job at a time, and starts it when there is none.

    A preview shares the worker whenever no job has it.

    A worker that stays up has its model loaded, so the next job begins at once.

    Parameters
    ----------
    environment
        The Python and the package folders that workers run with.
    addon_folder
        The folder that holds ``core`` and ``engine``.
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
        self._lent = False

    @property
    def is_warm(self) -> bool:
        """Whether a worker is up, lent or idle."""
        return self._worker is not None and self._worker.is_alive

    @property
    def is_lent(self) -> bool:
        """Whether a job has the worker."""
        return self._lent

    def lend(self) -> WorkerProcess:
        """The worker, started when need be; returns without waiting until it is ready.

        Raises
        ------
        WorkerError
            Another job has it, or it can't be started.
        """
        with self._lock:
            if self._lent:
                raise WorkerError("Another job is running.", "Wait for its end, or cancel it.")
            worker = self._running()
            self._lent = True
            return worker

    def share(self) -> WorkerProcess | None:
        """The worker for a preview, started when need be; None while a job has it.

        The preview reads its own events alone and gives nothing back: a job may take the worker at
        any time. Raises WorkerError when the worker can't be started.
        """
        with self._lock:
            return None if self._lent else self._running()

    def _running(self) -> WorkerProcess:
        if self._worker is not None and not self._worker.is_alive:
            # It writes no more by the time that the next one has started.
            self._worker.kill(wait=False)
            self._worker = None
        if self._worker is None:
            self._worker = WorkerProcess(self._environment, addon_folder=self._addon_folder)
        return self._worker

    def take_back(self, worker: WorkerProcess) -> None:
        """The job is done with the worker, dead or alive."""
        with self._lock:
            if worker is self._worker:  # not one that was shut down meanwhile
                self._lent = False

    def shutdown(self) -> None:
        """End the worker, even one that a job still uses; a later job starts another."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None
            self._lent = False
