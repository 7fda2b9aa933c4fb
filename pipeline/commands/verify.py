"""`millrace verify`: hash everything again."""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.params import load
from pipeline.runtime.errors import StorageFailed, UserError, say
from pipeline.runtime.processes import terminal

HELP = "hash everything again: DVC's cache, outs, packages, source, registered models"
RECORDED = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--json", action="store_true", help="what was looked at and what does not fit, as one object"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        StorageFailed: Something does not fit or could not be looked at; all of it at once.
    """
    params = load.load_params()
    console = terminal()
    all_found: dict[str, list[str]] = {}
    for title, check in _checks(params.register.model_name, list(params.candidates)):
        try:
            found = list(check())
        except (UserError, OSError, ValueError) as error:
            found = [f"could not check: {error}"]
        all_found[title] = found
        if not options.json:
            console.print(f"{title}: {f'{len(found)} problem(s)' if found else 'fits'}", highlight=False)
    if options.json:
        say(json.dumps(all_found, indent=2, ensure_ascii=False))
    problems = [f"{title}: {problem}" for title, found in all_found.items() for problem in found]
    if problems:
        raise StorageFailed("\n".join([*problems, f"millrace verify found {len(problems)} problem(s)."]))


def _checks(model_name: str, candidates: list[str]) -> list[tuple[str, Callable[[], Iterable[str]]]]:
    """Return title and check of each part."""
    from pipeline.tracking.store import open_existing_store, service_errors
    from pipeline.versions.verify import (
        cache_and_output_problems,
        environment_problems,
        registry_problems,
        source_problems,
    )
    from pipeline.weights.pinned import weights_problems

    def registry() -> list[str]:
        store = open_existing_store(Path.cwd())
        with service_errors(store.uri):
            return list(registry_problems(store, model_name))

    return [
        ("files of dvc.lock", lambda: cache_and_output_problems(candidates)),
        ("packages", environment_problems),
        ("source", source_problems),
        ("weights", weights_problems),
        ("registry", registry),
    ]
