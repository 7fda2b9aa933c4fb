"""Refuse parameters that cannot work, all problems at once, in under two seconds.

Reads:
    params.yaml, data/source.json.
Writes:
    reports/check/passed.json: constant, so that what follows runs again only if its own parameters moved.
Parameters:
    All.
"""

import os
import shutil
from pathlib import Path

from pipeline.checks.asked_for import unused_columns
from pipeline.checks.contradictions import contradictions, idle_settings, slow_settings
from pipeline.checks.secrets import committed_secrets
from pipeline.checks.store import ask_store
from pipeline.fetching.source import read_source
from pipeline.params.load import load_params, repaired_params
from pipeline.runtime import paths
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import write_json
from pipeline.runtime.stage import running_stage

FALLBACK_PARAMS = Path("examples/digits.yaml")
"""Stands in for unusable values while contradictions among the usable ones are looked for."""


def check() -> tuple[int, list[str]]:
    """Check params.yaml against itself and against the source.

    Returns:
        How many candidates passed, and warnings: settings without effect, more workers than cores, a store that is
        silent, leaked secrets.

    Raises:
        ParamsError: With every problem found.
        UserError: The store of runs cannot be used.
    """
    source = read_source()
    try:
        params = load_params()
    except ParamsError as error:
        repaired = repaired_params(error.places, paths.PARAMS_YAML, FALLBACK_PARAMS)
        further = contradictions(repaired, source) if repaired else []
        raise ParamsError(error.problems + further) from error
    secrets, told = committed_secrets(source)
    problems = contradictions(params, source) + secrets
    if problems:
        raise ParamsError(problems)
    told += ask_store(Path.cwd(), params.register.experiment)
    _forget_removed(set(params.candidates))
    write_json(paths.CHECK_PASSED, {"params.yaml": "passed"})
    told = slow_settings(params, len(os.sched_getaffinity(0))) + told
    return len(params.candidates), idle_settings(params, source) + unused_columns(params, source) + told


def _forget_removed(candidates: set[str]) -> None:
    """Delete models of candidates that are no longer in params.yaml.

    DVC leaves them on disk, and later stages depend on the whole folders. DVC's cache still has them.
    """
    for models in (paths.TUNED_DIR, paths.FOLDS_DIR):
        for folder in models.iterdir() if models.is_dir() else ():
            if folder.is_dir() and folder.name not in candidates:
                shutil.rmtree(folder)


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("check") as stage:
        candidates, warnings = check()
        for warning in warnings:
            stage.console.print(f"Warning: {warning}", highlight=False, soft_wrap=True)
        stage.console.print(f"params.yaml: {candidates} candidates, no problem found")


if __name__ == "__main__":
    main()
