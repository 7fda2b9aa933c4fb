"""Family `boosting`: gradient-boosted trees on tables, a baseline that tables are rarely beaten on; grown, not trained.

scikit-learn grows them (`pipeline.models.solvers.trees`), and Keras layers walk them: a comparison for each split, a
product of paths for each leaf, a sum over leaves. Answers are scikit-learn's to float32.

It reads numbers as they come: hand-made features of images, steps of series laid flat (lags), what is known about a
step, and side features. Trees do not mind scales; of a shorter series the padding is a number like any other.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from pipeline.inputs.arrays import MAIN_INPUT, Arrays, named, take, take_targets
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.models.layers.heads import finished, num_outputs, raw_name
from pipeline.models.layers.inputs import Start, untouched
from pipeline.models.solvers.folds import dealt, evenly, in_stretches
from pipeline.models.solvers.trees import Settings, Trees, as_arrays, grow

MOST_WEIGHTS = 1 << 24
"""Numbers in the table of comparisons, 64 MiB: features times splits of all trees."""
MOST_VALUES = 1 << 27
"""Numbers that are looked at, 1 GiB as scikit-learn takes them; of more rows so many, evenly spaced."""
STEEP = 1e30
"""A difference of two float32 numbers times this is above 1, or overflows to infinity, which is as good."""


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    iterations: int = 100,
    leaves: int = 15,
    learning_rate: float = 0.1,  # noqa: ARG001 - of `solve`, which gets the same settings
    min_samples_leaf: int = 20,  # noqa: ARG001 - of `solve`
) -> keras.Model:
    """Return the model before its trees are grown.

    Args:
        input_spec: Of kind `vector` or `series`.
        output_spec: Of task classification or regression.
        iterations: Room for so many trees, of several classes for each.
        leaves: Of a tree, at most.
        learning_rate: See `solve`.
        min_samples_leaf: See `solve`.

    Returns:
        Raw inputs in; probabilities or numbers out, see `pipeline.models.layers.heads`.

    Raises:
        ValueError: Another task or kind of input, or tables beyond `MOST_WEIGHTS`.
    """
    if output_spec.task not in ("classification", "regression") or input_spec.kind not in (
        "vector",
        "series",
    ):
        raise ValueError(
            "Family boosting tells classes or numbers from tables and series. Expected task=classification or "
            f"regression, kind vector or series. Received: task={output_spec.task}, kind={input_spec.kind}. Use family "
            "linear."
        )
    start, outputs = untouched(input_spec), num_outputs(output_spec)
    trees, splits = iterations * outputs, max(1, leaves - 1)
    features = _flat(start)
    size = int(features.shape[-1]) * trees * splits
    if size > MOST_WEIGHTS:
        raise ValueError(
            f"Family boosting would be too large. Expected at most {MOST_WEIGHTS:,} numbers: features x iterations x "
            f"outputs x (leaves - 1). Received: {features.shape[-1]} x {iterations} x {outputs} x {splits} = "
            f"{size:,}. Lower model.iterations or model.leaves."
        )
    above = layers.Dense(trees * splits, name="above_threshold")(features)
    steep = layers.Rescaling(-STEEP, offset=1.0, name="steep")(above)
    left = layers.ReLU(max_value=1.0, name="goes_left")(steep)
    shaped = layers.Reshape((trees, splits), name="splits")(left)
    ways = layers.EinsumDense(
        "btn,tnl->btl", output_shape=(trees, leaves), bias_axes="tl", name="ways_to_leaves"
    )
    reached = layers.ReLU(name="reached")(ways(shaped))
    raw = layers.Dense(outputs, name=raw_name(output_spec))(layers.Flatten(name="leaves")(reached))
    model = finished("boosting", start, raw, output_spec)
    model.trainable = False
    return model


def _flat(start: Start) -> keras.KerasTensor:
    """Return all inputs side by side, (batch, num_features)."""
    main = start.inputs["inputs"]
    parts = [layers.Flatten(name="flatten")(main) if len(main.shape) > 2 else main]
    parts += [start.inputs["side"]] if "side" in start.inputs else []
    if "categories" in start.inputs:
        parts.append(layers.Rescaling(1.0, name="category_numbers")(start.inputs["categories"]))
    return parts[0] if len(parts) == 1 else layers.Concatenate(name="joined")(parts)


def solve(
    model: keras.Model,
    data: TrainData,
    *,
    iterations: int = 100,
    leaves: int = 15,
    learning_rate: float = 0.1,
    min_samples_leaf: int = 20,
    class_weights: str = "none",
    **_settings: Any,
) -> dict[str, Any]:
    """Grow the trees on the training rows and write them into the model.

    Args:
        model: From `build` with the same settings; its weights are set.
        data: Its training rows are read, and no other.
        iterations: At most; how many is chosen over folds of the training rows.
        leaves: Of a tree, at most.
        learning_rate: By which each tree is shrunk.
        min_samples_leaf: Training rows in a leaf, at least.
        class_weights: `balanced` lets rare classes count as much as frequent ones.

    Returns:
        Iterations chosen, and number of rows.
    """
    wide = math.prod(data.input_spec.shape) + data.input_spec.num_side + len(data.input_spec.categories)
    rows = data.train_rows[evenly(len(data.train_rows), max(1, MOST_VALUES // wide))]
    features = table(take(data.inputs, rows))
    targets = take_targets(data.inputs, data.targets, rows)
    classes = data.output_spec.task == "classification"
    if data.targets is None:
        folds = in_stretches(len(rows))
    else:
        groups = None if data.groups is None else data.groups[rows]
        folds = dealt(targets if classes else np.zeros(len(rows)), groups)
    weights = None
    if classes and class_weights == "balanced":
        counts = np.bincount(targets)
        weights = (len(targets) / (len(counts) * np.maximum(counts, 1)))[targets]
    settings = Settings(iterations, leaves, learning_rate, min_samples_leaf)
    models, best = grow(features, targets, folds, settings, classes=classes, row_weights=weights)
    write(model, as_arrays(models, iterations * num_outputs(data.output_spec), leaves), features.shape[1])
    return {"iterations": best, "rows": len(rows)}


def table(arrays: Arrays) -> np.ndarray:
    """Return samples as scikit-learn takes them, float32 (num_rows, num_features), in the order of `build`."""
    given = named(arrays)
    parts = [given[MAIN_INPUT].reshape(len(given[MAIN_INPUT]), -1)]
    parts += [given[name] for name in ("side", "categories") if name in given]
    return np.hstack([part.astype(np.float32) for part in parts])


def write(model: keras.Model, trees: Trees, num_features: int) -> None:
    """Put trees into the layers that walk them."""
    splits = trees.features.ravel()
    chosen = np.zeros((num_features, len(splits)), np.float32)
    chosen[splits, np.arange(len(splits))] = 1
    model.get_layer("above_threshold").set_weights([chosen, -trees.thresholds.ravel()])
    # A leaf is reached by all its turns: what is left of it must be 1, what is right 0, and then the sum is 1.
    there = trees.lefts >= 0
    model.get_layer("ways_to_leaves").set_weights(
        [trees.turns, np.where(there, 1.0 - trees.lefts, 0.0).astype(np.float32)]
    )
    layer = next(layer for layer in model.layers if layer.name in ("logits", "values"))
    layer.set_weights([trees.values.reshape(-1, trees.values.shape[-1]), trees.starts])
