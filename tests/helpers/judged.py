"""The three stages that choose, train again and judge, one after the other, as `dvc repro evaluate` runs them."""

import os
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from pipeline.stages import evaluate, refit, select

NEVER_CALLED = ("split_method",)


def no_folds(*candidates: str) -> None:
    """Leave for candidates what `folds` leaves where validation is enough, and a table in which nothing is a copy."""
    for name in candidates:
        write_json(paths.folds_dir(name) / "folds.json", {"needed": False, "val_units": 100, "why": "enough"})
    if not paths.DUPLICATES_PARQUET.is_file() and paths.SAMPLES_PARQUET.is_file():
        ids = pq.read_table(paths.SAMPLES_PARQUET)["sample_id"]
        paths.DUPLICATES_PARQUET.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"sample_id": ids, "cluster": ids}), paths.DUPLICATES_PARQUET)


@contextmanager
def made_once(
    new_folder: Callable[[str], Path], make: Callable[[str], Any]
) -> Iterator[Callable[[str], Any]]:
    """Give a function that makes what a name says in a folder of its own, once, and returns it from then on.

    After each call the working directory is that folder, afterwards what it was.
    """
    done: dict[str, tuple[Path, Any]] = {}

    def of(name: str) -> Any:
        if name not in done:
            folder = new_folder(name)
            os.chdir(folder)
            done[name] = folder, make(name)
        os.chdir(done[name][0])
        return done[name][1]

    with chdir(Path.cwd()):
        yield of


def stage_of(name: str) -> SimpleNamespace:
    """Return a running stage, without its lock."""
    return SimpleNamespace(name=name, inputs_key="k", console=Console(file=Path("/dev/null").open("w")))


def judged(
    families, *, again=False, baselines_may_win=False, ensemble=(), pictures=True, **settings
) -> "evaluate.Evaluation":
    """Choose, train the chosen one and the baselines again where `again` is on, and judge.

    Args:
        families: Candidate to family.
        again: `select.refit` and `select.temperature`.
        baselines_may_win: `register.baselines_may_win`.
        ensemble: `select.ensemble`.
        pictures: Whether they are drawn, which takes as long as all the rest.
        settings: Of `evaluate`.
    """
    no_folds(*families)
    chosen_by = {name: value for name, value in settings.items() if name not in NEVER_CALLED}
    select.select(
        families,
        **chosen_by,
        refit=again,
        temperature=again,
        baselines_may_win=baselines_may_win,
        ensemble=ensemble,
    )
    refitted(families)
    undrawn = patch("pipeline.evaluation.pictures.draw_pictures", lambda *_: None)
    with nullcontext() if pictures else undrawn:
        return evaluate.evaluate(families, **settings)


def refitted(families) -> None:
    """Train again and join what models/choice.json says."""
    choice = read_json(paths.CHOICE_JSON)
    members = choice.get("members", ())
    refit.refit(
        families,
        choice["refit"],
        choice["temperatures"],
        stage_of("refit"),
        members=members,
        ensemble_chosen=bool(members) and choice["chosen"] == paths.ENSEMBLE,
    )
