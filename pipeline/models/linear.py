"""Family `linear`: softmax, logistic or linear regression, a baseline that every model must beat; solved, not trained.

Of several labels each output has weights of its own and a sigmoid: one logistic regression per label, against the rest.
The model is convex, so that it has an optimum, and that is what a measure should be: see
`pipeline.models.solvers.lbfgs` for how it is found and how its penalty is chosen.

Memory stays bounded: sums of products where numbers are asked of up to 3,000 features, chunks of one array
otherwise (`pipeline.runtime.growing.large_array`). That array has at most `MOST_VALUES` numbers; of more rows so many
are taken, evenly spaced. A linear map of a thousand features is known from a hundred thousand rows.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from scipy import sparse

from pipeline.inputs.arrays import MAIN_INPUT, Arrays, named, take, take_targets
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.models.layers.heads import (
    finished,
    num_outputs,
    past_per_channel,
    raw_name,
    require_forecasting,
)
from pipeline.models.layers.inputs import Start, begin, relative_to_last
from pipeline.models.solvers import lbfgs, least_squares
from pipeline.models.solvers.folds import dealt, evenly, in_stretches
from pipeline.models.solvers.lbfgs import Kind, Matrix, Solution
from pipeline.runtime.growing import large_array

MOST_VALUES = 1 << 28
"""Numbers that are looked at, 1 GiB as float32: 342,000 images of 28x28, 21,800 photographs of 64x64."""
CHUNK_ROWS = 1024
NEARLY_ONE = 0.999
"""Targets of a tanh are cut there: of 1 itself it has no inverse."""


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    l2: float | None = None,  # noqa: ARG001 - of `solve`, which gets the same settings
    last_value_residual: bool = False,
    per_channel: bool = False,
    output_activation: str = "linear",
) -> keras.Model:
    """Return a regression before its weights are solved for.

    Args:
        input_spec: Of kind `image`, `vector`, `bag` or `series`.
        output_spec: What is asked.
        l2: See `solve`.
        last_value_residual: Forecasting: read distances from the last step, and predict the change from it.
        per_channel: Forecasting: each target from its own channel alone, all by the same weights.
        output_activation: `linear` or `tanh`; regression and forecasting.

    Returns:
        Raw inputs in; probabilities or numbers out, see `pipeline.models.layers.heads`.

    Raises:
        ValueError: A setting does not fit the task or the kind of input.
    """
    kinds = ("image", "vector", "bag", "series")
    units, name = num_outputs(output_spec), raw_name(output_spec)
    start = begin(input_spec, kinds, embedding_units=units)
    hidden, last = start.hidden, None
    if last_value_residual:
        require_forecasting(output_spec, "last_value_residual")
        hidden, last = relative_to_last(start)
    if per_channel:
        past = past_per_channel(hidden, output_spec)
        ahead = layers.Dense(output_spec.horizon, name=name)(past)
        raw = layers.Flatten(name="flatten")(layers.Permute((2, 1), name="steps_first")(ahead))
    elif input_spec.kind == "bag":
        # The vectors of n-grams are the weights already. Keras has no layer that adds an intercept alone;
        # this one has a scale per output beside it.
        scaled = layers.EinsumDense(
            "ab,b->ab", output_shape=units, bias_axes="b", kernel_initializer="ones", name=name
        )
        raw = scaled(hidden)
    else:
        flat = layers.Flatten(name="flatten")(hidden) if len(hidden.shape) > 2 else hidden
        raw = layers.Dense(units, name=name)(flat)
    raw = _with_side_features(raw, start, units)
    model = finished("linear", start, raw, output_spec, output_activation=output_activation, last=last)
    model.trainable = False
    return model


def _with_side_features(raw: keras.KerasTensor, start: Start, units: int) -> keras.KerasTensor:
    """Return `raw` plus a weight for each number beside the main input, and one for each category."""
    parts = [raw]
    if "side" in start.inputs:
        parts.append(layers.Dense(units, use_bias=False, name="of_side_features")(start.inputs["side"]))
    sizes = start.spec.categories
    if sizes:
        offsets = [float(sum(sizes[:index])) for index in range(len(sizes))]
        ids = layers.Rescaling(1.0, offset=offsets, name="category_ids")(start.inputs["categories"])
        weights = layers.Embedding(sum(sizes), units, name="of_categories")(ids)
        parts.append(layers.GlobalAveragePooling1D(name="mean_of_categories")(weights))
    return raw if len(parts) == 1 else layers.Add(name="with_side_features")(parts)


def solve(
    model: keras.Model,
    data: TrainData,
    *,
    l2: float | None = None,
    class_weights: str = "none",
    output_activation: str = "linear",
    **_settings: Any,
) -> dict[str, Any]:
    """Set the weights to those of least penalised loss on the training rows.

    Classes by log loss over their rows, labels by its sum over labels, numbers by squared error. Folds keep copies and
    groups together and share out classes; windows stand aside in stretches.

    Args:
        model: From `build`; its weights are set.
        data: Its training rows are read, and no other.
        l2: Penalty on the squares of the weights beside the mean loss, as Keras has it; None chooses it.
        class_weights: `balanced` lets rare classes count as much as frequent ones.
        output_activation: As for `build`; of `tanh` the inverse of the targets is solved for.

    Returns:
        Penalty, loss, steps of the solver and number of rows.
    """
    spec, units = data.output_spec, num_outputs(data.output_spec)
    name = raw_name(spec)
    per_channel = not isinstance(model.get_layer(name), layers.EinsumDense) and (
        len(model.get_layer(name).output.shape) == 3
    )
    columns = model.get_layer(name).units if per_channel else units
    problem = _Rows(model, data, per_channel=per_channel, inverse=output_activation == "tanh")
    if spec.classes:
        kind: Kind = "softmax" if spec.task == "classification" and spec.num_classes > 2 else "sigmoid"
        penalty = None if l2 is None else l2 * (units if spec.task == "multilabel" else 1)
        asked = problem.targets[:, None] if units == 1 else problem.targets
        weights = _balanced(problem.targets) if class_weights == "balanced" else None
        solution = lbfgs.solve(
            problem.features(),
            asked,
            kind,
            folds=problem.folds,
            row_weights=weights,
            penalty=penalty,
            num_outputs=units,
        )
    else:
        penalty = None if l2 is None else l2 * columns / 2
        if problem.num_features <= least_squares.MOST_FEATURES:
            solution = least_squares.solve(problem.parts(), problem.num_features, columns, penalty=penalty)
        else:
            solution = lbfgs.solve(
                problem.features(),
                problem.numbers(),
                "squares",
                folds=problem.folds,
                penalty=penalty,
            )
    _write(model, data, solution, per_channel=per_channel)
    return {**solution.facts(), "rows": len(problem.rows)}


class _Rows:
    """The training rows as a linear model reads them: the main input, numbers beside it, and 0 or 1 per category."""

    def __init__(self, model: keras.Model, data: TrainData, *, per_channel: bool, inverse: bool) -> None:
        self._model, self._data, self._per_channel, self._inverse = model, data, per_channel, inverse
        spec = data.input_spec
        self._is_bag = spec.kind == "bag"
        self._layer = model.get_layer(raw_name(data.output_spec))
        self._read = None if self._is_bag else keras.Model(model.inputs, self._layer.input)
        main = spec.vocabulary_size if self._is_bag else int(self._layer.input.shape[-1])
        self._num_targets = data.output_spec.num_targets if per_channel else 1
        self.num_features = main + (spec.num_side + sum(spec.categories)) * self._num_targets
        wide = spec.shape[0] if self._is_bag else self.num_features * self._num_targets
        chosen = evenly(len(data.train_rows), max(1, MOST_VALUES // wide))
        self.rows = data.train_rows[chosen]
        if data.targets is None:
            self.targets = np.empty(0)
            self.folds = in_stretches(len(self.rows))
        else:
            self.targets = data.targets[self.rows]
            strata = self.targets if data.output_spec.task == "classification" else np.zeros(len(self.rows))
            if data.output_spec.task == "multilabel":
                strata = self.targets.argmax(axis=1)
            self.folds = dealt(strata, None if data.groups is None else data.groups[self.rows])

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield features, numbers to predict and folds, some rows at a time."""
        _cleared(self._model)
        for first in range(0, len(self.rows), CHUNK_ROWS):
            rows = self.rows[first : first + CHUNK_ROWS]
            folds = self.folds[first : first + CHUNK_ROWS]
            made = take(self._data.inputs, rows)
            features = self._dense(made)
            asked = self._asked(made, rows)
            yield features, asked, np.repeat(folds, len(features) // len(rows))

    def numbers(self) -> np.ndarray:
        """Return what is to be predicted, float32 (num_rows, num_outputs)."""
        return np.concatenate([asked for _features, asked, _folds in self.parts()])

    def features(self) -> Matrix:
        """Return the features of all rows: float32, mapped from a file where they are many, or CSR."""
        if self._is_bag:
            return self._sparse()
        made = large_array((len(self.rows), self.num_features), np.float32)
        for first in range(0, len(self.rows), CHUNK_ROWS):
            rows = self.rows[first : first + CHUNK_ROWS]
            made[first : first + len(rows)] = self._dense(take(self._data.inputs, rows))
        return made

    def _dense(self, made: Arrays) -> np.ndarray:
        given = named(made)
        if self._read is None:
            main = np.zeros((len(given[MAIN_INPUT]), self._data.input_spec.vocabulary_size), np.float32)
            np.add.at(
                main, (np.arange(len(main))[:, None], given[MAIN_INPUT]), given["weights"].astype(np.float32)
            )
        else:
            main = np.asarray(self._read.predict_on_batch(made))
        beside = self._beside(given)
        if not self._per_channel:
            return np.hstack([main, *beside]) if beside else main
        count, width = main.shape[:2]
        if beside:
            # What stands beside has weights of its own for each target.
            told = np.hstack(beside)
            own = np.einsum("bs,tu->btus", told, np.eye(width, dtype=np.float32)).reshape(count, width, -1)
            main = np.concatenate([main, own], axis=2)
        return main.reshape(count * width, -1)

    def _beside(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = [given["side"]] if "side" in given else []
        for column, size in enumerate(self._data.input_spec.categories):
            found.append(np.eye(size, dtype=np.float32)[given["categories"][:, column]])
        return found

    def _asked(self, made: Arrays, rows: np.ndarray) -> np.ndarray:
        """Return what the linear part must give, float32 (rows, num_outputs)."""
        asked = take_targets(self._data.inputs, self._data.targets, rows)
        # With all weights 0 the model says what is added to its linear part.
        asked = asked - np.asarray(self._model.predict_on_batch(made)).reshape(asked.shape)
        if self._inverse:
            asked = np.arctanh(np.clip(asked, -NEARLY_ONE, NEARLY_ONE))
        if self._per_channel:
            asked = asked.transpose(0, 2, 1)
            return np.asarray(asked.reshape(-1, asked.shape[-1]))
        return np.asarray(asked.reshape(len(asked), -1))

    def _sparse(self) -> sparse.csr_matrix:
        parts = []
        for first in range(0, len(self.rows), CHUNK_ROWS):
            given = named(take(self._data.inputs, self.rows[first : first + CHUNK_ROWS]))
            ids, weights = given[MAIN_INPUT], given["weights"]
            used = weights != 0
            row = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)[used]
            shape = (len(ids), self._data.input_spec.vocabulary_size)
            bag = sparse.csr_matrix((weights[used].astype(np.float64), (row, ids[used])), shape=shape)
            parts.append(sparse.hstack([bag, *map(sparse.csr_matrix, self._beside(given))], format="csr"))
        return sparse.vstack(parts, format="csr")


def _cleared(model: keras.Model) -> None:
    for layer in _layers(model):
        if isinstance(layer, layers.EinsumDense):
            layer.set_weights([np.ones_like(layer.get_weights()[0]), np.zeros_like(layer.get_weights()[1])])
        else:
            layer.set_weights([np.zeros_like(array) for array in layer.get_weights()])


def _layers(model: keras.Model) -> list[layers.Layer]:
    names = ("logits", "values", "ngram_vectors", "of_side_features", "of_categories")
    return [layer for layer in model.layers if layer.name in names]


def _write(model: keras.Model, data: TrainData, solution: Solution, *, per_channel: bool) -> None:
    """Put a solution into the layers that its features came from."""
    _cleared(model)
    spec = data.input_spec
    width, sizes = spec.num_side, spec.categories
    layer = model.get_layer(raw_name(data.output_spec))
    targets = data.output_spec.num_targets if per_channel else 1
    main = len(solution.weights) - (width + sum(sizes)) * targets
    if spec.kind == "bag":
        model.get_layer("ngram_vectors").set_weights([solution.weights[:main]])
        layer.set_weights([layer.get_weights()[0], solution.intercepts])
    else:
        layer.set_weights([solution.weights[:main], solution.intercepts])
    beside = solution.weights[main:]
    if per_channel and len(beside):
        # (targets, what stands beside, steps) to (what stands beside, steps and targets).
        told = beside.reshape(targets, width + sum(sizes), -1)
        beside = told.transpose(1, 2, 0).reshape(width + sum(sizes), -1)
    if width:
        model.get_layer("of_side_features").set_weights([beside[:width]])
    if sizes:  # the mean over columns times their number is the sum
        model.get_layer("of_categories").set_weights([beside[width:] * len(sizes)])


def _balanced(targets: np.ndarray) -> np.ndarray:
    counts = np.bincount(targets)
    return np.asarray((len(targets) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[targets])
