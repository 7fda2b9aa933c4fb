"""From raw records to answers in the user's words, by a folder that holds a model: what evaluation does, for strangers.

A record is what `pipeline.serving.record` says. An answer is plain JSON, by task:

- classification: `class`, its `probability`, `probabilities` by class; of two classes `positive_class` and `threshold`;
- multilabel: `labels`, `probabilities` and `thresholds` by label;
- regression: `values` by target, with `low`, `high` and `confidence` where the model knows its intervals;
- forecasting: the same, a list of the steps ahead for each target;
- anomaly: `error`, and `score` (above 1 it is an alarm) and `alarm`; errors are averaged over as many windows as on
  evaluation, as far as the record has steps before the last ones.

Nothing here needs TensorFlow or MLflow: onnxruntime computes, by the same code that evaluation has predicted with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.golden import (
    EXPORTED_TOLERANCE,
    GOLDEN_ANSWERS,
    difference,
    exported_check,
    read_npz,
)
from pipeline.evaluation.measures import threshold_of
from pipeline.inference import prediction
from pipeline.inputs.arrays import Named
from pipeline.inputs.specs import kinds_read, output_spec
from pipeline.metrics.anomalies import ALL_SERIES
from pipeline.metrics.classification import USUAL_THRESHOLD
from pipeline.metrics.decisions import decided, labels_decided
from pipeline.runtime.errors import DataRefused, InputMissing, StorageFailed
from pipeline.runtime.files import content_key, file_digest, read_json
from pipeline.runtime.paths import MODEL_ONNX
from pipeline.serving.record import Record, Transform, series_name

PAPERS = ("card.json", "settings.json", "state.json", "golden.npz", MODEL_ONNX)
Answer = dict[str, Any]


def papers_digest(folder: Path) -> str:
    """Return a sha256 over names and digests of a model's papers: two models with one digest answer alike."""
    return content_key({name: file_digest(folder / name, "sha256") for name in PAPERS})


@dataclass(frozen=True)
class Refused:
    """A record that cannot be answered.

    Attributes:
        problems: All that is wrong with it.
    """

    problems: tuple[str, ...]


SAID = (
    "The model's answer is no finite number. Expected values like those of training. Received: some far beyond. Mend "
    "the record."
)
BEYOND = Refused((SAID,))


