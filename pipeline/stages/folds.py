"""Let a candidate answer for rows it was not trained on, where validation has too few units to choose by.

Reads: models/tuned/<candidate>/settings.json, data/features, data/split/split.parquet (rows of train and val only),
data/interim (payload and table of samples) and data/validate/duplicates.parquet.
Writes: models/folds/<candidate>/: folds.json (whether folds are needed and why; how long to train), and where they are
answers.npy (what models answered for held rows) and positions.npy (for which of the labelled rows, ascending).
Parameters: candidates.<candidate>.family, select.folds, select.min_val_units, select.repeats, split, seed, threads.

A killed stage goes on behind the last fold that was done when the same command runs again.
"""

import functools
import io
import shutil
import sys
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

from pipeline.evaluation.rows import EvaluationRows, load_rows
from pipeline.inference import backend
from pipeline.inputs.specs import output_spec
from pipeline.params.load import load_params
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_bytes, write_json
from pipeline.runtime.stage import Stage, running_stage
from pipeline.selection.folds import Fold, count_units, labelled_rows, planned_folds


def main() -> None:
    """Cross-validate the candidate named on the command line, where that is needed."""
    candidate = sys.argv[1]
    with running_stage(f"folds@{candidate}") as stage:
        params = load_params()
        cross_validate(
            candidate,
            family=msgspec.to_builtins(params.candidates[candidate])["family"],
            min_val_units=params.select.min_val_units,
            folds=params.select.folds,
            repeats=params.select.repeats,
            split_method=params.split.method,
            embargo=params.split.embargo,
            seed=params.seed,
            threads=params.threads,
            stage=stage,
        )


def cross_validate(
    candidate: str,
    *,
    family: str,
    min_val_units: int,
    folds: int,
    repeats: int,
    split_method: str,
    embargo: int,
    seed: int,
    threads: int,
    stage: Stage,
) -> None:
    """Write the answers of a candidate for held rows, or why there are none.

    Args:
        candidate: Its name.
        family: Name of the file in `pipeline/models`.
        min_val_units: With so many units validation alone chooses.
        folds: Per repeat.
        repeats: Of folds that are not cut by time.
        split_method: `split.method`: by time, folds are too.
        embargo: `split.embargo`.
        seed: Of the folds.
        threads: CPU threads; the bits of a model depend on them.
        stage: The running stage.
    """
    say = functools.partial(stage.console.print, markup=False, highlight=False, soft_wrap=True)
    plan, rows, told = _planned(
        min_val_units, folds=folds, repeats=repeats, split_method=split_method, embargo=embargo, seed=seed
    )
    if not plan:
        _write(candidate, told)
        say(f"{candidate}: validation chooses, {told['why']}")
        return

    backend.prepare_tensorflow(threads, seed)
    # Here, because they import Keras, which must wait for `backend.prepare_tensorflow`.
    from pipeline.inputs.train_data import load_train_data
    from pipeline.selection.out_of_fold import FoldTrainings, in_order
    from pipeline.training.candidate import train_candidate
    from pipeline.training.workers import training_with

    settings = read_json(paths.tuned_dir(candidate) / "settings.json", made_by=f"tune@{candidate}")
    folder = paths.STATE_DIR / "folds" / candidate / stage.inputs_key
    with training_with(train_candidate, settings["training"], threads) as train:
        trainings = FoldTrainings(
            family,
            load_train_data(family),
            rows.rows,
            settings,
            folder,
            say=lambda text: say(f"{candidate} {text}"),
            train=train,
        )
        length = trainings.length([fold for fold in plan if fold.repeat == 0])
        positions, answers = in_order(plan, trainings.answers(plan, length))
    sizes = [[fold.repeat, fold.number, len(fold.train), len(fold.held)] for fold in plan]
    _write(candidate, told | {"folds": sizes, "length": asdict(length)}, positions=positions, answers=answers)
    # Of older inputs too. A second `dvc repro --force` must train again.
    shutil.rmtree(folder.parent, ignore_errors=True)
    say(f"{candidate}: {len(plan)} folds answered for {len(set(positions.tolist()))} rows, {told['why']}")


def _planned(min_val_units: int, **settings: Any) -> tuple[list[Fold], EvaluationRows, dict[str, Any]]:
    """Return the folds, none where validation chooses; the rows they are cut out of; and why."""
    spec = output_spec(read_json(paths.FEATURES_STATE, made_by="features"))
    val = load_rows("val")
    num_units = count_units(val)
    told: dict[str, Any] = {"needed": False, "val_units": num_units}
    if spec.task == "anomaly":
        return [], val, told | {"why": "detectors learn from normal rows and are told apart by them"}
    if num_units >= min_val_units:
        return [], val, told | {"why": f"{num_units} independent units are at least {min_val_units}"}
    rows = labelled_rows()
    plan = planned_folds(rows, spec, **settings)
    if not plan:
        return [], rows, told | {"why": "there are too few units of each kind to hold any out"}
    return (
        plan,
        rows,
        told | {"needed": True, "why": f"{num_units} units of validation are below {min_val_units}"},
    )


def _write(candidate: str, content: dict[str, Any], **arrays: np.ndarray) -> None:
    target = paths.folds_dir(candidate)
    shutil.rmtree(target, ignore_errors=True)
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_bytes(target / f"{name}.npy", buffer.getvalue())
    write_json(target / "folds.json", content)


if __name__ == "__main__":
    main()
