"""Is that process still the one we mean? Process ids are used again; a birth mark tells two apart.

Standard library only: the launcher uses it inside the learner's kernel.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path


def birth_mark(pid: int) -> str | None:
    """A text that two processes of one id never share; None when no process has that id.

    Linux: the boot and the start in clock ticks since then (proc(5), field 22 of stat). Elsewhere on POSIX:
    the start as ps(1) tells it. Windows: the creation time in 100 ns.
    """
    if sys.platform == "win32":  # pragma: no cover
        return _windows_birth(pid)
    if sys.platform != "linux":  # pragma: no cover
        told = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return told.stdout.strip() or None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    state, *more = stat[stat.rindex(")") + 2 :].split()
    if state in "ZX":  # dead, and only waiting for its parent to notice
        return None
    return f"{_boot()}:{more[18]}"


def alive(pid: int, birth: str | None) -> bool:
    """Does the process of that id and birth mark still run?"""
    return birth is not None and birth_mark(pid) == birth


def kill(pid: int, number: int) -> None:
    """Send a signal; a process that is gone meanwhile is no error."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


_children: list[subprocess.Popen[bytes]] = []


def reap(child: subprocess.Popen[bytes] | None = None) -> int | None:
    """Collect ended children, so a long-lived kernel keeps no zombies; return the exit code of `child`."""
    if child is not None and child not in _children:
        _children.append(child)
    code = child.poll() if child is not None else None
    _children[:] = [each for each in _children if each.poll() is None]
    return code


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


if sys.platform == "win32":  # pragma: no cover
    import ctypes
    from ctypes import wintypes

    _QUERY_LIMITED_INFORMATION = 0x1000
    _STILL_ACTIVE = 259

    def _windows_birth(pid: int) -> str | None:
        """GetProcessTimes and GetExitCodeProcess (Microsoft's Win32 reference)."""
        kernel = ctypes.windll.kernel32
        kernel.OpenProcess.restype = wintypes.HANDLE
        process = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, 0, pid)
        if not process:
            return None
        handle, code = wintypes.HANDLE(process), wintypes.DWORD()
        born, *others = (wintypes.FILETIME() for _ in range(4))
        try:
            kernel.GetExitCodeProcess(handle, ctypes.byref(code))
            told = kernel.GetProcessTimes(handle, ctypes.byref(born), *map(ctypes.byref, others))
        finally:
            kernel.CloseHandle(handle)
        if not told or code.value != _STILL_ACTIVE:
            return None
        return str(born.dwHighDateTime << 32 | born.dwLowDateTime)
