"""Back to an earlier champion: proven first, then the bad one revoked, then the alias, and a note of it all.

In this order a crash is a pause: until the list of champions has the new entry the same command does the same again,
and afterwards it only writes the note that is missing. With another `--to` it goes on after that.
"""

import getpass
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, NotPermitted, WronglyCalled
from pipeline.runtime.files import append_line, read_lines
from pipeline.tracking.champions import Champion, champions, promote, settle
from pipeline.tracking.registry import (
    Version,
    check_in_fresh_process,
    fetch_model,
    version_numbered,
    versions,
)
from pipeline.tracking.revocations import revocation, revocation_words, revoke
from pipeline.tracking.runs import host_name
from pipeline.tracking.store import Store

# --- What people did to the champion on this machine: `.millrace/audit.jsonl`, which only ever grows.

AUDIT_LOG = paths.AUDIT_LOG


def append_audit(entry: Mapping[str, Any], path: Path = AUDIT_LOG) -> None:
    """Add one line, on the disk before this returns.

    Raises:
        OSError: The disk is full or failed; the entry counts as not written.
    """
    append_line(path, entry)


def read_audit(path: Path = AUDIT_LOG) -> list[dict[str, Any]]:
    """Return all entries, oldest first.

    Raises:
        StorageFailed: A line is damaged.
    """
    return read_lines(path)


# --- Back to an earlier champion.

UNPROVEN = "Nothing was moved. Run `millrace verify`, or give another version with `--to`."
BEGUN, DONE = "rollback begun", "rollback done"


@dataclass(frozen=True)
class RolledBack:
    """What a rollback came to.

    Attributes:
        champion: The version that is champion now.
        revoked: The version that was.
        finished: Whether an earlier attempt had moved the alias, and only its note was missing.
        skipped: Former champions that were passed over, with the reason.
    """

    champion: int
    revoked: int
    finished: bool = False
    skipped: tuple[str, ...] = ()


def roll_back(store: Store, name: str, *, to: int | None, reason: str) -> RolledBack:
    """Make an earlier version champion and revoke the present one.

    Args:
        store: An opened store; the caller holds its lock.
        name: Of the registered model.
        to: The version; None for the newest former champion that is neither revoked nor deleted.
        reason: In the person's words, recorded with everything.

    Raises:
        InputMissing: There is no champion, or nothing to go back to.
        WronglyCalled: The version is champion already.
        NotPermitted: The version is revoked itself, or never was champion.
        StorageFailed: Its files are not those that were registered, or do not work; nothing was moved.
        Busy: Somebody else moved the champion meanwhile.
    """
    current = settle(store, name)
    if current is None:
        raise InputMissing(f"{name} has no champion. Expected one to take back. Run `dvc repro`.")
    left = _left_half_done(name, current)
    if left is not None:
        _note(DONE, left)
        if to in (None, current.version):
            return RolledBack(current.version, int(left["from"]), finished=True)
    target, skipped = _target(store, name, current, to)
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = fetch_model(store, target, Path(temporary))
        check_in_fresh_process(folder, UNPROVEN)
    entry = {
        "by": f"{_user()}@{host_name()}",
        "from": current.version,
        "from_sha256": current.model_sha256,
        "model": name,
        "reason": reason,
        "to": target.number,
        "to_sha256": target.model_sha256,
    }
    _note(BEGUN, entry)
    bad = version_numbered(store, name, current.version)
    revoke(store, name, bad.number, bad.model_sha256, reason=reason, when=_now(), by=str(entry["by"]))
    promote(
        store,
        name,
        expected=current,
        version=target.number,
        model_sha256=target.model_sha256,
        reason=f"rollback by {entry['by']}: {reason}",
    )
    _note(DONE, entry)
    return RolledBack(target.number, current.version, skipped=tuple(skipped))


def _target(store: Store, name: str, current: Champion, to: int | None) -> tuple[Version, list[str]]:
    """Return the version to go back to, and the former champions that were passed over."""
    if to == current.version:
        raise WronglyCalled(
            f"Version {to} of {name} is the champion already. Expected another one to go back to. Received: --to {to}."
        )
    if to is not None:
        version = version_numbered(store, name, to)
        revoked = revocation(store, name, version.model_sha256)
        if revoked is not None:
            raise NotPermitted(
                f"{revocation_words(revoked)} Expected a version that is not revoked. Received: --to {to}."
            )
        _refuse_unproven(name, current, version, champions(store, name))
        return version, []
    there = {version.number: version for version in versions(store, name)}
    skipped: dict[int, str] = {}
    for champion in reversed(champions(store, name)):
        if not champion.version or champion.model_sha256 == current.model_sha256:
            continue
        if champion.version not in there:
            skipped[champion.version] = f"version {champion.version} (deleted in MLflow)"
        elif revocation(store, name, there[champion.version].model_sha256) is not None:
            skipped[champion.version] = f"version {champion.version} (revoked)"
        else:
            return there[champion.version], list(skipped.values())
    raise InputMissing(
        f"{name} has no earlier champion to go back to. Expected one that is neither revoked nor deleted. "
        f"Received: {', '.join(skipped.values()) or 'none'}. Name a version with `--to`."
    )


def _refuse_unproven(name: str, current: Champion, version: Version, listed: list[Champion]) -> None:
    """Refuse a model that never was champion: the gate refused it, or nobody judged it."""
    if version.model_sha256 in {item.model_sha256 for item in listed}:
        return
    former = sorted({item.version for item in listed if item.version} - {current.version})
    raise NotPermitted(
        f"Version {version.number} of {name} was never champion, so it is no way back: the gate refused it or never "
        f"judged it. Expected a former champion: {', '.join(map(str, former)) or 'there is none'}. "
        f"Received: --to {version.number}."
    )


def _left_half_done(name: str, current: Champion) -> dict[str, Any] | None:
    """Return the note of a rollback whose alias has moved already and whose end was never noted."""
    mine = [entry for entry in read_audit() if entry.get("model") == name]
    last = mine[-1] if mine else {}
    moved = (
        last.get("what") == BEGUN and last.get("to") == current.version and last.get("from") == current.before
    )
    return {key: last[key] for key in last if key not in ("what", "when")} if moved else None


def _note(what: str, entry: Mapping[str, Any]) -> None:
    append_audit({**entry, "what": what, "when": _now()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
