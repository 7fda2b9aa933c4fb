"""Eight samples of every kind of input, what is asked of them, and small settings of every family."""

import importlib
from functools import cache

import numpy as np

from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.params.families import Combination

SIDE = {"num_side": 2, "categories": (3, 4)}
SETTINGS = {
    "cnn": {"filters": [8], "kernel_size": 3, "units": 16, "dropout": 0.0, "batch_normalization": False},
    "rnn": {"units": [12], "dropout": 0.0},
    "autoencoder": {
        "units": [16],
        "codes": 8,
        "classifier_units": [16],
        "dropout": 0.0,
        "encoder": "fine_tuned",
    },
    "dense": {"units": [24], "dropout": 0.0, "batch_normalization": False},
    "linear": {"l2": 0.0},
    "boosting": {"iterations": 4, "leaves": 4, "min_samples_leaf": 1},
    "pca": {"codes": 8},
    "naive": {"season": 2},
    "pretrained": {"units": [24]},
    "rocket": {"features": 168},
    "ridge": {"look_backs": [2, 6]},
    "kmeans": {"clusters": 3},
    "polynomial": {"degree": 2},
}


def input_spec(row: Combination, *, side: bool = False) -> InputSpec:
    """Return a small spec of what the family of that row reads."""
    beside = SIDE if side else {}
    if row.reads == "image":
        return InputSpec("image", (8, 8, 1), (0.3,), (0.25,), **beside)
    if row.reads == "vector":
        return InputSpec("vector", (5,), (0.0,) * 5, (1.0,) * 5, **beside)
    if row.reads == "tokens":
        return InputSpec("tokens", (6,), vocabulary_size=12, **beside)
    if row.reads == "pieces":
        return InputSpec("pieces", (6,), vocabulary_size=12, max_bag=6, bag_size=20, **beside)
    if row.reads == "bag":
        return InputSpec("bag", (6,), vocabulary_size=20, **beside)
    return InputSpec("series", (6, 2), has_padding=not row.windowed, **beside)


def output_spec(row: Combination, num_classes: int = 3) -> OutputSpec:
    """Return what a row asks: three classes that occur 3, 3 and 2 times, or numbers."""
    if row.task == "classification":
        return OutputSpec(tuple("abc"[:num_classes]), tuple(np.bincount(np.arange(8) % num_classes).tolist()))
    if row.task == "multilabel":
        return OutputSpec(("a", "b", "c"), (4, 4, 2), "multilabel", train_samples=8)
    if row.task == "anomaly":
        return OutputSpec(task="anomaly")
    names = ("x", "y")
    numbers = {"targets": names, "target_mean": (0.0, 0.0), "target_standard_deviation": (1.0, 1.0)}
    if row.task == "forecasting":
        return OutputSpec(task="forecasting", horizon=3, target_channels=(1, 0), **numbers)
    return OutputSpec(task="regression", **numbers)


def samples(spec: InputSpec, seed: int = 1) -> dict[str, np.ndarray]:
    """Return eight different samples by the names of the inputs."""
    random = np.random.default_rng(seed)
    lengths = np.array([6, 6, 5, 5, 4, 4, 3, 3])
    behind_the_end = np.arange(6) >= lengths[:, None]
    if spec.kind == "image":
        made = {"inputs": random.integers(0, 256, (8, *spec.shape), dtype=np.uint8)}
    elif spec.kind in ("tokens", "pieces"):
        made = {"inputs": np.where(behind_the_end, 0, random.integers(1, 12, (8, 6))).astype(np.int32)}
    elif spec.kind == "bag":
        # The first n-gram of each is its own; the last place is empty.
        ids = np.hstack([np.arange(1, 9)[:, None], random.integers(9, 20, (8, 4)), np.zeros((8, 1))])
        made = {"inputs": ids.astype(np.int32), "weights": (ids > 0).astype(np.float32) / np.sqrt(5)}
        made["weights"] = made["weights"].astype(np.float32)
    else:
        values = random.normal(size=(8, *spec.shape)).astype(np.float32)
        if spec.has_padding:
            values[behind_the_end] = PAD
        made = {"inputs": values}
    if spec.max_bag:
        made["bag"] = random.integers(0, spec.bag_size, (8, spec.max_bag)).astype(np.int32)
        made["bag_weights"] = random.uniform(size=(8, spec.max_bag)).astype(np.float32)
    if spec.num_side:
        made["side"] = random.normal(size=(8, spec.num_side)).astype(np.float32)
    if spec.categories:
        made["categories"] = (np.arange(8)[:, None] % spec.categories).astype(np.int32)
    return made


def as_fed(made: dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
    """Return samples as a model takes them: the array itself where there is but one input."""
    return made["inputs"] if len(made) == 1 else made


def targets(row: Combination, made: dict[str, np.ndarray], num_classes: int = 3) -> np.ndarray:
    """Return what those eight samples stand for."""
    random = np.random.default_rng(2)
    if row.task == "classification":
        return (np.arange(8) % num_classes).astype(np.int32)
    if row.task == "multilabel":
        return np.array([[row % 2, row // 2 % 2, row // 4 * (row % 2)] for row in range(8)], np.uint8)
    if row.task == "anomaly":
        return made["inputs"].astype(np.float32)
    shape = (8, 3, 2) if row.task == "forecasting" else (8, 2)
    return random.normal(size=shape).astype(np.float32)


def trunk(spec: InputSpec):
    """Return a small frozen trunk for a spec of raw samples: drawn weights, a different vector for every sample."""
    import keras

    from pipeline.weights.trunks import TRUNK, mean_of_vectors

    if spec.kind == "pieces":
        return mean_of_vectors(
            spec.shape[0], np.random.default_rng(4).normal(size=(spec.vocabulary_size - 1, 16))
        )
    pixels = keras.Input(spec.shape, dtype="uint8", name="inputs")
    scaled = keras.layers.Rescaling(1 / 64, offset=-2.0, name="to_trunk_scale")(pixels)
    return keras.Model(pixels, keras.layers.Flatten(name="features")(scaled), name=TRUNK)


def built(row: Combination, num_classes: int = 3, *, side: bool = False, **settings):
    """Return a model of that row, the same each time."""
    import keras

    keras.utils.set_random_seed(3)
    module = importlib.import_module(f"pipeline.models.{row.family}")
    chosen = SETTINGS.get(row.family, {}) | settings
    if row.family == "pretrained":
        chosen = {**chosen, "trunk": trunk(input_spec(row, side=side))}
    if row.task == "anomaly" and row.family == "autoencoder":
        return module.build_autoencoder(input_spec(row, side=side), **chosen)
    return module.build(input_spec(row, side=side), output_spec(row, num_classes), **chosen)


@cache
def untrained(row: Combination, *, side: bool = False):
    """Return `built` of that row, once: nobody changes this one."""
    return built(row, side=side)


def answers_of(model, inputs) -> np.ndarray:
    """Return what a model answers, without the seconds that compiling it for one batch takes."""
    return np.asarray(model(inputs, training=False))


def learn_by_heart(model, inputs, truth, steps: int, learnt) -> float:
    """Train a compiled model on one batch until it is learnt, for so many steps at most; return the last loss.

    Args:
        model: Compiled.
        inputs: What it reads.
        truth: What it shall say.
        steps: At most.
        learnt: Whether the last loss, and the model, are good enough; asked after every tenth step.
    """
    # What a first step makes, Keras traces that step once more for.
    model.optimizer.build(model.trainable_variables)
    for step in range(1, steps + 1):
        loss = model.train_on_batch(inputs, truth)
        if step % 10 == 0 and learnt(loss):
            break
    return loss
