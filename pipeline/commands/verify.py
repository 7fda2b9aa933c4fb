"""`millrace verify`: hash everything again."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.params import load
from pipeline.runtime.errors import StorageFailed, UserError
from pipeline.runtime.processes import terminal

HELP = "hash everything again: DVC's cache, outs, packages, source, registered models"
RECORDED = False


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add no option: there is none."""


def run(_options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        StorageFailed: Something does not fit or could not be looked at; all of it at once.
    """
    params = load.load_params()
    console = terminal()
    problems: list[str] = []
    for title, check in _checks(params.register.model_name, list(params.candidates)):
        try:
            found = list(check())
        except (UserError, OSError, ValueError) as error:
            found = [f"could not check: {error}"]
        console.print(f"{title}: {f'{len(found)} problem(s)' if found else 'fits'}", highlight=False)
        problems += [f"{title}: {problem}" for problem in found]
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
