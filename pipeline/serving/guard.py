"""What stands before every request: who may ask, how much, how many at once, and for how long.

An ASGI application around another one. Whatever goes wrong behind it, a client gets JSON with the reason, never a
traceback; the log gets the rest.
"""

import asyncio
import hashlib
import hmac
import random
import re
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import msgspec
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.runtime.errors import InputMissing, WronglyCalled, say
from pipeline.serving.measured import Measured

OPEN = ("/", "/docs", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
"""Asked without a token, and answered however many others wait: probes, and the page, which holds nothing."""
SHORTEST_TOKEN = 16
REQUEST_ID = re.compile(r"[\w.:-]{1,64}")
RETRY_SECONDS = 1
LINGERING = 8
"""So many times the limit of a body is read and dropped, so that who sends too much can read the reply."""


@dataclass(frozen=True)
class Limits:
    """What one client may ask of a server.

    Attributes:
        body_bytes: Of a request.
        records: In a request.
        waiting: Requests that are worked on at once; connections may be four times as many.
        seconds: For an answer, once the request is there.
        read_seconds: For the head of a request, for its body, and for taking the reply.
        pixels: Of an image; a request may hold eight times as many.
    """

    body_bytes: int = 8 << 20
    records: int = 1024
    waiting: int = 256
    seconds: float = 10.0
    read_seconds: float = 20.0
    pixels: int = 16_000_000


class Tokens:
    """Bearer tokens of a file, one a line; read again when the file changes.

    Raises:
        InputMissing: There is no such file.
        WronglyCalled: It holds no token, or a short one.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._told = path, ""
        if not path.is_file():
            raise InputMissing(f"There is no {path}. Expected a file with a token a line. Check --tokens.")
        self._stamp = self._now()
        self._digests = self._read()
        if not self._digests:
            raise WronglyCalled(f"{path} holds no token. Expected one a line. Received: none. Write one.")

    def _now(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> list[bytes]:
        lines = [line.strip() for line in self._path.read_text(encoding="utf-8").splitlines()]
        tokens = [line for line in lines if line and not line.startswith("#")]
        if short := sum(len(token) < SHORTEST_TOKEN for token in tokens):
            raise WronglyCalled(
                f"{self._path} holds tokens that can be guessed. Expected at least {SHORTEST_TOKEN} characters. "
                f"Received: {short} shorter. `openssl rand -hex 32` makes one."
            )
        return [hashlib.sha256(token.encode()).digest() for token in tokens]

    def permit(self, authorization: str) -> bool:
        """Return whether a header names one of them, in a time that does not tell which or how much of it."""
        try:
            if (stamp := self._now()) != self._stamp:
                self._stamp = stamp
                self._digests = self._read() or self._digests
                say(f"serve: {len(self._digests)} tokens from {self._path}", file=sys.stderr)
        except (OSError, ValueError, WronglyCalled) as error:
            # Half written, empty, or replaced at this moment: those before hold until there are others.
            if str(error) != self._told:
                say(f"serve: tokens were not read again: {error}", file=sys.stderr)
            self._told = str(error)
        scheme, _, token = authorization.partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(found)


class Guard:
    """The application that a server runs.

    Attributes:
        draining: The server will end: it is not ready, and closes connections after each reply.
        in_flight: Requests that are worked on.
        hosts: Names that clients may call the server by; None for any. Without tokens, on the loopback, they keep a
            page of somebody else out, whose own name is made to lead here (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, limits: Limits, measured: Measured, tokens: Tokens | None) -> None:
        self._app, self.limits, self._measured, self._tokens = app, limits, measured, tokens
        self.draining = False
        self.in_flight = 0
        self.hosts: frozenset[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError("Only HTTP is served.")
        begun = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                if self.draining or status in (408, 413):
                    own.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        guarded = scope["path"] not in OPEN
        scope["request_id"], scope["begun"] = request_id, begun
        scope["app"] = self  # so that starlette raises what we reply to, where it would reply itself
        self.in_flight += guarded
        try:
            if guarded and self._tokens and not self._tokens.permit(headers.get("authorization", "")):
                await _reply(
                    noted,
                    401,
                    "Expected a token: `Authorization: Bearer ...`.",
                    b"www-authenticate",
                    b"Bearer",
                )
            elif self.hosts is not None and _name_in(headers.get("host", "")) not in self.hosts:
                told = (
                    f"This server answers by {', '.join(sorted(self.hosts))}. Ask it by one of these names."
                )
                await _reply(noted, 421, told)
            elif guarded and self.in_flight > self.limits.waiting:
                told = f"Busy: {self.limits.waiting} requests wait. Ask again in a moment."
                await _reply(noted, 503, told, b"retry-after", str(RETRY_SECONDS).encode())
            else:
                await self._app(scope, receive, noted)
        except ClientDisconnect:
            status = 499
        except Exception as error:  # noqa: BLE001  # a bug, of which the client learns nothing but that it is one
            say(
                f"serve: request {request_id} failed\n{''.join(traceback.format_exception(error))}",
                file=sys.stderr,
            )
            if not status:
                await _reply(noted, 500, f"Internal error; the server's log tells more under {request_id}.")
        finally:
            self.in_flight -= guarded
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            self._measured.count("millrace_requests_total", endpoint=endpoint, status=str(status))
            self._measured.observe("millrace_request_seconds", time.perf_counter() - begun)
            if (after := scope.get("after")) is not None:  # the reply has left
                after()


def _name_in(host: str) -> str:
    """Return the name of a host header, without the port."""
    return (
        host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0].lower()
    )


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: 413, it is too large; 408, it does not arrive.
        ClientDisconnect: The client went away.
    """
    too_large = HTTPException(413, f"The body is too large. Expected at most {limits.body_bytes:,} bytes.")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > LINGERING * limits.body_bytes:
        raise too_large
    parts, held = [], 0
    try:
        async with asyncio.timeout(limits.read_seconds):
            async for part in request.stream():
                held += len(part)
                if held > LINGERING * limits.body_bytes:
                    break
                if held <= limits.body_bytes:
                    parts.append(part)
                else:
                    parts.clear()
    except TimeoutError:
        raise HTTPException(408, f"The body did not arrive within {limits.read_seconds:g} s.") from None
    if held > limits.body_bytes:
        raise too_large
    return b"".join(parts)


async def _reply(send: Send, status: int, message: str, name: bytes = b"", value: bytes = b"") -> None:
    content = msgspec.json.encode({"error": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [(name, value)] if name else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
