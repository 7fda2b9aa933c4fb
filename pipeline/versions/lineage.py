"""From a registered model back to what it came from, and from data forward to the models that saw it."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, StorageFailed, WronglyCalled
from pipeline.runtime.strict_yaml import yaml_content
from pipeline.tracking.champions import aliases, champions
from pipeline.tracking.registry import (
    DECISION,
    EXTRA_DIR,
    FILES,
    Version,
    download_details,
    version_numbered,
    versions,
)
from pipeline.tracking.revocations import REVOKED
from pipeline.tracking.store import Store, is_outage

SHORTEST_HASH = 8
PAPERS = ("dvc.lock", "source.json", "trained_on.parquet")
"""What says which data a version saw; each must be there as it was registered, or nobody can say that it did not."""
JSON_TAGS = (DECISION, FILES, REVOKED, "machine.facts")


def named_version(store: Store, text: str, default_name: str) -> tuple[str, Version]:
    """Return the model and version that a person named.

    Args:
        store: An opened store.
        text: `MODEL`, `MODEL/VERSION`, `MODEL@ALIAS`, each also as MLflow writes it (`models:/MODEL@ALIAS`), or "" for
            the champion of this project.
        default_name: The model of this project.

    Raises:
        WronglyCalled: The text has another form.
        InputMissing: There is no such model, version or alias.
    """
    text = text.removeprefix("models:/")
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
        InputMissing: There is no such model.
    """
    wanted = data_hash.lower().removesuffix(".dir")
    if len(wanted) < SHORTEST_HASH or not all(letter in "0123456789abcdef" for letter in wanted):
        raise WronglyCalled(
            f"That is no hash. Expected at least {SHORTEST_HASH} hexadecimal digits of an md5 in dvc.lock, of the "
            f"sha256 in data/source.json or of a sample's content_sha256. Received: --data {data_hash}."
        )
    registered = versions(store, name)
    if not registered:
        raise InputMissing(
            f"There is no version of {name}, so none can be asked what it saw. Expected a registered model. "
            f"Received: {name}. Name another one, or run `dvc repro`."
        )
    series = _series_of(wanted)
    seen: dict[int, list[str]] = {}
    unreadable: dict[int, str] = {}
    for version in registered:
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            try:
                folder = _all_papers(store, version, Path(temporary))
                places = _places(folder, version.tags, wanted, series)
            except (OSError, InputMissing, StorageFailed, ValueError, KeyError) as error:
                if is_outage(error):
                    raise
                unreadable[version.number] = str(error)
                continue
        if places:
            seen[version.number] = places
    return {"data": wanted, "model": name, "unreadable": unreadable, "versions": seen}


def _all_papers(store: Store, version: Version, folder: Path) -> Path:
    """Download the papers that say what a version saw, all of them as they were registered.

    Raises:
        InputMissing: One was not registered with it, or nobody knows.
        StorageFailed: One differs or is gone.
    """
    listed = json.loads(version.tags.get(FILES, "{}"))
    missing = [name for name in PAPERS if f"{EXTRA_DIR}/{name}" not in listed]
    if missing:
        raise InputMissing(
            f"Model version {version.number} does not say what it saw. Expected {', '.join(missing)} among the files "
            f"in its tag {FILES}. Received: none. An earlier release registered it; train it anew, or delete it."
        )
    return download_details(store, version, folder)


def _series_of(wanted: str) -> list[str]:
    """Return the names of samples that have this content now: a series is known to versions by its name."""
    if not paths.SAMPLES_PARQUET.is_file():
        return []
    table = pq.read_table(paths.SAMPLES_PARQUET, columns=["sample_id", "content_sha256"])
    names: list[str] = table.filter(pc.starts_with(table["content_sha256"], pattern=wanted))[
        "sample_id"
    ].to_pylist()
    return names


def _places(folder: Path, tags: Mapping[str, str], wanted: str, series: Sequence[str]) -> list[str]:
    """Return where in the papers of a version a hash stands, in words.

    Raises:
        InputMissing: It stands nowhere, and could be of a series: of those only stretches have a hash here.
    """
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
    if str(json.loads(_text(folder / "source.json")).get("sha256", "")).startswith(wanted):
        found.append("data/source.json")
    table = pq.read_table(folder / "trained_on.parquet")
    found += _counted("row(s)", table.filter(pc.starts_with(table["content_sha256"], pattern=wanted)))
    if "series" not in table.column_names or not any(table["series"].to_pylist()):
        return found
    found += _counted("stretch(es)", table.filter(pc.is_in(table["series"], pa.array(series, pa.string()))))
    if not found:
        raise InputMissing(
            "It was trained on stretches of series. Expected the md5 of a file, or the content_sha256 of a series as "
            f"{paths.SAMPLES_PARQUET} has it now. Received: {wanted}, which a series may have had before it grew."
        )
    return found


def _counted(what: str, rows: pa.Table) -> list[str]:
    counts = rows.group_by("split").aggregate([("split", "count")]).to_pylist()
    return [f"{row['split_count']} {what} of {row['split']}" for row in counts]


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
