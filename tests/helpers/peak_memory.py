"""How much memory a process ever had at once."""

from pathlib import Path


def peak_kib() -> int:
    """Return the largest resident size of this process since it began its program, in KiB.

    Not `ru_maxrss`: Linux keeps that over `exec`, so that a child begins with the size of the process that made it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
