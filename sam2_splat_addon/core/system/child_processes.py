# SPDX-License-Identifier: GPL-3.0-or-later
"""Start processes that never outlive this one, and end them.

Each one has a process group of its own. So Ctrl+C in the terminal reaches only this process, and a
child is ended together with all that it started. The child itself calls
`core/system/parent_death.py`. Linux then ends it with the *thread* that started it: use a thread that
lives as long as the child is needed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from .parent_death import MARK, end_strays

# Use the full path: Windows would search the working folder first.
_TASKKILL = str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe"))

# The mark that each process and all that it starts have in their environment.
_marks: Final[WeakKeyDictionary[subprocess.Popen[Any], str]] = WeakKeyDictionary()


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start a process with pipes to its input and output; raises OSError.

    Parameters
    ----------
    command
        Program and arguments.
    cwd
        Its working folder. Never that of this process: unknown files may lie there.
    environment
        The complete environment; None takes that of this process.
    stderr
        `subprocess.PIPE`, or `subprocess.STDOUT`.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    mark = secrets.token_hex(16)
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=cwd,
        env={**(os.environ if environment is None else environment), MARK: mark},
        creationflags=flags,
        start_new_session=True,
    )
    _marks[process] = mark
    if sys.platform == "win32":
        _bind(process)
    return process


def kill_tree(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all that it started.

    A process that was waited for is left alone, because another process may have its number now. So
    wait for it only after this call. On Linux, processes that left its group are found by a mark in
    their environment.
    """
    if process.returncode is not None:
        pass
    elif sys.platform == "win32":
        # In a virtual environment python.exe only starts the real one as its child.
        subprocess.run(
            [_TASKKILL, "/F", "/T", "/PID", str(process.pid)],
            capture_output=True,
            check=False,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for zombies
            os.killpg(process.pid, signal.SIGKILL)
    if process in _marks:
        end_strays(_marks[process])


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes
    from functools import cache

    _KILL_ON_JOB_CLOSE = 0x2000
    _EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation

    class _BasicLimits(ctypes.Structure):
        """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

        _fields_ = (
            ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
            ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _Limits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_ulonglong * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    def _kernel() -> ctypes.WinDLL:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        kernel.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
        kernel.SetInformationJobObject.argtypes = (
            wintypes.HANDLE,
            ctypes.c_int,
            wintypes.LPVOID,
            wintypes.DWORD,
        )
        kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        return kernel

    @cache
    def _job() -> int | None:
        """Make, once, a job object: Windows ends its processes when this process ends.

        Windows itself closes the handle at the end of this process.
        """
        kernel = _kernel()
        job: int | None = kernel.CreateJobObjectW(None, None)
        limits = _Limits()
        limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
        size = ctypes.sizeof(limits)
        told = job and kernel.SetInformationJobObject(
            job, _EXTENDED_LIMITS, ctypes.byref(limits), size
        )
        return job if told else None

    def _bind(process: subprocess.Popen[bytes]) -> None:
        """Let Windows end a process, and all that it starts from now on, with this one."""
        job = _job()
        if job is not None:
            _kernel().AssignProcessToJobObject(job, int(process._handle))  # type: ignore[attr-defined]
