# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed errors, each with a sentence its reader can act on; imports core/printable.py alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from .printable import shown


class SplatError(Exception):
    """Base of every error that SAM2 Splat raises on purpose.

    What stands in it of names and of others' words is made visible (`core.words.shown`).

    Parameters
    ----------
    message
        What is wrong, in one sentence, naming the file, frame or object concerned.
    fix
        What the reader can do about it, in one sentence; may be empty.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = shown(message)
        self.fix = shown(fix)

    def quoting(self, lines: Iterable[str]) -> Self:
        """The same error, its message followed by a program's last lines."""
        quoted = [f"\n    {shown(line)}" for line in lines]
        if quoted:
            self.message = "".join([self.message, "\nIts last lines:", *quoted])
        return self

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class FootageError(SplatError):
    """The footage can't be used as it is: empty, unreadable, or of mixed sizes."""


class DamagedPhoto(FootageError):  # noqa: N818 - says what is wrong by itself
    """A photo does not decode whole; the others can be used."""


class PromptError(SplatError):
    """Prompts are missing, malformed, or outside the footage."""


class EditError(SplatError):
    """A mask that the user edited can't be used as it stands."""


class CheckpointError(SplatError):
    """A checkpoint is missing, truncated, of another configuration, or no checkpoint."""


class StoreError(SplatError):
    """The matte store can't be read or written, or holds a damaged record."""


class BakeError(SplatError):
    """Baking can't go on: folder not writable, disk full, source gone, nothing to bake."""


class ProtocolError(SplatError):
    """Client and worker don't understand each other."""


class WorkerError(SplatError):
    """The worker could not be started, crashed, or reported a failure."""


class EnvironmentSetupError(SplatError):
    """The worker's packages are missing or could not be installed."""


class Cancelled(Exception):  # noqa: N818 - it is no error
    """Raised inside the engine to unwind when the user cancelled; not an error."""
