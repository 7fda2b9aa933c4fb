"""Where in the day, the week and the year a time stands, as points on circles.

A point on a circle has no jump: 23 o'clock is as near to 0 as 1 o'clock is. Times are wall-clock times as the
source writes them; one with an offset (`+02:00`) is an instant, and its clock is that of UTC, as at ingest.
All of it is known in advance, so it may be told to a model about the step that it predicts.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

DAY_SECONDS = 86_400
YEAR_DAYS = 365.25


def _hour(seconds: np.ndarray) -> np.ndarray:
    return (seconds % DAY_SECONDS) / DAY_SECONDS


def _weekday(seconds: np.ndarray) -> np.ndarray:
    # 1 January 1970 was a Thursday; Monday is 0.
    return ((seconds // DAY_SECONDS + 3) % 7) / 7


def _month(seconds: np.ndarray) -> np.ndarray:
    months = seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return (months % 12) / 12


def _day_of_year(seconds: np.ndarray) -> np.ndarray:
    days = seconds.astype("datetime64[s]").astype("datetime64[D]")
    share: np.ndarray = (days - days.astype("datetime64[Y]")).astype(np.int64) / YEAR_DAYS
    return share


CIRCLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hour": _hour,
    "weekday": _weekday,
    "month": _month,
    "day_of_year": _day_of_year,
}
"""Name in params.yaml to the part of its circle that is over, in [0, 1). The hour counts minutes as well."""


def seconds_of(time: str) -> int:
    """Return the seconds of an ISO 8601 time since 1970: of the clock on the wall, or in UTC where it has an offset.

    Raises:
        ValueError: It is no such time.
    """
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        raise ValueError(
            f"Not a time. Expected ISO 8601, 2026-11-23T14:00:00 say. Received: time={time!r}. Mend the time."
        ) from None
    if moment.tzinfo:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return int((moment - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001  # one clock on both sides


def has_offset(time: str) -> bool:
    """Return whether an ISO 8601 time says how far its clock is from UTC; False for what is no time."""
    try:
        return datetime.fromisoformat(time).tzinfo is not None
    except ValueError:
        return False


def calendar_names(parts: Sequence[str]) -> list[str]:
    """Return the name of every column of `calendar_features`."""
    return [f"{part}.{axis}" for part in parts for axis in ("sin", "cos")]


def calendar_features(seconds: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """Return sine and cosine of each part of the calendar.

    Args:
        seconds: Wall-clock seconds since 1970, shape (num_times,); rounded to whole seconds.
        parts: Any of `hour`, `weekday`, `month`, `day_of_year`.

    Returns:
        float32, shape (num_times, 2 * len(parts)).
    """
    whole = np.rint(seconds).astype(np.int64)
    columns = np.empty((len(whole), 2 * len(parts)), np.float32)
    for number, part in enumerate(parts):
        angle = 2 * np.pi * CIRCLES[part](whole)
        columns[:, 2 * number], columns[:, 2 * number + 1] = np.sin(angle), np.cos(angle)
    return columns
