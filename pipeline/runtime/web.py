"""One question to a server within one deadline, whatever it is that answers."""

import base64
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.runtime.addresses import without_secrets

T = TypeVar("T")
LONGEST_ANSWER = 1 << 16
"""Bytes of an answer that are read."""


class Reply(NamedTuple):
    """What a server answered.

    Attributes:
        status: Of HTTP.
        body: Its beginning, up to `LONGEST_ANSWER` bytes.
    """

    status: int
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect to the caller: followed, a POST becomes a GET without its content."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def ask(
    url: str, *, seconds: float, content: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """Ask an http(s) address once, and return the answer, also one that is an error or a redirect.

    Args:
        url: The address; a user and password in it become a header.
        seconds: For all of it: the name, the connection, the question and the answer.
        content: Sent as a POST; None for a GET.
        headers: Of the request.

    Raises:
        OSError: No connection, no complete answer in time, or an answer that is no HTTP.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https"):
        raise OSError("the address is neither http nor https")
    user, at, host = parts.netloc.rpartition("@")
    sent = dict(headers or {})
    if at:
        sent["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    request = urllib.request.Request(  # noqa: S310  # checked above
        urlunsplit(parts._replace(netloc=host, fragment="")), content, sent
    )
    return within(seconds, lambda: _answer(request, seconds), url)


def within(seconds: float, action: Callable[[], T], address: str = "") -> T:
    """Return what an action that asks a server returns, or give it up: a thread can be left behind.

    Time-outs of sockets begin anew with every byte, and looking up a name has none.

    Args:
        seconds: For all of it.
        action: Asks.
        address: Whom; its secrets are kept out of the message.

    Raises:
        OSError: It did not end in time, or raised anything.
    """
    answers: list[T] = []
    errors: list[Exception] = []

    def asking() -> None:
        try:
            answers.append(action())
        except Exception as error:  # noqa: BLE001  # whatever a server can make http.client, ssl or a driver raise
            errors.append(error)

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise OSError(without_secrets(f"{type(errors[0]).__name__}: {errors[0]}", address)) from errors[0]
    if not answers:
        raise TimeoutError(f"no complete answer within {seconds:g} s")
    return answers[0]


def _answer(request: urllib.request.Request, seconds: float) -> Reply:
    try:
        with urllib.request.build_opener(_NoRedirect()).open(request, timeout=seconds) as answer:
            return Reply(answer.status, answer.read(LONGEST_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read(LONGEST_ANSWER))
