"""From a registered model back to what it came from, and from data forward to the models that saw it."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.runtime.errors import InputMissing, WronglyCalled
from pipeline.runtime.strict_yaml import yaml_content
from pipeline.tracking.champions import REVOKED, aliases, champions
from pipeline.tracking.registry import DECISION, FILES, Version, download_details, version_numbered, versions
from pipeline.tracking.store import Store

SHORTEST_HASH = 8
JSON_TAGS = (DECISION, FILES, REVOKED, "machine.facts")


def named_version(store: Store, text: str, default_name: str) -> tuple[str, Version]:
    """Return the model and version that a person named.

    Args:
        store: An opened store.
        text: `MODEL`, `MODEL/VERSION`, `MODEL@ALIAS`, or "" for the champion of this project.
        default_name: The model of this project.

    Raises:
        WronglyCalled: The text has another form.
        InputMissing: There is no such model, version or alias.
    """
    name, slash, number = text.partition("/")
    name, at, alias = (name, "", "") if slash else text.partition("@")
    name = name or default_name
    if slash:
        if not number.isdigit():
            raise WronglyCalled(
                f"A version is a number. Expected MODEL, MODEL/VERSION or MODEL@ALIAS. Received: {text!r}."
            )
        return name, version_numbered(store, name, int(number))
    alias = alias if at else "champion"
    found = aliases(store, name)
    if alias not in found:
        registered = versions(store, name)
        if not registered:
            raise InputMissing(
                f"There is no version of {name}. Expected a registered model. Received: {text or name!r}. "
                "Run `dvc repro`."
            )
        known = ", ".join(f"{name}@{item}" for item in sorted(found)) or "none"
        raise InputMissing(
            f"{name} has no alias {alias}. Expected one of: {known}. Received: {text or name!r}. "
            f"`millrace lineage {name}/{registered[-1].number}` shows a version by its number."
        )
    return name, version_numbered(store, name, found[alias])


def way_back(store: Store, name: str, version: Version) -> dict[str, Any]:
    """Return everything a version says of its origin, as JSON content.

    Returns:
        model, version, aliases, `tags` (JSON ones taken apart), `stages` (path to md5 of all outs of its dvc.lock),
        `source` (its data/source.json), `trained_on` (rows per split), `champion` (when and why it was one).
    """
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = download_details(store, version, Path(temporary))
        rows = folder / "trained_on.parquet"
        trained_on = _rows_per_split(rows) if rows.is_file() else {}
        outs = _outs(folder / "dvc.lock")
        source = json.loads(_text(folder / "source.json") or "{}")
    return {
        "aliases": sorted(
            alias for alias, number in aliases(store, name).items() if number == version.number
        ),
        "champion": [asdict(item) for item in champions(store, name) if item.version == version.number],
        "model": name,
        "outs": outs,
        "source": source,
        "tags": {
            key: json.loads(value) if key in JSON_TAGS else value
            for key, value in sorted(version.tags.items())
        },
        "trained_on": trained_on,
        "version": version.number,
    }


def way_forward(store: Store, name: str, data_hash: str) -> dict[str, Any]:
    """Return which versions of a model saw some data.

    Args:
        store: An opened store.
        name: Of the registered model.
        data_hash: md5 of a file or folder in dvc.lock, sha256 of the source, md5 of a split, or content_sha256 of a
            sample; its beginning is enough.

    Returns:
        `versions`: number to where the hash stands; `unreadable`: number to why it could not be looked at.

    Raises:
        WronglyCalled: That is no hash.
    """
    wanted = data_hash.lower().removesuffix(".dir")
    if len(wanted) < SHORTEST_HASH or not all(letter in "0123456789abcdef" for letter in wanted):
        raise WronglyCalled(
            f"That is no hash. Expected at least {SHORTEST_HASH} hexadecimal digits of an md5 in dvc.lock, of the "
            f"sha256 in data/source.json or of a sample's content_sha256. Received: --data {data_hash}."
        )
    seen: dict[int, list[str]] = {}
    unreadable: dict[int, str] = {}
    for version in versions(store, name):
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            try:
                places = _places(download_details(store, version, Path(temporary)), version.tags, wanted)
            except (OSError, InputMissing) as error:
                unreadable[version.number] = str(error)
                continue
        if places:
            seen[version.number] = places
    return {"data": wanted, "model": name, "unreadable": unreadable, "versions": seen}


def _places(folder: Path, tags: Mapping[str, str], wanted: str) -> list[str]:
    """Return where in the papers of a version a hash stands, in words."""
    found = [
        f"dvc.lock: {path}"
        for path, md5 in sorted(_outs(folder / "dvc.lock").items())
        if md5.startswith(wanted)
    ]
    found += [
        f"tag {tag}"
        for tag, value in sorted(tags.items())
        if tag.startswith("data.") and value.startswith(wanted)
    ]
    if str(json.loads(_text(folder / "source.json") or "{}").get("sha256", "")).startswith(wanted):
        found.append("data/source.json")
    rows = folder / "trained_on.parquet"
    if rows.is_file():
        table = pq.read_table(rows, columns=["content_sha256", "split"])
        matching = table.filter(pc.starts_with(table["content_sha256"], pattern=wanted))
        counts = matching.group_by("split").aggregate([("split", "count")]).to_pylist()
        found += [f"{row['split_count']} row(s) of {row['split']}" for row in counts]
    return found


def _outs(lock: Path) -> dict[str, str]:
    """Return path to md5 of everything a dvc.lock names, `.dir` left out."""
    text = _text(lock)
    stages = yaml_content(text, "dvc.lock of the version").get("stages", {}) if text else {}
    return {
        item["path"]: str(item.get("md5", "")).removesuffix(".dir")
        for stage in stages.values()
        for item in (*stage.get("deps", []), *stage.get("outs", []))
    }


def _rows_per_split(path: Path) -> dict[str, int]:
    counts = pq.read_table(path, columns=["split"]).group_by("split").aggregate([("split", "count")])
    return {row["split"]: row["split_count"] for row in counts.to_pylist()}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
