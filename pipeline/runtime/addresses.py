"""Addresses of servers: what of one may be shown, what of one may be committed, and which is the store's.

An address may hold a password, a token or the signature of a link. Every message, file and page that names an address
gets it from `shown`, and whatever text comes from elsewhere passes `without_secrets` before anybody sees it.
"""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.runtime import paths
from pipeline.runtime.errors import Misconfigured

HIDDEN = "***"
SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MILLRACE_NOTIFY_URL")
"""Variables of the environment that hold an address."""
SECRET_SETTINGS = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "RAY_AUTH_TOKEN",
)
SHORTEST_SECRET = 3
"""Characters; replacing shorter ones would garble every message and hide nothing that cannot be guessed."""

# --- What may be shown.

PLAIN = re.compile(
    r"(?P<scheme>[\w+.-]+)://(?P<user>[^/?#@]*@)?(?P<place>(\[[\da-fA-F:.]+\]|[\w.-]*)(:\d+)?(/[^@?#]*)?)"
    r"(?P<rest>[?#].*)?",
    re.DOTALL,
)
"""An address without an `@` that could belong to a password: beyond this it is anybody's guess where one ends."""


def shown(address: str) -> str:
    """Return an address fit for messages, files and pages: no user, no password, no query.

    Where a password may hold a `/`, `?`, `#` or `@` of its own, nothing but the scheme is left.
    """
    address = address.strip()
    if not set("@?#") & set(address):
        return address
    found = PLAIN.fullmatch(address)
    if found is None or "@" in (found["rest"] or ""):
        scheme, mark, _ = address.partition("://")
        return f"{scheme}://{HIDDEN}" if mark else HIDDEN
    return f"{found['scheme']}://{found['place']}"


def without_secrets(text: str, *addresses: str) -> str:
    """Return a text in which no secret of these addresses stands, nor one of the environment.

    Args:
        text: What another program or library said.
        addresses: What it was given.
    """
    given = [address for address in (*addresses, *map(_setting, SETTINGS)) if address]
    for address in given:
        for form in (address, address.strip()):
            if shown(form) != form:
                text = text.replace(form, shown(form))
    secrets = {secret for address in given for secret in _secrets_of(address)} | set(
        map(_setting, SECRET_SETTINGS)
    )
    # A secret may be the beginning of another one.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text


def _setting(name: str) -> str:
    return os.environ.get(name, "")


def _secrets_of(address: str) -> set[str]:
    """Return the parts of an address that nobody should read, as they stand there and as they are meant."""
    _, _, rest = address.strip().partition("://")
    before, _, query = rest.partition("?")
    users = [text.rpartition("@")[0] for text in (before, rest)]
    # A user without a password is a token.
    found = {user.partition(":")[2] for user in users} | {before.partition("/")[0].rpartition("@")[0]}
    # What takes an address apart cuts a password that has such letters of its own.
    found |= {part for secret in found for part in re.split(r"[/?#]", secret)}
    pairs = [pair.partition("=") for pair in re.split("[?&#]", f"{query}#{before.partition('#')[2]}")]
    found |= {value for key, _, value in pairs if is_secret(key)}
    return found | {unquote(secret) for secret in found}


# --- What may be committed.

SECRET_WORDS = frozenset(
    (
        "auth",
        "authorization",
        "bearer",
        "credential",
        "credentials",
        "jwt",
        "key",
        "pass",
        "pwd",
        "sas",
        "session",
        "sig",
    )
)
PUBLIC_KEYS = frozenset(("foreign", "order", "partition", "primary", "public", "sort"))
"""Before `key`: of tables, and what everybody may know."""
SECRET_ENDS = (
    "password", "passwd", "passphrase", "secret", "token", "signature", "apikey", "accesskey", "authkey", "privatekey",
    "accesskeyid", "sessionid", "credential",
)  # fmt: skip


def is_secret(name: str) -> bool:
    """Return whether a key of a query is one that secrets are given under: `password`, `sig`, `X-Amz-Signature`."""
    words = re.findall(r"[a-z\d]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unquote(name)).lower())
    plain = "".join(words)
    a_key = words[-1:] == ["key"] and not PUBLIC_KEYS & set(words)
    return plain in SECRET_WORDS or plain.endswith(SECRET_ENDS) or a_key


def secrets_in(address: str) -> list[str]:
    """Return what in an address looks like a secret, in words: nothing of it may stand in a file that git keeps."""
    parts = urlsplit(address.strip())
    found = ["a user name or password"] if "@" in parts.netloc else []
    pairs = [
        pair for text in (parts.query, parts.fragment) for pair in parse_qsl(text, keep_blank_values=True)
    ]
    # `code` is the key of a function in Azure, and elsewhere a country's.
    keys = [key for key, value in pairs if is_secret(key) or (key.lower() == "code" and is_token(value))]
    return found + [f"the key {key!r}" for key in dict.fromkeys(keys)]


def is_token(word: str) -> bool:
    """Return whether a word looks drawn by chance: long, letters and digits mixed, as in the path of a webhook.

    `fraud-detection-2026` is a name: none of its parts changes between letters and digits more than once.
    """
    mixed = any(
        len(part) >= 8 and re.search(r"\d+[A-Za-z]+\d|[A-Za-z]+\d+[A-Za-z]", part)
        for part in re.split(r"[-_.=%+/]", word)
    )
    return mixed and re.fullmatch(r"[\w.=%+/-]{16,}", word) is not None


# --- The address of the store of runs.

WITHOUT_SLASHES = ("databricks", "uc:", "arn:")
"""Addresses of stores that MLflow reaches by other means."""


def store_address(root: Path) -> str:
    """Return the address of the MLflow store, see `paths.tracking_uri`.

    Raises:
        Misconfigured: It is no address, or a folder of runs, which MLflow 3 does not write any more.
    """
    uri = paths.tracking_uri(root)
    if uri.startswith(paths.SQLITE):
        return uri
    if uri.startswith(("sqlite:", "file:")) or not ("://" in uri or uri.startswith(WITHOUT_SLASHES)):
        raise Misconfigured(
            "MLFLOW_TRACKING_URI names neither a server nor a database. Expected http(s)://HOST:PORT, a database such "
            f"as postgresql://HOST/NAME, or sqlite:///FILE. Received: MLFLOW_TRACKING_URI={shown(uri)}. Put http:// "
            "before a host; in place of a folder of runs (mlruns) unset it, for mlflow.db in the project."
        )
    return uri
