# SPDX-License-Identifier: GPL-3.0-or-later
"""Run pip as a child process: read its lines, and cancel it if wanted."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from ...core.errors import EnvironmentSetupError
from ...core.system import child_processes
from ...core.system.mailbox import Mailbox

# What pip prints -> what is wrong, and what the user can do.
_CAUSES = (
    (
        r"No space left on device|Errno 28|not enough space on the disk",
        "The disk is full.",
        "Free some space and install again: what is finished is kept.",
    ),
    (
        r"DO NOT MATCH THE HASHES|hashes are required",
        "A package is not the file that was expected.",
        "Install again; if it happens twice, remove other package indexes from pip's configuration.",
    ),
    (
        r"Failed to establish a new connection|getaddrinfo failed|Name or service not known"
        r"|Temporary failure in name resolution|Network is unreachable|Connection refused"
        r"|ConnectTimeout|ReadTimeout|ConnectionResetError|Max retries exceeded|ProxyError",
        "The package index could not be reached.",
        "Check the connection and install again: what is finished is kept.",
    ),
    (
        r"Permission denied|Errno 13|Access is denied",
        "A file could not be written.",
        "Choose a folder that you may write to; on Windows, close other Blenders first.",
    ),
    (
        r"No matching distribution found|Could not find a version",
        "A package has no file for this system and this Python.",
        "Check the network connection, and the system requirements in the README.",
    ),
)
_LAST_LINES = 8
_MOST_BYTES = 4 << 20  # of lines that wait to be read; then pip has to wait
_LINE_BYTES = 1 << 16  # read at once if no line ends


def run_pip(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    wait_s: float,
) -> Generator[str, None, None]:
    """Run pip, and yield its latest line (or an empty string) at least every `wait_s` seconds.

    Closing the iterator, or an exception in its consumer, ends pip and all that it started.

    Parameters
    ----------
    command
        Program and arguments.
    environment
        The complete environment of the child.
    log
        The output of pip is appended to this file. Its folder is the working folder of pip.
    wait_s
        Longest time that one step of the iterator blocks, s.

    Raises
    ------
    EnvironmentSetupError
        pip could not be started, or ended with an error. Its last lines are in the message.
    """
    try:
        # Nothing is written to its input. It ends with this process, and then pip ends too.
        child = child_processes.start(
            command, cwd=log.parent, environment=environment, stderr=subprocess.STDOUT
        )
    except (OSError, ValueError) as problem:
        raise EnvironmentSetupError(
            f"Python could not be started to install packages: {problem}.",
            "Reinstall Blender: its Python can't be started.",
        ) from problem
    assert child.stdin is not None
    assert child.stdout is not None
    lines: Mailbox[str | None] = Mailbox(_MOST_BYTES)
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    last: deque[str] = deque(maxlen=40)
    try:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"$ {' '.join(command)}\n")
            yield from _follow(lines, file, last, wait_s)
        returncode = child.wait()
    finally:
        child_processes.kill_tree(child)  # does nothing if it was waited for
        child.wait()
        lines.close()
        reader.join()
        child.stdin.close()
        child.stdout.close()
    if returncode != 0:
        raise explain(list(last), log)


def _read(stream: IO[bytes], lines: Mailbox[str | None]) -> None:
    try:
        while line := stream.readline(_LINE_BYTES):
            lines.put(line.decode("utf-8", "replace").rstrip(), len(line))
    except (OSError, ValueError) as problem:  # the reader must not wait for ever
        lines.put_last(f"The output of pip can't be read any more: {problem}")
    finally:
        lines.put_last(None)


def _follow(
    lines: Mailbox[str | None], log: IO[str], last: deque[str], wait_s: float
) -> Iterator[str]:
    latest = ""
    while True:
        until = time.monotonic() + wait_s
        while True:
            try:
                line = lines.get(timeout=max(until - time.monotonic(), 0.001))
            except queue.Empty:
                break
            if line is None:
                return
            log.write(line + "\n")
            if line.strip():
                latest = line.strip()
                last.append(latest)
        log.flush()
        yield latest


def explain(lines: list[str], log: Path) -> EnvironmentSetupError:
    """Make an error from the last lines of pip, with the cause if it is known."""
    told = "\n".join(lines)
    shown = " / ".join(line for line in lines if not line.startswith("WARNING: Location"))
    tail = " / ".join(shown.split(" / ")[-_LAST_LINES:])
    for pattern, cause, fix in _CAUSES:
        if re.search(pattern, told):
            return EnvironmentSetupError(f"{cause} pip said: {tail} (all of it in {log}).", fix)
    return EnvironmentSetupError(
        f"Packages could not be installed. pip said: {tail} (all of it in {log}).",
        "Install again: what is finished is kept.",
    )
