"""Search around the baseline of one candidate; what comes out is never worse on validation.

Reads: models/baseline/<candidate>/, data/features/state.json, data/split/split.parquet (rows of train and
val only), and data/interim/payload.npy, or data/features/features.npy for family `dense`.
Writes: models/tuned/<candidate>/ with the files of the better of baseline and best trial, and trials.json.
Parameters: candidates.<candidate>, training, tune, seed, threads.

Without trials, or without a search space, the baseline passes through byte for byte. A killed search
continues with the trials it has not finished when the same command runs again.
"""

import functools
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.engine.chosen import chosen_engine
from pipeline.params.load import load_params
from pipeline.params.space import sampled_of, with_sampled
from pipeline.params.values import training_of, tune_of
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import read_json, write_bytes, write_json
from pipeline.runtime.stage import Stage, running_stage
from pipeline.runtime.strict_yaml import value_at
from pipeline.tuning import trials as tuning_trials
from pipeline.tuning.trials import FILES, RememberedRungs, Rung, baseline_metrics, open_training, trial_folder
from pipeline.tuning.workers import TrialWorkers


def main() -> None:
    """Tune the candidate named on the command line."""
    candidate = sys.argv[1]
    with running_stage(f"tune@{candidate}") as stage:
        params = load_params()
        block = params.candidates[candidate]
        tune(
            candidate,
            family=msgspec.to_builtins(block)["family"],
            settings=msgspec.to_builtins({"model": block.model, "training": training_of(params, candidate)}),
            space=msgspec.to_builtins(block.tune.space),
            **msgspec.structs.asdict(tune_of(params, candidate)),
            seed=params.seed,
            threads=params.threads,
            stage=stage,
        )


def tune(
    candidate: str,
    *,
    family: str,
    settings: Mapping[str, Any],
    space: Mapping[str, Mapping[str, Any]],
    trials: int,
    generation: int,
    reduction: int,
    min_epochs: int,
    trial_limit_seconds: float,
    workers: int,
    seed: int,
    threads: int,
    stage: Stage,
) -> None:
    """Search for better settings and write the files of the best model.

    Args:
        candidate: Its name.
        family: Name of the file in `pipeline/models`.
        settings: Of the baseline, `{"model": {...}, "training": {...}}`.
        space: Dotted key to range.
        trials: How many settings to try.
        generation: How many are proposed together.
        reduction: After each rung the best 1/reduction of a generation goes on.
        min_epochs: Epochs before the first rung.
        trial_limit_seconds: CPU time of one trial, of all its threads.
        workers: Processes side by side on this machine; has no influence on the result, as the engine has none.
        seed: Of the sampler and of every training.
        threads: CPU threads; the bits of a model depend on them.
        stage: The running stage.

    Raises:
        DataRefused: Every trial failed.
    """
    baseline = paths.baseline_dir(candidate)
    epochs = read_json(baseline / "metrics.json", made_by=f"train@{candidate}")["epochs"]
    monitor = settings["training"]["monitor"]
    known = baseline_metrics(family, baseline / "val_predictions.npy", monitor)
    values = {key: value_at(settings, key) for key in sorted(space)}
    first_row = tuning_trials.baseline_row(values, known, epochs, monitor)
    say = functools.partial(stage.console.print, markup=False, highlight=False, soft_wrap=True)
    if not trials or not space:
        _write(candidate, baseline, [first_row], 0)
        say(f"{candidate}: no trials asked for, the baseline passes through")
        return

    # Here, because most candidates are not searched and need no Optuna.
    from pipeline.tuning.search import direction_of, rung_epochs, search, winner
    from pipeline.tuning.trials import Trial

    folder = paths.STATE_DIR / "tune" / candidate / stage.inputs_key

    def rung_of(trial: Trial, epochs: int) -> Rung:
        laid = with_sampled(settings, trial.sampled)
        return Rung(
            trial.number, trial.sampled, laid, epochs, trial_folder(folder, trial.number, trial.sampled)
        )

    with TrialWorkers(
        functools.partial(open_training, family, seed=seed, threads=threads),
        num_workers=workers,
        trial_limit_seconds=trial_limit_seconds,
        engine=chosen_engine(),
        cores=threads * settings["training"].get("workers", 1),
        needs=stage.files,
    ) as pool:
        run_rungs = RememberedRungs(pool, lambda *what: say(tuning_trials.line(candidate, monitor, *what)))
        found = search(
            space,
            lambda group, epochs: run_rungs([rung_of(trial, epochs) for trial in group]),
            baseline=sampled_of(settings, space),
            baseline_score=known[monitor],
            direction=direction_of(monitor),
            trials=trials,
            generation=generation,
            reduction=reduction,
            rungs=rung_epochs(min_epochs, reduction, settings["training"]["epochs"]),
            seed=seed,
        )
    rows = [first_row, *map(tuning_trials.trial_row, found)]
    if found and all(trial.state == "failed" for trial in found):
        # Or the next attempt would remember the failures, whatever was mended in between.
        shutil.rmtree(folder.parent, ignore_errors=True)
        raise DataRefused(tuning_trials.all_failed(candidate, rows[1:]))
    best = winner(found, known[monitor], direction_of(monitor))
    chosen = best.number if best else 0
    _write(candidate, rung_of(best, 0).folder / FILES if best else baseline, rows, chosen)
    # Of older inputs too. A second `dvc repro --force` must search again.
    shutil.rmtree(folder.parent, ignore_errors=True)
    say(tuning_trials.search_summary(candidate, monitor, rows, chosen))


def _write(candidate: str, source: Path, rows: list[dict[str, Any]], chosen: int) -> None:
    """Copy the files of the chosen model and write trials.json beside them."""
    target = paths.tuned_dir(candidate)
    shutil.rmtree(target, ignore_errors=True)
    for file in sorted(source.iterdir()):
        write_bytes(target / file.name, file.read_bytes())
    write_json(target / "trials.json", [{**row, "chosen": row["number"] == chosen} for row in rows])


if __name__ == "__main__":
    main()
