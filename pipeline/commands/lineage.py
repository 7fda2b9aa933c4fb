"""`millrace lineage`: from a model back to its origin, and from data forward to the models that saw it."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params.load import load_params
from pipeline.runtime.errors import StorageFailed, say
from pipeline.runtime.processes import terminal

if TYPE_CHECKING:
    from rich.console import Console

HELP = "what a registered model came from; with --data, which models saw some data"
RECORDED = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = "MODEL, MODEL/VERSION or MODEL@ALIAS (default: this project's champion)"
    parser.add_argument("model", nargs="?", default="", metavar="MODEL", help=text)
    text = "md5 in dvc.lock, sha256 of the source, or content_sha256 of a sample: which versions saw it"
    parser.add_argument("--data", metavar="HASH", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    settings = load_params().register
    from pipeline.tracking.store import open_existing_store, service_errors
    from pipeline.versions.lineage import named_version, way_back, way_forward
    from pipeline.versions.seal import complete_origin

    store = open_existing_store(Path.cwd())
    with service_errors(store.uri):
        if options.data is not None:
            name = options.model.partition("/")[0].partition("@")[0] or settings.model_name
            content, show = way_forward(store, name, options.data), _show_forward
        else:
            name, version = named_version(store, options.model, settings.model_name)
            version = complete_origin(store, name, version)
            content, show = way_back(store, name, version), _show_back
    if options.json:
        # Escapes are those of JSON; C1 and DEL, which JSON lets through, are ours.
        say(json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False))
    else:
        show(content, terminal())
    if content.get("unreadable"):
        raise StorageFailed(
            f"Not every version could be looked at, so there may be more. Expected all of {content['model']}. "
            f"Received: could not check {content['unreadable']}. Restore the artifact store, or `millrace verify`."
        )


def _show_back(content: Mapping[str, Any], console: "Console") -> None:
    """Print the way back as one table, in the order in which one would walk it."""
    from rich.markup import escape
    from rich.table import Table

    tags = content["tags"]
    known_as = f" ({', '.join(content['aliases'])})" if content["aliases"] else ""
    table = Table(title=f"{content['model']} version {content['version']}{known_as}", title_justify="left")
    for column in ("", "what", "value"):
        table.add_column(column, overflow="fold")
    for heading, rows in _sections(content, tags).items():
        for index, (what, value) in enumerate(rows):
            table.add_row(heading if index == 0 else "", what, escape(str(value)))
        table.add_section()
    console.print(table)


def _sections(content: Mapping[str, Any], tags: Mapping[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    def of(prefix: str) -> list[tuple[str, Any]]:
        return [(tag.removeprefix(prefix), value) for tag, value in tags.items() if tag.startswith(prefix)]

    def named(*names: str) -> list[tuple[str, Any]]:
        return [(name, tags.get(name, "not recorded")) for name in names]

    decision = tags.get("millrace.decision", {})
    verdict = [
        (decision.get("decision", "none"), " ".join(decision.get("reasons", ["No decision is recorded."])))
    ]
    if "millrace.revoked" in tags:
        verdict.append(("revoked", tags["millrace.revoked"]))
    if "millrace.uncommitted" in tags:
        verdict.append(("uncommitted", tags["millrace.uncommitted"]))
    rows = ", ".join(f"{split} {count}" for split, count in sorted(content["trained_on"].items()))
    return {
        "model": [*named("candidate", *(["members"] if "members" in tags else []), "model_sha256"), *verdict],
        "champion": [
            (f"no. {item['number']}", f"{item['reason']} ({item['by']})") for item in content["champion"]
        ],
        "code": named(
            "git.commit", "git.dirty", "dvc.lock.committed", "dvc.stages.sha256", "millrace.fingerprint"
        ),
        "data": [*of("data."), ("rows trained on", rows or "not recorded"), *named("train_rows.sha256")],
        "parameters": named("params.sha256", "seed", "threads"),
        "environment": named("requirements.lock.sha256", "environment.sha256"),
        "machine": [*sorted(dict(tags.get("machine.facts", {})).items()), *named("machine.trained_here")],
    }


def _show_forward(content: Mapping[str, Any], console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Versions of {content['model']} that saw {content['data']}", title_justify="left")
    for column in ("version", "where"):
        table.add_column(column, overflow="fold")
    for number, places in content["versions"].items():
        table.add_row(str(number), escape("; ".join(places)))
    console.print(
        table if content["versions"] else f"No version of {content['model']} saw {content['data']}."
    )
