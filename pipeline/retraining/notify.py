"""Tell somebody how a retrain ended. What cannot be delivered waits in the outbox; a retrain never fails by it."""

import json
import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from pipeline.runtime.files import write_json
from pipeline.runtime.places import OUTBOX_DIR
from pipeline.runtime.processes import run

MOST_KEPT = 100
"""Undelivered notifications; of a receiver that is away for months the newest are kept."""


def url_of(stated: str | None) -> str | None:
    """Return where notifications are posted; `MILLRACE_NOTIFY_URL` keeps an address with a secret out of git."""
    return os.environ.get("MILLRACE_NOTIFY_URL") or stated


def put(entry: Mapping[str, Any], outbox: Path = OUTBOX_DIR) -> None:
    """Put a notification into the outbox, all or nothing."""
    write_json(outbox / f"{entry['run']}-{entry['stops']}-{entry['outcome']}.json", entry)


def deliver(
    command: str | None,
    url: str | None,
    timeout_seconds: float,
    report: Callable[[str], None] = print,
    outbox: Path = OUTBOX_DIR,
) -> int:
    """Deliver what is in the outbox, the oldest first; return how many were delivered.

    Args:
        command: Gets the JSON on standard input, or None.
        url: The JSON is posted there, or None.
        timeout_seconds: For each delivery.
        report: Told what went wrong.
        outbox: Where notifications wait.
    """
    waiting = sorted(outbox.glob("*.json")) if outbox.is_dir() else []
    for path in waiting[:-MOST_KEPT]:
        path.unlink()
    delivered = 0
    for path in waiting[-MOST_KEPT:]:
        content = path.read_text(encoding="utf-8", errors="surrogateescape")
        try:
            if command:
                _call(command, content, timeout_seconds)
            if url:
                _post(url, content, timeout_seconds)
        except (OSError, TimeoutExpired, ValueError) as error:
            # One receiver that hangs must not cost its time-out for each of a hundred notifications.
            report(f"The notification was not delivered; it is sent again next time. Received: {error}.")
            break
        path.unlink()
        delivered += 1
    return delivered


def _call(command: str, content: str, timeout_seconds: float) -> None:
    done = run(shlex.split(command), given=content, seconds=timeout_seconds)
    if done.code:
        last_words = done.err.strip()[-200:]
        raise OSError(f"notify.command gave exit code {done.code}: {last_words or 'no message'}")


def _post(url: str, content: str, timeout_seconds: float) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError("notify.url is neither http nor https")
    request = urllib.request.Request(  # noqa: S310  # checked above
        url, json.dumps(json.loads(content)).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        raise OSError(f"notify.url answered with status {error.code}") from error
