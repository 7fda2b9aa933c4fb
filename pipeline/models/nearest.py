"""Family `nearest`: the classes of the nearest training series, by Euclidean distance; nothing is trained.

Every training series votes for its class with the weight exp(-distance^2 / width^2), so that far ones say nothing: the
narrower, the fewer neighbours count, down to the nearest alone. No answer is 0 or 1, since how often such neighbours
err is counted in. Both are chosen by asking each training series about itself with its own row, and its whole
group, left out: the width that is right most often, and the doubt of least log loss there.
"""

from typing import Any

import keras
import numpy as np
from keras import layers
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.inputs.arrays import MAIN_INPUT, named, take
from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.models.layers.heads import num_outputs
from pipeline.models.layers.inputs import begin
from pipeline.models.solvers.folds import evenly

SHARPNESS = tuple(2.0**power for power in range(-2, 13))
"""Squared distances are divided by the usual one to the nearest, and multiplied by this: at 1 some tens of
neighbours share the vote, from 1,000 on whoever is nearer by a hundredth has it all."""
DOUBTS = (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001)
"""Shares of the vote that go to the classes as they are in training."""
MOST_ASKED = 2_000
"""Training series that are asked, evenly spaced: a share of right answers is known to a point from them."""
CHUNK_VALUES = 1 << 22


def build(input_spec: InputSpec, output_spec: OutputSpec) -> keras.Model:
    """Return the model before it knows the training series; side features are not compared.

    |x - t|^2 = |x|^2 - 2 (x t - |t|^2 / 2), so that the nearest t has the largest x t - |t|^2 / 2: a dense
    layer, whose softmax is the vote of each training series, and a second one that adds them up by class.

    Args:
        input_spec: Of kind `series`; padding counts as 0, the mean.
        output_spec: Of task classification; its counts say how many training series there are.

    Returns:
        Series in, probabilities out.

    Raises:
        ValueError: Another task or kind of input.
    """
    if output_spec.task != "classification":
        raise ValueError(
            "Family nearest looks up classes. Expected task=classification. Received: "
            f"task={output_spec.task}. Use family linear as a baseline."
        )
    start = begin(input_spec, ("series",))
    flat = layers.Flatten(name="flatten")(start.hidden)
    closeness = layers.Dense(sum(output_spec.class_counts), name="closeness")(flat)
    votes = layers.Softmax(name="votes")(closeness)
    output = layers.Dense(num_outputs(output_spec), use_bias=False, name="probabilities")(votes)
    model = keras.Model(start.model_inputs, output, name="nearest")
    model.trainable = False
    return model


def solve(model: keras.Model, data: TrainData, **_settings: Any) -> dict[str, Any]:
    """Let a model know the training series, and choose how many of them count.

    Args:
        model: From `build`; its weights are set.
        data: Its training rows are read, and no other.

    Returns:
        Sharpness, doubt, and the share of training series that are told right by the others.
    """
    main = named(take(data.inputs, data.train_rows))[MAIN_INPUT]
    targets = None if data.targets is None else data.targets[data.train_rows]
    groups = None if data.groups is None else data.groups[data.train_rows]
    return fit_closed_form(model, main, targets, groups)


def fit_closed_form(
    model: keras.Model, inputs: np.ndarray, targets: np.ndarray | None, groups: np.ndarray | None = None
) -> dict[str, Any]:
    """Let a model know the training series, as `solve` does.

    Args:
        model: From `build`; its weights are set.
        inputs: All training series, float32 (num_train, length, channels), `PAD` behind the end.
        targets: Class index per series, (num_train,).
        groups: Number per series of what is left out together; None: each alone.

    Raises:
        ValueError: Targets are missing, or there are not as many series as the model was built for.
    """
    closeness, probabilities = model.get_layer("closeness"), model.get_layer("probabilities")
    if targets is None or len(inputs) != closeness.units:
        raise ValueError(
            f"Family nearest needs all training series with their classes. Expected {closeness.units}. Received: "
            f"{len(inputs)}, targets={'none' if targets is None else len(targets)}. Run `dvc repro features`."
        )
    flat = np.where(inputs == np.float32(PAD), np.float32(0), inputs).reshape(len(inputs), -1)
    flat = flat.astype(np.float64)
    num_classes = 2 if probabilities.units == 1 else probabilities.units
    classes = np.eye(num_classes)[np.asarray(targets)]
    with threadpool_limits(1):  # the last bits of a product depend on how many threads share it
        asked = evenly(len(flat), MOST_ASKED)
        distances = _from_others(flat, asked, np.arange(len(flat)) if groups is None else groups)
        usual = _usual(distances)
        sharpness, doubt, right = _best(distances / usual, classes, np.asarray(targets)[asked])
    factor = 2 * sharpness / usual
    closeness.set_weights([factor * flat.T, -factor * np.square(flat).sum(axis=1) / 2])
    votes = (1 - doubt) * classes + doubt * classes.mean(axis=0)
    probabilities.set_weights([votes[:, 1:] if num_classes == 2 else votes])
    return {"sharpness": sharpness, "doubt": doubt, "right_of_others": round(right, 6)}


def _from_others(flat: np.ndarray, asked: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return squared distances of the asked rows to all, (num_asked, num_train); infinite within a group."""
    squares = np.square(flat).sum(axis=1)
    found = np.empty((len(asked), len(flat)))
    rows_at_once = max(1, CHUNK_VALUES // len(flat))
    for first in range(0, len(asked), rows_at_once):
        rows = asked[first : first + rows_at_once]
        part = squares[rows][:, None] - 2 * flat[rows] @ flat.T + squares
        part[groups[rows][:, None] == groups] = np.inf
        found[first : first + len(rows)] = np.maximum(part, 0)
    return found


def _usual(distances: np.ndarray) -> float:
    """Return the median squared distance to the nearest that is no copy; 1 where all are copies or alone."""
    apart = np.where(distances > 0, distances, np.inf).min(axis=1)
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if len(apart) else 1.0


def _best(distances: np.ndarray, classes: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Return sharpness, doubt and share of right answers; where nobody can be asked, one neighbour and half a doubt."""
    able = np.isfinite(distances).any(axis=1)
    if not able.any():
        return SHARPNESS[-1], DOUBTS[0], 0.0
    distances, truth = distances[able], truth[able]
    nearest = distances.min(axis=1, keepdims=True)
    everywhere = classes.mean(axis=0)
    found = []
    for sharpness in SHARPNESS:
        votes = np.exp(-sharpness * (distances - nearest))
        shares = votes @ classes / votes.sum(axis=1, keepdims=True)
        right = float(np.mean(shares.argmax(axis=1) == truth))
        of_truth = shares[np.arange(len(truth)), truth]
        losses = [
            -float(np.log((1 - doubt) * of_truth + doubt * everywhere[truth]).mean()) for doubt in DOUBTS
        ]
        found.append((-right, min(losses), sharpness, DOUBTS[int(np.argmin(losses))]))
    best = min(found)
    return best[2], best[3], -best[0]
