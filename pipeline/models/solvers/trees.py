"""Gradient-boosted trees by scikit-learn, and the same trees as arrays that matrix products can walk.

A tree of N splits and L leaves is two tables: which feature each split compares with which number, and for each leaf
which splits lead to it. A row goes left at a split where its feature is at most the threshold; thresholds are brought
to float32 downwards, so that float32 features meet exactly the answer that scikit-learn gives.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

SEED = 0
"""scikit-learn draws nothing here but takes one: bins are made from a sample of more than 200,000 rows."""
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trees:
    """Trees as arrays; those that are not there have no leaf with a value.

    Attributes:
        features: Index of the feature that each split compares, int64 (num_trees, splits).
        thresholds: At most it goes left, float32 (num_trees, splits).
        turns: 1 where a leaf lies left of a split, -1 right, else 0; float32 (num_trees, splits, leaves).
        lefts: How many splits a leaf lies left of, int64 (num_trees, leaves); -1 for no leaf.
        values: What a leaf adds to each output, float32 (num_trees, leaves, num_outputs).
        starts: Of each output, float32 (num_outputs,).
    """

    features: npt.NDArray[np.int64]
    thresholds: Singles
    turns: Singles
    lefts: npt.NDArray[np.int64]
    values: Singles
    starts: Singles


@dataclass(frozen=True)
class Settings:
    """How trees are grown, by scikit-learn's meanings.

    Attributes:
        iterations: At most; of several classes each adds a tree per class.
        leaves: Of a tree, at most.
        learning_rate: By which each tree is shrunk.
        min_samples_leaf: Training rows in a leaf, at least.
    """

    iterations: int
    leaves: int
    learning_rate: float
    min_samples_leaf: int


def grow(
    features: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    settings: Settings,
    *,
    classes: bool,
    row_weights: np.ndarray | None = None,
) -> tuple[list[Any], int]:
    """Return scikit-learn's models, one per number that is asked or one for all classes, and their iterations.

    How many iterations is chosen over the folds, by log loss or squared error of the rows that stand aside: more trees
    are surer of themselves, so that this calibrates them too. Then all rows train.

    Args:
        features: (num_rows, num_features), finite.
        targets: Class index per row, (num_rows,), or numbers (num_rows, num_targets).
        folds: Fold of each row.
        settings: How trees are grown.
        classes: Whether targets are classes.
        row_weights: What a row counts; None: all alike.
    """
    columns = [targets] if classes else list(targets.T)
    present = [fold for fold in np.unique(folds) if (folds != fold).any()]
    with threadpool_limits(1):  # the last bits of a sum depend on how many threads share it
        losses = np.zeros(settings.iterations)
        for fold in present:
            kept = folds != fold
            for column in columns:
                losses += _held_out_losses(features, column, kept, settings, classes, row_weights)
        best = int(losses.argmin()) + 1 if len(present) > 1 else max(1, settings.iterations // 4)
        models = [
            _model(settings, best, classes).fit(features, column, sample_weight=row_weights)
            for column in columns
        ]
    return models, best


def _model(settings: Settings, iterations: int, classes: bool) -> Any:
    made = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return made(
        max_iter=iterations,
        max_leaf_nodes=settings.leaves,
        learning_rate=settings.learning_rate,
        min_samples_leaf=settings.min_samples_leaf,
        early_stopping=False,
        random_state=SEED,
    )


def _held_out_losses(  # noqa: PLR0917 - what one fold is
    features: np.ndarray,
    column: np.ndarray,
    kept: np.ndarray,
    settings: Settings,
    classes: bool,
    row_weights: np.ndarray | None,
) -> Floats:
    """Return the sum of losses of the rows that stand aside after each iteration."""
    if classes and len(np.unique(column[kept])) < 2:
        return np.zeros(settings.iterations)
    weights = None if row_weights is None else row_weights[kept]
    model = _model(settings, settings.iterations, classes)
    model.fit(features[kept], column[kept], sample_weight=weights)
    aside = ~kept
    if not classes:
        stages = model.staged_predict(features[aside])
        return np.array([np.square(stage - column[aside]).sum() for stage in stages])
    # Rows of a class that the others do not have say nothing of the number of trees.
    known = np.isin(column[aside], model.classes_)
    rows, asked = features[aside][known], np.searchsorted(model.classes_, column[aside][known])
    counted = np.ones(len(rows)) if row_weights is None else row_weights[aside][known]
    if not len(rows):
        return np.zeros(settings.iterations)
    stages = (np.clip(stage, 1e-12, 1) for stage in model.staged_predict_proba(rows))
    return np.array([-(np.log(stage[np.arange(len(rows)), asked]) * counted).sum() for stage in stages])


def as_arrays(models: list[Any], num_trees: int, leaves: int) -> Trees:
    """Return the trees of scikit-learn's models as arrays.

    Args:
        models: As `grow` gives them.
        num_trees: Room for so many.
        leaves: Room for so many in a tree.
    """
    outputs = sum(model.n_trees_per_iteration_ for model in models)
    splits = max(1, leaves - 1)
    made = Trees(
        np.zeros((num_trees, splits), np.int64),
        np.zeros((num_trees, splits), np.float32),
        np.zeros((num_trees, splits, leaves), np.float32),
        np.full((num_trees, leaves), -1),
        np.zeros((num_trees, leaves, outputs), np.float32),
        np.concatenate([np.ravel(model._baseline_prediction) for model in models]).astype(np.float32),  # noqa: SLF001 - as below
    )
    tree, first_output = 0, 0
    for model in models:
        for iteration in model._predictors:  # noqa: SLF001 - no public way to the trees; a test compares answers
            for output, predictor in enumerate(iteration):
                _lay_out(predictor.nodes, made, tree, first_output + output)
                tree += 1
        first_output += model.n_trees_per_iteration_
    return made


def _lay_out(nodes: np.ndarray, made: Trees, tree: int, output: int) -> None:
    """Write one tree, node by node from the root; on the way down each node knows its turns."""
    split, leaf = 0, 0
    waiting: list[tuple[int, list[tuple[int, float]]]] = [(0, [])]
    while waiting:
        number, turns = waiting.pop()
        node = nodes[number]
        if node["is_leaf"]:
            for place, turn in turns:
                made.turns[tree, place, leaf] = turn
            made.lefts[tree, leaf] = sum(turn > 0 for _place, turn in turns)
            made.values[tree, leaf, output] = node["value"]
            leaf += 1
            continue
        made.features[tree, split] = node["feature_idx"]
        made.thresholds[tree, split] = _downwards(float(node["num_threshold"]))
        waiting.append((int(node["right"]), [*turns, (split, -1.0)]))
        waiting.append((int(node["left"]), [*turns, (split, 1.0)]))
        split += 1


def _downwards(threshold: float) -> np.float32:
    """Return the largest float32 that is not above a number."""
    single = np.float32(threshold)
    return single if float(single) <= threshold else np.nextafter(single, np.float32(-np.inf))
