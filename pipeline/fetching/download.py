"""Download one file so that what arrives is complete, is what was asked for, and arrives in time."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

from pipeline.runtime.addresses import shown, without_secrets
from pipeline.runtime.errors import DataRefused, InputMissing, NotPermitted, ServiceDown
from pipeline.runtime.files import atomic_path

if TYPE_CHECKING:
    from rich.console import Console

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
CONNECT_SECONDS = 15.0
HTML_STARTS = (b"<!doctype html", b"<html")


@dataclass(frozen=True)
class Limits:
    """When a download is given up.

    Attributes:
        deadline_seconds: For everything from the first connection to the last byte.
        minimum_bytes_per_second: Average over each window below which a download counts as stalled.
        window_seconds: Length of that window, and the longest silence.
        max_bytes: Largest file.
    """

    deadline_seconds: float = 6 * 3600.0
    minimum_bytes_per_second: float = 2048.0
    window_seconds: float = 30.0
    max_bytes: int = 20 << 30


def download(
    url: str, path: Path, *, sha256: str | None, limits: Limits = Limits(), console: "Console | None" = None
) -> str:
    """Write the file behind `url` to `path`, all or nothing, and return its sha256 (hex).

    Args:
        url: http or https.
        path: Where the file goes.
        sha256: Hex digest of the file's bytes as stored; without one, an exchanged file could not be told
            from the right one. None for a file that is replaced from time to time: then the server must say
            how long it is, or a truncated one could not be told from a whole one.
        limits: When to give up.
        console: Where a progress bar goes if it is a terminal.

    Raises:
        ServiceDown: No connection, an error status, too slow, too late, or cut off.
        InputMissing: The server knows no such file (404, 410).
        DataRefused: Another digest, a web page instead of data, larger than allowed, or without a digest also of
            unknown length or empty.
        NotPermitted: Redirected to something that is neither http nor https.
    """
    return asyncio.run(_within_deadline(url, path, sha256, limits, console))


async def _within_deadline(
    url: str, path: Path, sha256: str | None, limits: Limits, console: "Console | None"
) -> str:
    # A time-out per read never ends a server that drips one byte at a time, in the header or the body.
    # Only cancelling from outside does, which needs the asynchronous client.
    try:
        async with asyncio.timeout(limits.deadline_seconds):
            return await _download(url, path, sha256, limits, console)
    except TimeoutError as error:
        raise ServiceDown(
            f"{shown(url)} took too long. Expected an answer within {limits.window_seconds:g} s and the whole file "
            f"within {limits.deadline_seconds:g} s. Received: silence, or too little. "
            "Try again, or download the file yourself and give --path."
        ) from error
    except httpx.HTTPError as error:
        raise ServiceDown(
            f"{shown(url)} could not be downloaded. Expected a complete answer. "
            f"Received: {type(error).__name__}: {without_secrets(str(error), url)}. "
            "Check the address and the network, and try again."
        ) from error


async def _download(
    url: str, path: Path, sha256: str | None, limits: Limits, console: "Console | None"
) -> str:
    timeout = httpx.Timeout(limits.window_seconds, connect=CONNECT_SECONDS)
    async with (
        httpx.AsyncClient(timeout=timeout, follow_redirects=False) as client,
        _final_response(client, url, limits.window_seconds) as response,
    ):
        _check_status(response)
        expected_bytes = _content_length(response)
        _check_size(expected_bytes or 0, url, limits.max_bytes)
        if sha256 is None:
            _check_length_is_told(response, expected_bytes)
        with atomic_path(path) as temporary, _Progress(console, path.name, expected_bytes) as progress:
            digest = await _receive(response, temporary, limits, progress)
            if sha256 is not None and digest != sha256.lower():
                raise DataRefused(
                    f"{shown(url)} is not the file that was asked for. Expected sha256={sha256}. "
                    f"Received: sha256={digest}. Check the digest on the publisher's page; "
                    "if it is right, the file was exchanged or damaged: do not use it."
                )
            return digest


async def _receive(response: httpx.Response, path: Path, limits: Limits, progress: "_Progress") -> str:
    """Write the body to `path` and return its sha256 (hex)."""
    digest = hashlib.sha256()
    received = 0
    window_start, window_bytes = time.monotonic(), 0
    with path.open("wb") as file:
        # Raw bytes: a body that claims to be gzip is not unpacked, so it cannot grow.
        async for chunk in response.aiter_raw():
            if received == 0:
                _refuse_html(chunk, response)
            received += len(chunk)
            window_bytes += len(chunk)
            _check_size(received, str(response.url), limits.max_bytes)
            elapsed = time.monotonic() - window_start
            if elapsed >= limits.window_seconds:
                _check_rate(window_bytes / elapsed, str(response.url), limits)
                window_start, window_bytes = time.monotonic(), 0
            digest.update(chunk)
            file.write(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()


@asynccontextmanager
async def _final_response(
    client: httpx.AsyncClient, url: str, header_seconds: float
) -> AsyncIterator[httpx.Response]:
    """Follow redirects, a few, and only to http and https."""
    target = httpx.URL(url)
    for _ in range(MAX_REDIRECTS + 1):
        if target.scheme not in ("http", "https"):
            raise NotPermitted(
                f"{shown(url)} leads outside the web. Expected http or https. "
                f"Received: {shown(str(target))}. Do not trust this address."
            )
        # `identity`: the digest is that of the file, not of a packed transfer.
        request = client.build_request("GET", target, headers={"Accept-Encoding": "identity"})
        response = await asyncio.wait_for(client.send(request, stream=True), header_seconds)
        try:
            if response.status_code not in REDIRECTS:
                yield response
                return
            target = response.url.join(response.headers.get("location", ""))
        finally:
            await response.aclose()
    raise ServiceDown(
        f"{shown(url)} is redirected in circles. Expected at most {MAX_REDIRECTS} redirects. "
        f"Received: another one, to {shown(str(target))}. Use the final address."
    )


def _check_status(response: httpx.Response) -> None:
    if response.status_code == 200:
        return
    error = InputMissing if response.status_code in (404, 410) else ServiceDown
    raise error(
        f"{shown(str(response.url))} did not give the file. Expected status 200. Received: "
        f"status={response.status_code} {response.reason_phrase}. Check the address, or try again later."
    )


def _content_length(response: httpx.Response) -> int | None:
    text = response.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None


def _check_length_is_told(response: httpx.Response, expected_bytes: int | None) -> None:
    """Refuse an answer whose end cannot be told from a broken connection: HTTP checks only a stated length."""
    chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()
    if expected_bytes or (expected_bytes is None and chunked):
        return
    raise DataRefused(
        f"{shown(str(response.url))} does not say how long the file is, so half of it could not be told from all of "
        f"it. Expected a Content-Length above 0, or a chunked answer. Received: content-length={expected_bytes}. "
        "Mend the server, or give --sha256 instead of --moving."
    )


def _check_size(size: int, url: str, max_bytes: int) -> None:
    if size > max_bytes:
        raise DataRefused(
            f"{shown(url)} is too large. Expected at most {max_bytes:,} bytes. Received: {size:,} bytes or more. "
            "Raise the limit with --max-gib if that is right."
        )


def _check_rate(rate: float, url: str, limits: Limits) -> None:
    if rate < limits.minimum_bytes_per_second:
        raise ServiceDown(
            f"{shown(url)} is too slow. Expected at least {limits.minimum_bytes_per_second:g} bytes per second over "
            f"{limits.window_seconds:g} s. Received: {rate:.0f}. Try again later, or from another place."
        )


def _refuse_html(first: bytes, response: httpx.Response) -> None:
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith("text/html") or first.lstrip()[:20].lower().startswith(HTML_STARTS):
        raise DataRefused(
            f"{shown(str(response.url))} is a web page, not a data file. Expected an archive. Received: "
            f"content-type={kind or 'none'}, {first[:40]!r}. It may ask for a login: download the file in a "
            "browser and give --path."
        )


class _Progress:
    """A bar on terminals, nothing elsewhere."""

    def __init__(self, console: "Console | None", name: str, total: int | None) -> None:
        self._bar = None
        if console is not None and console.is_terminal:
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            columns = (
                "{task.description}",
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(name, total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, size: int) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, size)
