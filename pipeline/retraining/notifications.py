"""Tell somebody how a retrain ended. What cannot be delivered waits in the outbox; a retrain never fails by it.

A receiver may be anything: a program that is gone, a server that speaks no HTTP, one that answers a byte a second, a
login page. Only exit code 0, or a status from 200 to 299, is a delivery.
"""

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from pipeline.runtime.addresses import HIDDEN, SHORTEST_SECRET, without_secrets
from pipeline.runtime.errors import say
from pipeline.runtime.files import write_json
from pipeline.runtime.paths import OUTBOX_DIR
from pipeline.runtime.processes import run
from pipeline.runtime.web import ask

MOST_KEPT = 100
"""Undelivered notifications; of a receiver that is away for months the newest are kept."""


def url_of(stated: str | None) -> str | None:
    """Return where notifications are posted; `MILLRACE_NOTIFY_URL` keeps an address with a secret out of git.

    A secret that was made with `echo` ends in a newline, which belongs to no address.
    """
    return os.environ.get("MILLRACE_NOTIFY_URL", "").strip() or (stated or "").strip() or None


def put(entry: Mapping[str, Any], outbox: Path = OUTBOX_DIR) -> None:
    """Put a notification into the outbox, all or nothing."""
    write_json(outbox / f"{entry['run']}-{entry['stops']}-{entry['outcome']}.json", entry)


def deliver(
    command: str | None,
    url: str | None,
    timeout_seconds: float,
    report: Callable[[str], None] = say,
    outbox: Path = OUTBOX_DIR,
) -> int:
    """Deliver what is in the outbox, the oldest first; return how many were delivered. Never raises.

    Args:
        command: Gets the JSON on standard input, or None.
        url: The JSON is posted there, or None.
        timeout_seconds: For each delivery; what is left after that time in all is sent next time.
        report: Told what went wrong.
        outbox: Where notifications wait.
    """
    began, delivered = time.monotonic(), 0
    try:
        waiting = sorted(outbox.glob("*.json")) if outbox.is_dir() else []
        for path in waiting[:-MOST_KEPT]:
            path.unlink()
        for path in waiting[-MOST_KEPT:]:
            content = path.read_text(encoding="utf-8", errors="surrogateescape")
            if command:
                _call(command, content, timeout_seconds)
            if url:
                _post(url, content, timeout_seconds)
            path.unlink()
            delivered += 1
            # The lock of the retrain is held meanwhile.
            if time.monotonic() - began > timeout_seconds:
                break
    except Exception as error:  # noqa: BLE001  # whatever a receiver can do, it ends no retrain
        # One receiver that hangs must not cost its time-out for each of a hundred notifications.
        said = without_secrets(str(error) or type(error).__name__, url or "")
        report(f"The notification was not delivered; it is sent again next time. Received: {said}.")
    return delivered


def _call(command: str, content: str, timeout_seconds: float) -> None:
    try:
        # What it prints goes where ours goes: a pipe would be held open by whatever it leaves behind.
        done = run(shlex.split(command), given=content, out=None, seconds=timeout_seconds, own_group=True)
    except TimeoutExpired:
        raise OSError(f"notify.command did not end within {timeout_seconds:g} s") from None
    if done.code:
        raise OSError(f"notify.command gave exit code {done.code}; the lines above may say why")


def _post(url: str, content: str, timeout_seconds: float) -> None:
    # Escapes in JSON stand for what is no UTF-8.
    body = json.dumps(json.loads(content)).encode()
    try:
        status = ask(
            url, seconds=timeout_seconds, content=body, headers={"Content-Type": "application/json"}
        ).status
    except OSError as error:
        said = str(error)
        # The path of a webhook is its secret, and whatever stands in place of a port might be.
        for part in re.split(r"[/:?#@&=]+", url.partition("://")[2])[1:]:
            said = said.replace(part, HIDDEN) if len(part) >= SHORTEST_SECRET else said
        raise OSError(f"notify.url did not take it: {said}") from error
    if not 200 <= status < 300:
        hint = ", a redirect: it has moved, or wants a login" if 300 <= status < 400 else ""
        raise OSError(f"notify.url answered with status {status}{hint}")
