# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the most memory that this process has used, and the memory of the machine."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """Return the most resident memory that this process has used, MB (10^6 bytes).

    The source is ``/proc`` on Linux, ``getrusage`` (bytes) on macOS, and ``GetProcessMemoryInfo`` on
    Windows. On Linux ``getrusage`` is wrong: it starts with the value of the process that started this
    one, so a worker would report that of Blender.
    """
    if sys.platform == "win32":
        return _windows_peak_bytes() / 1e6
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6  # "VmHWM:   9164 kB", meaning KiB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _windows_peak_bytes() -> int:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        # PROCESS_MEMORY_COUNTERS of psapi.h
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            ("PeakWorkingSetSize", ctypes.c_size_t),
            ("WorkingSetSize", ctypes.c_size_t),
            ("QuotaPeakPagedPoolUsage", ctypes.c_size_t),
            ("QuotaPagedPoolUsage", ctypes.c_size_t),
            ("QuotaPeakNonPagedPoolUsage", ctypes.c_size_t),
            ("QuotaNonPagedPoolUsage", ctypes.c_size_t),
            ("PagefileUsage", ctypes.c_size_t),
            ("PeakPagefileUsage", ctypes.c_size_t),
        )

    counters = Counters()
    counters.cb = ctypes.sizeof(Counters)
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.K32GetProcessMemoryInfo(
        wintypes.HANDLE(kernel.GetCurrentProcess()), ctypes.byref(counters), counters.cb
    )
    return int(counters.PeakWorkingSetSize)


def total_memory() -> int:
    """Return the memory of this machine, bytes."""
    if sys.platform == "win32":
        return _windows_memory()[0]
    import os

    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free_memory() -> int:
    """Return the memory that programs can still get without swapping, bytes.

    On macOS, which compresses memory and does not tell, it is half of all memory.
    """
    if sys.platform == "win32":
        return _windows_memory()[1]
    if sys.platform == "linux":
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return total_memory() // 2


def _windows_memory() -> tuple[int, int]:
    """Return all memory and the free memory, bytes."""
    import ctypes
    from ctypes import wintypes

    class Status(ctypes.Structure):
        # MEMORYSTATUSEX of sysinfoapi.h
        _fields_ = (
            ("dwLength", wintypes.DWORD),
            ("dwMemoryLoad", wintypes.DWORD),
            *((name, ctypes.c_ulonglong) for name in ("ullTotalPhys", "ullAvailPhys")),
            *((name, ctypes.c_ulonglong) for name in ("ullTotalPageFile", "ullAvailPageFile")),
            *((name, ctypes.c_ulonglong) for name in ("ullTotalVirtual", "ullAvailVirtual")),
            ("ullAvailExtendedVirtual", ctypes.c_ulonglong),
        )

    status = Status()
    status.dwLength = ctypes.sizeof(Status)
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.ullTotalPhys), int(status.ullAvailPhys)
