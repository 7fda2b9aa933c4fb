"""The sockets of `millrace serve`: uvicorn, but that slow clients are cut, and that SIGTERM loses no request.

uvicorn closes idle connections the moment it is told to end, and what their clients are sending just then fails. So
SIGTERM first says so (`/health/ready` 503, `connection: close` after each reply) and goes on answering for a while.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.runtime.errors import Busy, InputMissing, WronglyCalled, say
from pipeline.serving.guard import Guard, Limits

HEAD_BYTES = 64 << 10
"""Of the first line of a request and its headers; httptools has no limit of its own."""
KEEP_ALIVE_SECONDS = 75
END_SECONDS = 30
"""How long requests may last after the drain."""
GRACE_SECONDS = 0.5
"""Before a connection is closed on which nothing is asked."""
BACKLOG = 2048
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


def protocol_of(limits: Limits) -> type[HttpToolsProtocol]:
    """Return the protocol of one connection, with limits on who is slow or says too much before a request begins."""

    class Protocol(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _head_bytes = _chunk_bytes = 0
        _in_head = True
        _refused = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > 4 * limits.waiting:
                transport.write(TOO_MANY)
                transport.close()
                return
            self._wait()

        def _wait(self) -> None:
            self._stop()
            self._timer = self.loop.call_later(limits.read_seconds, self.transport.abort)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            self._chunk_bytes = len(data)
            self._head_bytes += len(data)
            super().data_received(data)
            if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                # Not closed at once: what is still being sent would wipe the reply out.
                self._refused = True
                self.transport.write(HEAD_TOO_LARGE)
                self.loop.call_later(GRACE_SECONDS, self.transport.close)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._head_bytes, self._in_head = self._chunk_bytes, True
            self._wait()

        def on_header(self, name: bytes, value: bytes) -> None:
            if (
                not self._in_head
            ):  # behind a body in pieces, where nobody needs one and uvicorn keeps them all
                self.transport.abort()
                return
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._stop()
            self._in_head = False
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if (
                self.cycle.more_body
            ):  # answered before it was sent: what still comes is dropped, but not for ever
                self._wait()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            if self.cycle.response_complete:
                self._stop()

        def pause_writing(self) -> None:
            # A client that does not take its reply is cut as one that does not send its request.
            super().pause_writing()
            self._wait()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop()

        def shutdown(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                # A request may be on its way: uvicorn would close before it arrives.
                self.loop.call_later(GRACE_SECONDS, super().shutdown)
            else:
                super().shutdown()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

    return Protocol


class _Server(uvicorn.Server):
    """Ends in two steps: see the head of this file."""

    def __init__(
        self, config: uvicorn.Config, guard: Guard, drain_seconds: float, begun: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._guard, self._drain_seconds, self._begun = guard, drain_seconds, begun
        self._asked_to_end = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def leave(seconds: float) -> None:
            self._guard.draining = True
            self._asked_to_end += 1
            if self._asked_to_end > 1:  # once more: now; and again: without waiting for anybody
                self.force_exit, self.should_exit = self.should_exit, True
            else:
                say(
                    f"serve: ends in {seconds:g} s, when what is asked until then is answered",
                    file=sys.stderr,
                )
                loop.call_later(seconds, setattr, self, "should_exit", True)

        loop.add_signal_handler(signal.SIGTERM, leave, self._drain_seconds)
        loop.add_signal_handler(signal.SIGINT, leave, 0.0)
        try:
            yield
        finally:
            for one in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(one)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        Busy: Somebody else listens there.
        WronglyCalled: There is no such address on this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(BACKLOG)  # two that begin at once: the second learns it here
    except (OSError, OverflowError) as error:
        made.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise Busy(
                f"Somebody else listens on {host}:{port}. Expected a free port. Name another one by --port (0: any)."
            ) from error
        raise WronglyCalled(
            f"Nobody can listen on {host}:{port} here. Expected an address of this machine and a port. "
            f"Received: {error}. Correct --host and --port."
        ) from error
    return made


def require_certificate(certfile: Path | None, keyfile: Path | None) -> None:
    """Check that a certificate can be used, before anything is loaded.

    Raises:
        WronglyCalled: One of both is missing, or they do not belong together.
        InputMissing: There is no such file.
    """
    if certfile is None and keyfile is None:
        return
    if certfile is None or keyfile is None:
        raise WronglyCalled("TLS takes two files. Expected --certfile and --keyfile. Received: one of them.")
    for path in (certfile, keyfile):
        if not path.is_file():
            raise InputMissing(f"There is no {path}. Expected a PEM file. Check --certfile and --keyfile.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
    except (ssl.SSLError, OSError) as error:
        raise WronglyCalled(
            f"{certfile} and {keyfile} are no certificate and its key. Expected PEM files that belong together. "
            f"Received: {error}. Check --certfile and --keyfile."
        ) from error


def serve(
    guard: Guard,
    bound: socket.socket,
    *,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    drain_seconds: float = 5.0,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until a signal says that it is enough.

    Args:
        guard: The application.
        bound: Socket of the address.
        certfile: For TLS, with `keyfile`.
        keyfile: Of the certificate.
        drain_seconds: How long requests are still taken after SIGTERM.
        begun: Called once requests are answered.
    """
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    config = uvicorn.Config(
        guard,
        http=protocol_of(guard.limits),
        loop="uvloop",
        interface="asgi3",
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    _Server(config, guard, drain_seconds, begun).run([bound])
