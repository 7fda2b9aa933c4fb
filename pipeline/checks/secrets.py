"""Secrets in files that git keeps: refused before they are committed, told where they are already.

What a commit holds, everybody has who has the repository, for ever. Addresses with a user, a password or a signature
have places of their own: an environment variable, `.dvc/config.local`, or a file that was downloaded by hand.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.fetching.source import Location, Source
from pipeline.runtime import paths
from pipeline.runtime.addresses import is_token, secrets_in, shown
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.repository import DVC_CONFIG, dvc_config, file_at
from pipeline.runtime.strict_yaml import read_yaml, value_at

HEADER = re.compile(
    r"(?i)\s*([\w-]*(?:authorization|token|api-?key|secret|password))\s*[:=]\s*"
    r"(?!(?:(?:bearer|basic|token)\s+)?[$@])\S"
)
"""A header or setting with its value in it; `$NAME` and `@file` name a place instead."""
DVC_SECRETS = frozenset(
    (
        "access_key_id", "account_key", "connection_string", "client_secret", "gdrive_client_secret", "oss_key_id",
        "oss_key_secret", "passphrase", "password", "sas_token", "secret_access_key", "session_token", "token",
    )
)  # fmt: skip
"""Options of a DVC remote that are secrets themselves."""


def source_secret(url: str) -> str:
    """Return why an address may not stand in data/source.json, "" if it may."""
    found = secrets_in(url)
    if not found:
        return ""
    return (
        "a url must not hold a secret, because data/source.json is committed. Expected one without. "
        f"Received: {', '.join(found)}, at {shown(url)}. Download the file yourself and give --path."
    )


def committed_secrets(source: Source) -> tuple[list[str], list[str]]:
    """Return problems (secrets that the next commit would hold) and warnings (those that a commit holds).

    Args:
        source: What data/source.json says.
    """
    problems, warnings = [], []
    for path, value, message in (*_in_source(source), *_in_retrain_yaml(), *_in_dvc_config()):
        committed = file_at("HEAD", path.as_posix())
        if committed is not None and value.encode() in committed:
            warnings.append(f"{path}: {message} It is committed already, for everybody to read: replace it.")
        else:
            problems.append(f"{path}: {message}")
    return problems, warnings


def _in_source(source: Source) -> Iterator[tuple[Path, str, str]]:
    url = source.location.url if isinstance(source.location, Location) else None
    if url and source_secret(url):
        yield paths.SOURCE_JSON, url, source_secret(url)


def _in_retrain_yaml() -> Iterator[tuple[Path, str, str]]:
    try:
        notify = (
            value_at(read_yaml(paths.RETRAIN_YAML), "notify", None) if paths.RETRAIN_YAML.is_file() else None
        )
    except ParamsError:
        return  # `millrace retrain` says what is wrong with it
    if not isinstance(notify, dict):
        return
    words = [str(notify.get("url") or "")]
    with suppress(ValueError):
        words += shlex.split(str(notify.get("command") or ""))
    for word in words:
        if found := _in_word(word):
            message = (
                f"notify must not hold a secret, because the file is committed. Received: {', '.join(found)}. Set "
                "MILLRACE_NOTIFY_URL instead, or let the command read it from a file."
            )
            yield paths.RETRAIN_YAML, word, message


def _in_word(word: str) -> list[str]:
    """Return what in an address, or in a word of a command, looks like a secret, in words."""
    if "://" in word:
        # Whoever knows the address of a webhook may write to it: its path is the secret.
        drawn = [part for part in urlsplit(word).path.split("/") if is_token(part)]
        found = secrets_in(word) + (["a path that looks like a webhook's"] if drawn else [])
        return [f"{item}, at {_host(word)}" for item in found]
    header = HEADER.match(word)
    return [f"the header {header[1]}"] if header else []


def _host(address: str) -> str:
    return urlsplit(address).hostname or shown(address)


def _in_dvc_config() -> Iterator[tuple[Path, str, str]]:
    config = dvc_config(DVC_CONFIG)
    for name in config.sections:
        for key, value in config[name].items():
            found = (
                [f"the option {key}"] if key in DVC_SECRETS else secrets_in(value) if "://" in value else []
            )
            if found:
                message = (
                    f"[{name}] must not hold a secret, because the file is committed. Received: {', '.join(found)}. "
                    "Give it with `dvc remote modify --local`, which writes .dvc/config.local."
                )
                yield DVC_CONFIG, value, message
