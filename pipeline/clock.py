"""What time it is: the one place that asks, so that a month of nights can be tried in an hour."""

import datetime as dt
import os


def now() -> dt.datetime:
    """Return the present moment in UTC; `MILLRACE_NOW` (ISO 8601) stands in for it in trials.

    Raises:
        ValueError: `MILLRACE_NOW` is not a moment.
    """
    stated = os.environ.get("MILLRACE_NOW", "")
    if not stated:
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(stated)
    except ValueError:
        raise ValueError(
            "MILLRACE_NOW is not a moment. Expected ISO 8601, such as 2026-03-01T02:30:00. "
            f"Received: MILLRACE_NOW={stated}. Correct or unset it."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
