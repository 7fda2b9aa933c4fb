"""Train the baseline of one candidate; the best epoch by validation is kept.

Reads: data/features, data/split/split.parquet (rows of train and val only) and data/interim (payload and
table of samples).
Writes: models/baseline/<candidate>/ with model.keras, history.json, metrics.json, settings.json,
val_predictions.npy, and autoencoder.keras for family `autoencoder`.
Parameters: candidates.<candidate>, training, seed, threads.

A killed training continues at its last complete epoch when the same command runs again.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from pipeline.inference import backend
from pipeline.params.load import load_params
from pipeline.params.values import model_settings, training_of
from pipeline.runtime import paths, progress
from pipeline.runtime.progress import LiveLog, live_path
from pipeline.runtime.stage import Stage, running_stage


def main() -> None:
    """Train the candidate named on the command line."""
    candidate = sys.argv[1]
    with running_stage(f"train@{candidate}") as stage:
        params = load_params()
        settings = params.candidates[candidate]
        training = msgspec.to_builtins(training_of(params, candidate))
        with _live(candidate, stage.inputs_key, follow=training["epochs"] > 0) as live:
            backend.prepare_tensorflow(params.threads, params.seed)
            train(
                candidate,
                family=msgspec.to_builtins(settings)["family"],
                model=model_settings(params, candidate),
                training=training,
                seed=params.seed,
                threads=params.threads,
                stage=stage,
                live=live,
            )


def train(
    candidate: str,
    *,
    family: str,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    threads: int,
    stage: Stage,
    live: LiveLog,
) -> None:
    """Train one candidate and write its files.

    Args:
        candidate: Its name.
        family: Name of the file in `pipeline/models`.
        model: Settings of the family.
        training: The keys of `training`, with the candidate's own values laid over them.
        seed: Everything random follows from it.
        threads: CPU threads of each process; recorded, because the bits depend on them.
        stage: The running stage.
        live: Gets each epoch.
    """
    # Here, because they import Keras, which must wait for `backend.prepare_tensorflow`.
    from pipeline.inputs.train_data import load_train_data
    from pipeline.runtime.progress import epoch_progress
    from pipeline.training.candidate import train_candidate, write_candidate
    from pipeline.training.workers import training_with

    checkpoint_dir = paths.STATE_DIR / "train" / candidate / stage.inputs_key
    phases = {"": training["epochs"]}
    if "pretrain_epochs" in model:
        phases["pretrain_"] = model["pretrain_epochs"]

    with (
        training_with(train_candidate, training, threads) as train_together,
        epoch_progress(stage.console, candidate, phases) as show,
    ):
        data = load_train_data(family)

        def on_epoch(epoch: int, logs: dict[str, float]) -> None:
            live.append(epoch, logs)
            show(epoch, logs)

        trained = train_together(
            family, data, model, training, seed=seed, checkpoint_dir=checkpoint_dir, on_epoch=on_epoch
        )
        settings = {"family": family, "model": model, "training": training, "seed": seed, "threads": threads}
        metrics = write_candidate(paths.baseline_dir(candidate), trained, data, settings)
    # Of older inputs too. A second `dvc repro --force` must train again, not find this training finished.
    shutil.rmtree(checkpoint_dir.parent, ignore_errors=True)
    scores = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name.startswith("val_"))
    each = f" of {trained.passes} passes each" if trained.passes > 1 else ""
    stage.console.print(
        f"{candidate}: best epoch {metrics['best_epoch']} of {metrics['epochs']}{each}, {scores}",
        highlight=False,
    )


@contextmanager
def _live(candidate: str, inputs_key: str, *, follow: bool) -> Iterator[LiveLog]:
    """Yield the live log, and end it as the body ended; a killed training leaves it open, to be continued."""
    live = LiveLog(live_path(candidate), candidate, inputs_key)
    if follow:
        # After the log is new, or the follower would read the end of the last training; and before
        # TensorFlow, so that it has started when the first epoch ends.
        progress.start_follower(candidate)
    try:
        yield live
    except BaseException:
        live.end("FAILED")
        raise
    live.end("FINISHED")


if __name__ == "__main__":
    main()
