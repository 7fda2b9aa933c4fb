"""`millrace serve`: answers over HTTP, by the champion, a version, or a folder like models/best."""

import argparse
import ipaddress
import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params.load import load_params
from pipeline.runtime.errors import InputMissing, UserError, WronglyCalled, say
from pipeline.serving.model_folder import absolute_path, named_model, opened, source_of

if TYPE_CHECKING:
    from pipeline.serving.app import Endpoints
    from pipeline.serving.model_folder import Named

HELP = "answers over HTTP, by the champion (also after it changes), a version or a folder like models/best"
RECORDED = False
LIMITS: dict[str, tuple[Callable[[str], Any], Any, str]] = {
    "max-bytes": (int, 8 << 20, "largest body of a request"),
    "max-records": (int, 1024, "most records in a request"),
    "max-pixels": (int, 16_000_000, "most pixels of an image; a request may hold eight times as many"),
    "max-waiting": (int, 256, "requests that are worked on at once; more get 503"),
    "seconds": (float, 10.0, "longest time for an answer; then 504"),
    "read-seconds": (float, 20.0, "longest time for a request to arrive, and for its reply to be taken"),
    "drain-seconds": (float, 5.0, "how long requests are still taken after SIGTERM"),
    "poll-seconds": (float, 3.0, "how often the registry is asked who is champion"),
    "log-seconds": (float, 60.0, "how long a row of the log waits at most before it is written"),
}
"""Option to its type, default and help."""
LOOPBACK = frozenset(["localhost", "127.0.0.1", "::1"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = (
        "MODEL or MODEL@ALIAS, which are followed, MODEL/VERSION, a folder like models/best or a bundle (default: this "
        "project's champion)"
    )
    parser.add_argument("model", nargs="?", default="", metavar="MODEL", type=named_model, help=text)
    text = "address to listen on (default: 127.0.0.1, this machine alone)"
    parser.add_argument("--host", default="127.0.0.1", help=text)
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes any that is free")
    text = "file of tokens, one a line, of which a request must bring one; read again when it changes"
    parser.add_argument("--tokens", type=absolute_path, metavar="FILE", help=text)
    text = "a second model, named like the first, that is asked the same once a reply has left; nobody gets its answers"
    parser.add_argument("--shadow", default=None, metavar="MODEL", type=named_model, help=text)
    text = "a second model that answers a share of the clients"
    parser.add_argument("--canary", default=None, metavar="MODEL", type=named_model, help=text)
    text = "how large a share, by a hash of the header x-client-id, or of x-request-id where that is missing"
    parser.add_argument("--canary-share", type=_positive(float, below=1), metavar="SHARE", help=text)
    text = "folder to write answers down in, for `millrace watch`; several servers may share one"
    parser.add_argument("--log", type=absolute_path, metavar="FOLDER", help=text)
    text = "share of the requests that are written down, by a hash of their id (default: 1)"
    parser.add_argument(
        "--log-sample", type=_positive(float, most=1), default=1.0, metavar="SHARE", help=text
    )
    text = "also write down texts and columns beside as they came (images and series never are)"
    parser.add_argument("--log-records", action="store_true", help=text)
    parser.add_argument("--certfile", type=absolute_path, metavar="FILE", help="certificate (PEM), for TLS")
    parser.add_argument("--keyfile", type=absolute_path, metavar="FILE", help="its key (PEM)")
    for name, (kind, default, told) in LIMITS.items():
        parser.add_argument(
            f"--{name}", type=_positive(kind), default=default, metavar="N", help=f"{told} ({default:,})"
        )


def _positive(
    kind: Callable[[str], Any], most: float = sys.float_info.max, below: float = math.inf
) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not 0 < value <= most or not value < below:
            up_to = f", at most {most:g}" if most < sys.float_info.max else ""
            up_to += f" and below {below:g}" if below < math.inf else ""
            raise argparse.ArgumentTypeError(f"expected a number above 0{up_to}, received {text}")
        return value

    read.__name__ = kind.__name__  # argparse names it
    return read


def needs_project(options: argparse.Namespace) -> bool:
    """Return whether the command has to stand in a project: where the model is a name, which its registry knows."""
    given = (options.model, options.shadow, options.canary)
    return any(isinstance(one, str) for one in given)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    try:
        from pipeline.serving.server import listening, require_certificate, serve
    except ModuleNotFoundError as error:
        raise InputMissing(
            f"What `millrace serve` stands on is not installed. Expected the packages of the extra serve. Received: no "
            f"{error.name}. `make setup` installs them, or `pip install 'millrace[serve]'`."
        ) from error
    from pipeline.monitoring.log import PredictionLog
    from pipeline.serving.app import Endpoints
    from pipeline.serving.follower import Announcements, Follower, asking
    from pipeline.serving.guard import Limits, Tokens
    from pipeline.serving.served import Followed, Served

    if (options.canary is None) != (options.canary_share is None):
        alone = "--canary" if options.canary_share is None else "--canary-share"
        raise WronglyCalled(
            f"A canary is a model and a share. Expected --canary MODEL and --canary-share SHARE. Received: {alone} "
            "alone. Name both."
        )
    require_certificate(options.certfile, options.keyfile)
    tokens = None if options.tokens is None else Tokens(options.tokens)
    limits = Limits(
        body_bytes=options.max_bytes,
        records=options.max_records,
        waiting=options.max_waiting,
        seconds=options.seconds,
        read_seconds=options.read_seconds,
        pixels=options.max_pixels,
    )
    bound = listening(options.host, options.port)
    if tokens is None and not _is_loopback(options.host):
        said = "serve: anybody who reaches this address may ask; --tokens FILE lets only those who know one"
        say(said, file=sys.stderr)
    address = f"{'https' if options.certfile else 'http'}://{_shown(options.host)}:{bound.getsockname()[1]}"
    with ExitStack() as stack:
        announcements, followed = None, Followed()
        if isinstance(options.model, Path):
            named = stack.enter_context(opened(options.model))
        else:
            fixed = "/" in options.model
            default_name = load_params().register.model_name
            announcements = Announcements(
                asking(options.model, default_name, options.poll_seconds, once=fixed)
            )
            stack.callback(announcements.close)
            named = announcements.first()
            if fixed:
                announcements.close()
            else:
                alias = options.model.partition("@")[2] or "champion"
                followed = Followed(f"{named.name}@{alias}", heard=time.time())
        endpoints = Endpoints(Served(named, source_of(named.folder)), limits, followed)
        stack.callback(endpoints.close)
        if options.log is not None:
            endpoints.log = PredictionLog(
                options.log,
                lambda outcome, rows: endpoints.measured.count(
                    "millrace_log_rows_total", rows, outcome=outcome
                ),
                share=options.log_sample,
                keep_records=options.log_records,
                seconds=options.log_seconds,
            )
            stack.callback(endpoints.log.close)
        _put_beside(endpoints, options, stack)
        if announcements and followed.alias:
            stack.callback(Follower(endpoints).start(announcements))
        guard = endpoints.application(tokens)
        if tokens is None and _is_loopback(options.host):
            guard.hosts = LOOPBACK | {options.host}
        serve(
            guard,
            bound,
            certfile=options.certfile,
            keyfile=options.keyfile,
            drain_seconds=options.drain_seconds,
            begun=lambda: _tell(address, named, followed.alias),
        )


def _put_beside(endpoints: "Endpoints", options: argparse.Namespace, stack: ExitStack) -> None:
    """Let the second models be loaded, or followed, while the first one answers."""
    from pipeline.serving.follower import Announcements, asking
    from pipeline.serving.served import Beside, Canary
    from pipeline.serving.shadow import Shadow

    first, measured = endpoints.served, endpoints.measured

    def started(beside: Beside[Any], given: str | Path, *, followed: bool) -> None:
        stack.callback(beside.close)
        if isinstance(given, Path):
            try:
                model = stack.enter_context(opened(given))
            except UserError as error:  # a bundle that is damaged: the first one answers all the same
                beside.lack(error)
                return
            beside.start(partial(beside.become, model))
            return
        default_name = load_params().register.model_name
        command = asking(given, default_name, options.poll_seconds, patient=True, once=not followed)
        announcements = Announcements(command)
        stack.callback(announcements.close)
        beside.start(partial(announcements.listen, beside.hear, lasting=followed))

    for given, role in ((options.shadow, "shadow"), (options.canary, "canary")):
        if given is None:
            continue
        followed = isinstance(given, str) and "/" not in given
        asked = given.name if isinstance(given, Path) else given
        alias = asked if followed else ""
        if role == "shadow":
            endpoints.shadow = Shadow(asked, first, measured, alias)
            started(endpoints.shadow, given, followed=followed)
        else:
            endpoints.canary = Canary(asked, first, options.canary_share, measured, alias)
            started(endpoints.canary, given, followed=followed)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tell(address: str, named: "Named", alias: str) -> None:
    version = f" version {named.version}" if named.version else ""
    follows = f", follows {alias}" if alias else ""
    say(
        f"{named.name}{version} answers on {address}{follows}\n  try it: {address}/   for programs: {address}/docs"
    )