class Scorer:
    """A model with its papers, which answers records.

    Attributes:
        task: What it was made for.
        card: Content of its card.json.
        state: Content of its state.json.
    """

    def __init__(self, folder: Path) -> None:
        """Open a model, and let it give its golden answers.

        Args:
            folder: Like models/best: model.onnx, card.json, settings.json, state.json, golden.npz.

        Raises:
            InputMissing: A file is not there.
            StorageFailed: A file is damaged, or the model does not give its golden answers.
        """
        missing = [name for name in PAPERS if not (folder / name).is_file()]
        if missing:
            raise InputMissing(
                f"{folder} is no model that can answer. Expected {', '.join(PAPERS)}. Received: no "
                f"{', no '.join(missing)}. Name a folder like models/best; `dvc repro evaluate` makes it."
            )
        try:
            self._read(folder)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise StorageFailed(
                f"{folder} is damaged or no model of this project. Expected papers as `evaluate` writes them. "
                f"Received: {type(error).__name__}: {str(error)[:200]}. Fetch or make it again (`dvc repro --force "
                "evaluate`)."
            ) from error

    def _read(self, folder: Path) -> None:
        self._model = exported_check(folder)
        self._golden = read_npz(folder / "golden.npz")
        self.card, self.state = read_json(folder / "card.json"), read_json(folder / "state.json")
        settings = read_json(folder / "settings.json")
        self._training: Mapping[str, Any] = settings["training"]
        self._transform = Transform(self.state, kinds_read(self.state, settings))
        self._spec = output_spec(self.state)
        self.task = self._spec.task
        self._point: Mapping[str, Any] = self.card.get("operating_point") or {}

    def answers(self, records: Sequence[Record]) -> list[Answer | Refused]:
        """Return an answer for each record, in order; those that are malformed are refused, the others answered."""
        found: list[Answer | Refused | None] = [None] * len(records)
        if self.task == "anomaly":
            return [self._alarm(record) for record in records]
        made: list[Named] = []
        places = []
        for place, record in enumerate(records):
            try:
                made.append(self._transform(record))
                places.append(place)
            except DataRefused as error:
                found[place] = Refused(tuple(str(error).splitlines()))
        if made:
            for place, predicted in zip(places, self._predicted(made), strict=True):
                found[place] = BEYOND if predicted is None else self._in_words(predicted)
        return [answer for answer in found if answer is not None]

    def steps_read(self, steps: int) -> range:
        """Return which of so many steps of a series are read: the others at most fill gaps or move the scale.

        Of windows those of the last one and, where errors are averaged, of those before; of a whole series the first.
        """
        windows = self.state.get("windows")
        if not windows:
            return range(min(steps, self.state["series"]["max_length"]))
        return range(self._ends(steps)[-1] - windows["length"], steps)

    def gives_golden_answers(self) -> bool:
        """Return whether it still answers as it did when it was opened."""
        inputs = dict(self._golden)
        expected = inputs.pop(GOLDEN_ANSWERS)
        given: Any = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        try:
            said = prediction.answers(
                self._model, given, np.arange(len(expected)), self._training, self._spec
            )
        except prediction.NotFinite:
            return False
        return difference(said, expected, self.state, EXPORTED_TOLERANCE).within

    def _predicted(self, made: Sequence[Named]) -> list[np.ndarray | None]:
        """Return what the model says of each record; None where that is no finite number."""
        together = {name: np.concatenate([one[name] for one in made]) for name in made[0]}
        inputs = next(iter(together.values())) if len(together) == 1 else together
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                said = prediction.answers(
                    self._model, inputs, np.arange(len(made)), self._training, self._spec
                )
        except prediction.NotFinite:  # whose it is shows when each is asked alone
            return [None] if len(made) == 1 else [self._predicted([one])[0] for one in made]
        return [one if np.isfinite(one).all() else None for one in said]

    def _in_words(self, predicted: np.ndarray) -> Answer:
        if self.task == "classification":
            return self._class(predicted)
        if self.task == "multilabel":
            return self._labels(predicted)
        return self._values(predicted)

    def _class(self, probabilities: np.ndarray) -> Answer:
        classes = self._spec.classes
        at = threshold_of(classes, self._point)
        (chosen,) = decided(probabilities[None], at)
        threshold = {name: self._point[name] for name in ("positive_class", "threshold")} if at else {}
        shares = probabilities.tolist()
        return {
            "class": classes[chosen],
            "probability": shares[chosen],
            "probabilities": dict(zip(classes, shares, strict=True)),
            **threshold,
        }

    def _labels(self, probabilities: np.ndarray) -> Answer:
        shares = dict(zip(self._spec.classes, probabilities.tolist(), strict=True))
        chosen = self._point.get("thresholds", {})
        thresholds = {name: float(chosen.get(name, USUAL_THRESHOLD)) for name in shares}
        said = labels_decided(probabilities[None], list(thresholds.values()))
        return {
            "labels": [name for name, reached in zip(shares, said[0], strict=True) if reached],
            "probabilities": shares,
            "thresholds": thresholds,
        }

    def _values(self, predicted: np.ndarray) -> Answer:
        def by_target(values: np.ndarray) -> dict[str, Any]:
            return {name: values[..., index].tolist() for index, name in enumerate(self._spec.targets)}

        answer: Answer = {"values": by_target(predicted)}
        reach = self.card.get("prediction_intervals")
        if reach is not None:
            wide = np.asarray(reach["half_widths"], float).reshape(predicted.shape)
            answer |= {"low": by_target(predicted - wide), "high": by_target(predicted + wide)}
            answer["confidence"] = reach["confidence"]
        return answer

    def _alarm(self, record: Record) -> Answer | Refused:
        """Return the error of the last window, and the mean of it and those before in units of the threshold."""
        try:
            made, name = [self._transform(record)], series_name(record)
        except DataRefused as error:
            return Refused(tuple(str(error).splitlines()))
        steps = record["series"]
        for kept in self._ends(len(steps))[1:]:
            try:
                made.append(self._transform({**record, "series": steps[:kept]}))
            except DataRefused as error:
                return Refused(tuple(str(error).splitlines()))
        errors = [error for error in self._predicted(made) if error is not None]
        if len(errors) < len(made):
            return BEYOND
        answer: Answer = {"error": float(errors[0])}
        if "alarms" in self.card:  # versions of earlier releases do not say how errors are averaged
            thresholds = self._point["thresholds"]
            score = float(np.mean(errors, dtype=float)) / thresholds.get(name, thresholds[ALL_SERIES])
            answer |= {"score": score, "alarm": score > 1}
        return answer

    def _ends(self, steps: int) -> list[int]:
        """Return behind which of so many steps the windows end whose errors are averaged, the last one first."""
        rules = self.card.get("alarms") or {"smoothing_steps": 1, "stride": 1}
        ends = [steps - before * rules["stride"] for before in range(rules["smoothing_steps"])]
        return [end for end in ends if end == steps or end >= self.state["windows"]["length"]]
