"""Bounds in seconds that hold on a machine which has other work as well."""

import os


def seconds(bound: float) -> float:
    """Return a bound that was meant for a quiet machine, for this one now: as many times longer as processes wait.

    Args:
        bound: Seconds on a machine with nothing else to do.
    """
    return bound * max(1.0, os.getloadavg()[0])
