"""`millrace rollback`: back to an earlier champion."""

import argparse
from pathlib import Path

from pipeline.params.load import load_params
from pipeline.runtime.errors import WronglyCalled
from pipeline.runtime.processes import terminal

HELP = "make an earlier version champion; the present one is revoked"
MAX_REASON_CHARACTERS = 1000
"""Kept in a tag and in a parameter of a run, which MLflow cuts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="name in the registry (default: this project's)"
    )
    parser.add_argument(
        "--to", type=int, metavar="VERSION", help="default: the newest former champion that is still good"
    )
    parser.add_argument("--reason", required=True, help="why; recorded with the version that is taken back")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    reason = options.reason.strip()
    if not 0 < len(reason) <= MAX_REASON_CHARACTERS:
        raise WronglyCalled(
            f"millrace rollback: --reason must say why. Expected 1 to {MAX_REASON_CHARACTERS} characters. "
            f"Received: {len(reason)}."
        )
    settings = load_params().register
    from pipeline.tracking.store import open_existing_store, open_store, service_errors, store_lock
    from pipeline.versions.rollback import roll_back

    open_existing_store(Path.cwd())  # where there is none, none is made
    store = open_store(Path.cwd(), settings.experiment)
    name = options.model or settings.model_name
    with service_errors(store.uri), store_lock(store.uri, "record"):
        done = roll_back(store, name, to=options.to, reason=reason)
    console = terminal()
    if done.finished:
        console.print(
            "An earlier `millrace rollback` had moved the alias already; its note is complete now. "
            "To go further back, run it again."
        )
    if done.skipped:
        console.print(f"Passed over: {', '.join(done.skipped)}.", highlight=False)
    console.print(
        f"Champion of {name} is version {done.champion}. Version {done.revoked} is revoked: a model with the same "
        "content never becomes champion again. The note stands in .millrace/audit.jsonl.",
        highlight=False,
    )
