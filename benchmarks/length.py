"""How long to train where few rows are held out: until their log loss is least, or the loss at its best temperature?

Train and test series of an archive set are thrown together, and few are drawn as all that is labelled; a quarter of
them is held out, a small network trains on the others, and each rule names an epoch by the held rows. The rest is what
the network of that epoch is judged on, as it would be served: at the temperature that the held rows taught it.

Run: .venv/bin/python benchmarks/length.py [--data ../shared/data] [--draws 8] [--sets GunPoint ...]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from pipeline.metrics.calibration import calibrated_log_loss, cross_entropy, fitted_temperature, tempered

SETS = {"ItalyPowerDemand": 67, "GunPoint": 60, "ECG200": 80, "SwedishLeaf": 200}
"""Name to how many series are labelled."""
EPOCHS, EVERY, MOST = 120, 2, 1500
"""Of a training; how often it is measured; and on how many other series at most."""
ENDINGS = ("tsv", "txt", "arff", "ts")


def read_part(data, name, part):
    """Return series and labels of one file of a set, whatever form it has."""
    files = [data / "ucr-a" / name / f"{name}_{part}.{ending}" for ending in ENDINGS]
    path = next(file for file in files if file.is_file())
    lines = [line.strip() for line in path.read_text().splitlines()]
    if path.suffix in (".tsv", ".txt"):
        table = np.array([line.split() for line in lines if line], float)
        return table[:, 1:], table[:, 0]
    rows = [line.replace(":", ",").split(",") for line in lines if line and line[0] not in "@#%"]
    table = np.array(rows, float)
    return table[:, :-1], table[:, -1]


def read_set(data, name):
    """Return all series of a set, each at mean 0 and deviation 1, and class numbers."""
    parts = [read_part(data, name, part) for part in ("TRAIN", "TEST")]
    series = np.concatenate([part[0] for part in parts])
    labels = np.unique(np.concatenate([part[1] for part in parts]), return_inverse=True)[1]
    series -= series.mean(axis=1, keepdims=True)
    return (series / (series.std(axis=1, keepdims=True) + 1e-8)).astype(np.float32), labels


def of_series(kind, hidden, dropout):
    """Return what layers of a kind make of series: a convolution of three blocks, else two dense layers."""
    layers = keras.layers
    if kind == "cnn":
        for filters, size in ((32, 7), (64, 5), (64, 3)):
            hidden = layers.Conv1D(filters, size, padding="same", use_bias=False)(hidden)
            hidden = layers.Activation("relu")(layers.BatchNormalization()(hidden))
        hidden = layers.GlobalAveragePooling1D()(hidden)
        return layers.Dropout(dropout)(hidden) if dropout else hidden
    hidden = layers.Flatten()(hidden)
    for _ in range(2):
        hidden = layers.Dropout(dropout)(layers.Dense(64, activation="relu")(hidden))
    return hidden


def network(kind, steps, classes):
    """Return a small network, untrained."""
    layers = keras.layers
    inputs = keras.Input((steps, 1))
    hidden = of_series(kind, inputs, 0.0 if kind == "cnn" else 0.2)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(hidden))


class Answers(keras.callbacks.Callback):
    """Keep what the network says of some rows after every few epochs."""

    def __init__(self, rows, every=EVERY):
        super().__init__()
        self.rows = rows
        self.every = every
        self.found = []

    def on_epoch_end(self, epoch, _logs=None):
        """Ask."""
        if epoch % self.every == 0:
            self.found.append(self.model.predict_on_batch(self.rows))


def one_draw(series, labels, kind, size, seed):
    """Return per rule its epoch, and accuracy and log loss of that one; None where a class is missing."""
    order = np.random.default_rng(seed).permutation(len(series))
    own, rest = order[:size], order[size : size + MOST]
    classes = int(labels.max()) + 1
    held, fit = own[::4], np.setdiff1d(own, own[::4])
    if len(np.unique(labels[own])) < classes:
        return None
    keras.utils.set_random_seed(seed)
    model = network(kind, series.shape[1], classes)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    on_held, on_rest = Answers(series[held, :, None]), Answers(series[rest, :, None])
    model.fit(
        series[fit, :, None],
        labels[fit],
        epochs=EPOCHS,
        batch_size=16,
        verbose=0,
        callbacks=[on_held, on_rest],
    )
    known = labels[:, None] == np.arange(classes)
    curves = {
        "log loss": [cross_entropy(known[held], answers, several=False) for answers in on_held.found],
        "calibrated": [float(calibrated_log_loss(labels[held], answers)) for answers in on_held.found],
    }
    scores = {}
    for rule, curve in curves.items():
        place = int(np.argmin(curve))
        temperature = fitted_temperature(known[held], on_held.found[place], several=False)
        answers = tempered(on_rest.found[place], temperature, several=False)
        right = float((answers.argmax(axis=1) == labels[rest]).mean())
        scores[rule] = place * EVERY + 1, right, cross_entropy(known[rest], answers, several=False)
    return scores


def main():
    """Print a line per set and network, with the paired gain of the second rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    arguments = parser.parse_args()
    gains = []
    for name in arguments.sets:
        series, labels = read_set(arguments.data, name)
        for kind in ("cnn", "dense"):
            drawn = [one_draw(series, labels, kind, SETS[name], seed) for seed in range(arguments.draws)]
            found = [scores for scores in drawn if scores]
            first, second = (
                np.array([scores[rule] for scores in found]) for rule in ("log loss", "calibrated")
            )
            gains += list(second - first)
            (epoch, right, loss), (epoch_2, right_2, loss_2) = first.mean(axis=0), second.mean(axis=0)
            print(
                f"{name:<18} {kind:<6} {len(found)} draws: epoch {epoch:.0f} and {epoch_2:.0f}, "
                f"accuracy {right:.3f} and {right_2:.3f}, log loss {loss:.3f} and {loss_2:.3f}",
                flush=True,
            )
    mean, error = np.mean(gains, axis=0), np.std(gains, axis=0, ddof=1) / np.sqrt(len(gains))
    print(f"gain: accuracy {mean[1]:+.4f} ({error[1]:.4f}), log loss {mean[2]:+.4f} ({error[2]:.4f})")


if __name__ == "__main__":
    main()
