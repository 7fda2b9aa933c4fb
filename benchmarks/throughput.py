"""Training throughput of each family against a plain Keras script of the same model.

Plain Keras: float32 arrays in memory, `model.fit(x, y, shuffle=True, validation_data=...)`, nothing else.
Here: the recipe of `pipeline/training/candidate.py`, with its order by (seed, epoch), guard and checkpoint per epoch.
Both train the same layers on the same 12,800 images of 28x28 pixels with the same optimizer. The first epoch
of each (tracing) is left out; rounds alternate; the ratio of median samples per second is printed.

Run: .venv/bin/python benchmarks/throughput.py [--images N] [--rounds R]
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from pipeline.inference import backend
from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.params.load import load_params
from pipeline.params.values import training_of

EPOCHS = 5
NUM_VAL = 2000
FAMILIES = ("cnn", "rnn", "autoencoder", "dense", "linear")


def synthetic(family, num_images, num_features=200):
    """Return training data of Fashion-MNIST's shape; what the pixels show does not change the speed."""
    from pipeline.inputs.train_data import TrainData

    generator = np.random.default_rng(0)
    total = num_images + NUM_VAL
    if family == "dense":
        inputs = generator.normal(size=(total, num_features)).astype(np.float32)
        spec = InputSpec("vector", (num_features,), (0.0,) * num_features, (1.0,) * num_features)
    else:
        inputs = generator.integers(0, 256, (total, 28, 28, 1), dtype=np.uint8)
        spec = InputSpec("image", (28, 28, 1), (0.29,), (0.35,))
    targets = generator.integers(0, 10, total).astype(np.int32)
    classes = OutputSpec(tuple("0123456789"), (num_images // 10,) * 10)
    return TrainData(inputs, targets, np.arange(num_images), np.arange(num_images, total), spec, classes)


def ours(family, data, model, training):
    """Return seconds per epoch of the recipe."""
    from pipeline.training.candidate import train_candidate

    ends = []
    with tempfile.TemporaryDirectory() as folder:
        train_candidate(
            family,
            data,
            model,
            training,
            seed=0,
            checkpoint_dir=Path(folder),
            on_epoch=lambda _, logs: ends.append(("loss" in logs, time.perf_counter())),
        )
    return durations([end for of_classifier, end in ends if of_classifier])


def plain(family, data, model, training):
    """Return seconds per epoch of a plain Keras script."""
    import importlib

    import keras

    settings = {key: value for key, value in model.items() if not key.startswith("pretrain_")}
    module = importlib.import_module(f"pipeline.models.{family}")
    if family == "autoencoder":
        settings["trained_encoder"] = module.build_autoencoder(data.input_spec, **settings).get_layer(
            "encoder"
        )
    network = module.build(data.input_spec, data.output_spec, **settings)
    network.compile(
        keras.optimizers.Adam(training["learning_rate"]),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    x = np.asarray(data.inputs, dtype=np.float32)
    y = data.targets
    ends = []
    network.fit(
        x[data.train_rows],
        y[data.train_rows],
        batch_size=training["batch_size"],
        epochs=EPOCHS,
        verbose=0,
        validation_data=(x[data.val_rows], y[data.val_rows]),
        validation_batch_size=512,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))],
    )
    return durations(ends)


def durations(ends):
    """Return the time between consecutive epoch ends."""
    return [later - earlier for earlier, later in itertools.pairwise(ends)]


def main():
    """Print one line per family."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    params = load_params(Path("examples/fashion-mnist.yaml"))
    backend.prepare_tensorflow(params.threads, params.seed)
    print(f"{'family':12} {'plain Keras':>14} {'Millrace':>14} {'ratio':>6}   samples/s, median of epochs")
    for family in FAMILIES:
        name = next(
            name for name, item in params.candidates.items() if msgspec.to_builtins(item)["family"] == family
        )
        model = msgspec.structs.asdict(params.candidates[name].model) | (
            {"pretrain_epochs": 1} if family == "autoencoder" else {}
        )
        training = msgspec.to_builtins(training_of(params, name)) | {
            "epochs": EPOCHS,
            "optimizer": "adam",
            "weight_decay": 0.0,
            "ema_momentum": 0.0,
            "label_smoothing": 0.0,
            "schedule": "constant",
            "early_stopping_patience": 0,
            "augment": {"flip": False, "shift_px": 0, "cutout_px": 0},
            "test_time_flip": False,
        }
        data = synthetic(family, arguments.images)
        seconds = {"plain": [], "ours": []}
        for _ in range(arguments.rounds):
            seconds["plain"] += plain(family, data, model, training)
            seconds["ours"] += ours(family, data, model, training)
        speed = {which: arguments.images / statistics.median(values) for which, values in seconds.items()}
        print(
            f"{family:12} {speed['plain']:14.0f} {speed['ours']:14.0f} {speed['ours'] / speed['plain']:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
