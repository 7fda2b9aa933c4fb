"""Answers for rows that the answering model was not trained on, from the same candidate trained fold by fold.

Import it after `backend.prepare_tensorflow`. A fold that is done is remembered, so that a killed stage goes on behind
it and ends in the same bytes.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.inputs.train_data import TrainData
from pipeline.runtime.files import read_json, write_bytes, write_json
from pipeline.selection.folds import Fold
from pipeline.training.batches import steps_per_epoch
from pipeline.training.candidate import TrainedCandidate, answers_of, train_candidate
from pipeline.training.epochs import Traced
from pipeline.training.fit import Length
from pipeline.training.monitor import lower_is_better

CHECKPOINT_SECONDS = 10.0
"""What a kill may cost of a fold's training; most of them end sooner, and finished ones are remembered."""
RUNGS = 10
"""Parts in which the folds are trained side by side: between two of them it may end."""
PATIENCE_SHARE = 1 / 3
"""Of all epochs, where `early_stopping_patience` is 0."""
Say = Callable[[str], None]


class FoldTrainings:
    """The trainings of one candidate on folds.

    Args:
        family: Name of the file in `pipeline/models`.
        data: Of the candidate.
        rows: Row of `data.inputs` for each position that a fold names.
        settings: Content of the tuned candidate's settings.json.
        folder: Where finished folds are remembered, for these inputs alone.
        say: Told of each stretch of epochs that all folds are through with, and of each fold that ends.
        train: `train_candidate`, or the same by several processes.
    """

    def __init__(
        self,
        family: str,
        data: TrainData,
        rows: np.ndarray,
        settings: Mapping[str, Any],
        folder: Path,
        *,
        say: Say,
        train: Callable[..., TrainedCandidate] = train_candidate,
    ) -> None:
        self.family = family
        self.data = data
        self.rows = rows
        self.settings = settings
        self.folder = folder
        self.say = say
        self.train = train
        self._traced: dict[tuple[Any, ...], Traced] = {}

    @property
    def solved(self) -> bool:
        """Return whether the family learns without steps, so that there is no length to find."""
        return int(self.settings["training"]["epochs"]) == 0

    def length(self, folds: Sequence[Fold]) -> Length:
        """Return how long to train: until the epoch after which the held rows of all folds together are answered best.

        The folds are trained side by side, some epochs each, and no further once their mean has not become better for
        the patience of the training; where it has none, for a share of its epochs.

        Args:
            folds: Those of the first repeat.
        """
        if self.solved:
            return Length(0, 1)
        training = self.settings["training"]
        epochs = int(training["epochs"])
        patience = training["early_stopping_patience"] or math.ceil(epochs * PATIENCE_SHARE)
        # An autoencoder is traced by each call anew, so that it is called once.
        rung = epochs if self.family == "autoencoder" else math.ceil(epochs / RUNGS)
        held = [len(fold.held) for fold in folds]
        best, until = 0, 0
        found: list[dict[str, Any]] = []
        while until < epochs and until - best <= patience:
            until = min(until + rung, epochs)
            found = [self._measured(fold, until) for fold in folds]
            curve = np.average([entry["curve"] for entry in found], axis=0, weights=held)
            lower = lower_is_better(training["monitor"])
            best = int(curve.argmin() if lower else curve.argmax()) + 1
            if until < epochs:
                self.say(
                    f"{len(folds)} folds side by side: {until} of at most {epochs} epochs, best after {best}"
                )
        self.say(f"best after epoch {best}; {until} of {epochs} trained")
        each = [(best * entry["steps_per_epoch"], *(entry[name] for name in LENGTH[1:])) for entry in found]
        return Length(*(int(number) for number in np.median(each, axis=0)))

    def answers(self, folds: Sequence[Fold], length: Length) -> list[np.ndarray]:
        """Return what models of exactly that length answer for the held rows of each fold.

        No row has chosen how long the model that answers for it was trained, but as one fold's among all.
        """
        return [self._answers_of(fold, length) for fold in folds]

    def _measured(self, fold: Fold, until: int) -> dict[str, Any]:
        """Return the monitor of a fold's held rows after each epoch, and how many steps these have."""
        name = f"length-{fold.repeat}-{fold.number}"
        memo = self.folder / f"{name}-{until}.json"
        if not memo.is_file():
            trained = self._train(fold, name, None, stop_after=until)
            per_epoch = steps_per_epoch(len(fold.train), self.settings["training"])
            before = trained.pretraining.best_epoch if trained.pretraining else 0
            curve = [logs[self.settings["training"]["monitor"]] for logs in trained.result.history]
            steps = dict(zip(LENGTH[1:], (per_epoch, before * per_epoch), strict=True))
            write_json(memo, {"curve": curve, **steps})
        found: dict[str, Any] = read_json(memo)
        return found

    def _answers_of(self, fold: Fold, length: Length) -> np.ndarray:
        memo = self.folder / f"answers-{fold.repeat}-{fold.number}.npy"
        if not memo.is_file():
            trained = self._train(fold, f"answers-{fold.repeat}-{fold.number}", length)
            held = self.rows[fold.held]
            made = answers_of(trained, self.data, held, self.settings["training"])
            buffer = io.BytesIO()
            np.save(buffer, made)
            write_bytes(memo, buffer.getvalue())
            self.say(f"repeat {fold.repeat + 1}, fold {fold.number + 1}: {len(held)} rows answered for")
        found: np.ndarray = np.load(memo, allow_pickle=False)
        return found

    def _train(
        self, fold: Fold, name: str, length: Length | None, stop_after: int | None = None
    ) -> TrainedCandidate:
        data = self.data.on_rows(np.sort(self.rows[fold.train]), np.sort(self.rows[fold.held]))
        traced = self.traced_for(data, length)
        if traced is None or traced.model is None:
            keras.backend.clear_session()
        trained: TrainedCandidate = self.train(
            self.family,
            data,
            self.settings["model"],
            # Patience is that of all folds together.
            {**self.settings["training"], "early_stopping_patience": 0},
            seed=self.settings["seed"],
            checkpoint_dir=self.folder / name,
            stop_after=stop_after,
            length=length,
            checkpoint_seconds=CHECKPOINT_SECONDS,
            traced=traced,
        )
        return trained

    def traced_for(self, data: TrainData, length: Length | None) -> Traced | None:
        """Return what an earlier fold with the same graph left: the schedule and weights of classes are part of it.

        An autoencoder is none: the encoder that it learned before is part of its model.
        """
        training = self.settings["training"]
        if self.solved or self.family == "autoencoder":
            return None
        balanced = training["class_weights"] == "balanced"
        batches = math.ceil(len(data.train_rows) / training["batch_size"])
        key = (length, batches, data.output_spec.class_counts if balanced else None)
        return self._traced.setdefault(key, Traced())


LENGTH = ("steps", "steps_per_epoch", "pretrain_steps")


def in_order(folds: Sequence[Fold], answers: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions answered for, ascending, and the answers; a position stands once for each repeat.

    Args:
        folds: As planned.
        answers: For the held positions of each.
    """
    positions = np.concatenate([fold.held for fold in folds])
    order = np.argsort(positions, kind="stable")
    return positions[order], np.concatenate(answers)[order]
