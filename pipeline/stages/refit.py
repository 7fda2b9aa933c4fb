"""Train the chosen candidate and the baselines again, on train and val together; the test set stays closed.

Reads: models/choice.json, models/tuned/<candidate>/ and models/folds/<candidate>/ of every candidate in params.yaml,
data/features, data/split/split.parquet (rows of train and val only), data/interim (payload and table of samples).
Writes: models/selected/<candidate>/: the files of models/tuned/<candidate>/; of those that were trained again another
model.keras (and autoencoder.keras), and in settings.json how long and at which temperature. Of an ensemble
models/selected/ensemble/: the same files, its members side by side in one model.keras.
Parameters: candidates, seed, threads.

Baselines are trained again because the gate compares like with like; other candidates are copied, and an ensemble that
was not chosen is joined from the tuned models of its members. A killed training
continues at its last complete epoch when the same command runs again.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence

from pipeline.inference import backend
from pipeline.params.load import load_params
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_bytes
from pipeline.runtime.stage import Stage, running_stage


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("refit") as stage:
        params = load_params()
        choice = read_json(paths.CHOICE_JSON, made_by="select")
        again, temperatures, members = choice["refit"], choice["temperatures"], choice.get("members", [])
        if again or temperatures or members:
            backend.prepare_tensorflow(params.threads, params.seed)
        ensemble_chosen = bool(members) and choice["chosen"] == paths.ENSEMBLE
        refit(params.candidates, again, temperatures, stage, members=members, ensemble_chosen=ensemble_chosen)


def refit(
    candidates: Iterable[str],
    again: Iterable[str],
    temperatures: Mapping[str, float],
    stage: Stage,
    *,
    members: Sequence[str] = (),
    ensemble_chosen: bool = False,
) -> None:
    """Leave every candidate in models/selected, some of them trained again.

    Args:
        candidates: All names in params.yaml.
        again: Those that are trained again.
        temperatures: Candidate to what its logits are divided by.
        stage: The running stage.
        members: Those that are joined as the candidate `ensemble`; () for none.
        ensemble_chosen: Whether it was chosen, so that it is made of what was trained again.
    """
    shutil.rmtree(paths.SELECTED_DIR, ignore_errors=True)
    for name in candidates:
        for file in sorted(paths.tuned_dir(name).iterdir()):
            write_bytes(paths.selected_dir(name) / file.name, file.read_bytes())
    for name in again:
        # Here, because it imports Keras, which must wait for `backend.prepare_tensorflow`.
        from pipeline.selection.refit import refit_candidate
        from pipeline.training.candidate import train_candidate
        from pipeline.training.workers import training_with

        target = paths.selected_dir(name)
        checkpoint_dir = paths.STATE_DIR / "refit" / name / stage.inputs_key
        settings = read_json(target / "settings.json")
        # By as many processes as the candidate that was chosen.
        with training_with(train_candidate, settings["training"], settings["threads"]) as train:
            told = refit_candidate(name, target, checkpoint_dir, stage.console, train)
        stage.console.print(
            f"{name}: trained again on {told['rows']:,} rows of train and val, {told['epochs']} epochs",
            highlight=False,
            markup=False,
        )
    if members:
        from pipeline.selection.ensemble import write_ensemble

        temperature_of_all = temperatures.get(paths.ENSEMBLE)
        folder_of = paths.selected_dir if ensemble_chosen else paths.tuned_dir
        divided = write_ensemble(members, folder_of, paths.selected_dir(paths.ENSEMBLE), temperature_of_all)
        said = f", logits divided by {temperature_of_all:.3f}" if divided else ""
        stage.console.print(
            f"{paths.ENSEMBLE}: {', '.join(members)} in one file{said}", highlight=False, markup=False
        )
    for name, temperature in temperatures.items():
        from pipeline.selection.refit import temper

        if not (members and name == paths.ENSEMBLE) and temper(paths.selected_dir(name), temperature):
            stage.console.print(f"{name}: logits divided by {temperature:.3f}", highlight=False, markup=False)
    # Of older inputs too. A second `dvc repro --force` must train again.
    shutil.rmtree(paths.STATE_DIR / "refit", ignore_errors=True)


if __name__ == "__main__":
    main()
