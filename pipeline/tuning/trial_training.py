"""What a trial worker does: train a candidate's settings up to a rung and score them on validation.

Importing this module imports no TensorFlow; `open_training` does, in the worker that calls it.
"""

from pathlib import Path

import numpy as np

from pipeline.inference import backend
from pipeline.inputs.train_data import load_train_data
from pipeline.training.validation_scores import validation_metrics
from pipeline.tuning.trials import FILES, Outcome, Rung
from pipeline.tuning.workers import RunRung


def open_training(family: str, *, seed: int, threads: int) -> RunRung:
    """Start TensorFlow, open the data, and return the function that runs one rung.

    A rung's outcome follows from its settings alone: Keras forgets earlier models and the seed is set anew,
    so it does not matter which worker runs it and after what.

    Args:
        family: Name of the file in `pipeline/models`.
        seed: The same for every trial and the baseline, so that only settings make a difference.
        threads: CPU threads of one operation.
    """
    backend.prepare_tensorflow(threads, seed)
    import keras

    from pipeline.inference.prediction import answers
    from pipeline.training.candidate import train_candidate, write_candidate

    data = load_train_data(family)

    def run_rung(rung: Rung) -> Outcome:
        keras.backend.clear_session()
        model, training = rung.settings["model"], rung.settings["training"]
        trained = train_candidate(
            family, data, model, training, seed=seed, checkpoint_dir=rung.folder, stop_after=rung.epochs
        )
        given = answers(trained.model, data.inputs, data.val_rows, training, data.output_spec)
        measured = validation_metrics(data, given)
        if trained.result.finished:
            settings = {**rung.settings, "family": family, "seed": seed, "threads": threads}
            write_candidate(rung.folder / FILES, trained, data, settings)
        return Outcome(
            score=measured[training["monitor"]],
            metrics=measured,
            epochs=len(trained.result.history),
            finished=trained.result.finished,
        )

    return run_rung


def baseline_metrics(family: str, val_predictions: Path) -> dict[str, float]:
    """Return the same metrics of a trained baseline.

    Args:
        family: Name of the file in `pipeline/models`.
        val_predictions: File of what the baseline answers for the rows of val.
    """
    return validation_metrics(load_train_data(family), np.load(val_predictions))
