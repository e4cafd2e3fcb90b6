# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed errors. Each says what is wrong, and what the reader can do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from .printable import shown


class SplatError(Exception):
    """Base of every error that SAM2 Splat raises on purpose.

    Invisible characters in names and foreign texts are made visible (`core.printable.shown`).

    Parameters
    ----------
    message
        One sentence: what is wrong. It names the file, frame or subject.
    fix
        One sentence: what the reader can do. May be empty.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = shown(message)
        self.fix = shown(fix)

    def quoting(self, lines: Iterable[str]) -> Self:
        """Add the last lines of a program to the message, and return this error."""
        quoted = [f"\n    {shown(line)}" for line in lines]
        if quoted:
            self.message = "".join([self.message, "\nIts last lines:", *quoted])
        return self

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class FootageError(SplatError):
    """The footage can't be used: it is empty, unreadable, or has photos of different sizes."""


class DamagedPhoto(FootageError):  # noqa: N818 - says what is wrong by itself
    """A photo is damaged and does not decode completely. The others can be used."""


class PromptError(SplatError):
    """Prompts are missing, malformed, or outside the footage."""


class JobError(SplatError):
    """A job file is missing or malformed, or lacks something that the command needs."""


class EditError(SplatError):
    """A mask that the user edited can't be used."""


class CheckpointError(SplatError):
    """A checkpoint is missing, cut off, of another configuration, or not a checkpoint."""


class StoreError(SplatError):
    """The matte store can't be read or written, or has a damaged record."""


class BakeError(SplatError):
    """Baking can't go on: folder not writable, disk full, photo gone, nothing to bake."""


class CameraError(SplatError):
    """Cameras are missing, unreadable, or of other photos. Everything works without them."""


class ProtocolError(SplatError):
    """Client and worker do not understand each other."""


class WorkerError(SplatError):
    """The worker could not be started, crashed, or reported a failure."""


class EnvironmentSetupError(SplatError):
    """The worker's packages are missing or could not be installed."""


class PackageError(SplatError):
    """A package that only one feature needs is missing or could not be installed."""


class Cancelled(Exception):  # noqa: N818 - it is no error
    """The user cancelled. Raised inside the engine to leave the work; not an error."""
