"""How long to train again with the rows of validation: until the best epoch, or to the last that is as good?

Few samples are drawn as all that is labelled, a part of them is held out, and a network trains on the others with a
cosine. Each rule names a length by the held rows alone; a network then trains on all labelled rows for so many steps,
and is judged on others that nobody saw, at the temperature that the held rows taught the network of the best epoch,
as it is served.

Run: .venv/bin/python benchmarks/refit_length.py [--data ../shared/data] [--draws 6] [--sets SwedishLeaf ...]
"""

import argparse
import gzip
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
from length import Answers, of_series, read_set

from pipeline.metrics.calibration import cross_entropy, fitted_temperature, tempered
from pipeline.selection.refit import last_of_the_best

SETS = {
    "FashionMNIST": ("pictures", 1200, 200, 60),
    "SwedishLeaf": ("cnn", 400, 100, 100),
    "ECG200": ("dense", 120, 40, 120),
    "MelbournePedestrian": ("cnn", 500, 100, 100),
    "SMSSpam": ("tokens", 1000, 200, 20),
    "BANKING77": ("tokens", 4000, 500, 30),
}
"""Name to network, labelled samples, how many of them are held out, epochs."""
BATCH, MOST = 32, 1500
SMOOTHED = 0.1
"""Of the epochs, to each side, over which a curve is averaged."""


def read_pictures(data):
    """Return 70,000 pictures as 28 x 28 x 1 from 0 to 1, and class numbers."""
    folder = next(data.rglob("train-images-idx3-ubyte.gz")).parent

    def part(name, head):
        return np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8)[head:]

    pictures = [part(f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1) for name in ("train", "t10k")]
    labels = [part(f"{name}-labels-idx1-ubyte.gz", 8) for name in ("train", "t10k")]
    return np.concatenate(pictures).astype(np.float32) / 255, np.concatenate(labels).astype(np.int64)


WORDS, TOKENS = 4000, 40
"""Of texts: the first of so many different words."""


def read_texts(data, name):
    """Return the numbers of a text's words, shape (texts, TOKENS), 0 behind its end, and class numbers."""
    if name == "SMSSpam":
        lines = (data / "sms-spam/SMSSpamCollection").read_text().splitlines()
        classes, texts = zip(*(line.split("\t", 1) for line in lines), strict=True)
    else:
        tables = [pd.read_csv(data / f"banking77/{part}.csv") for part in ("train", "test")]
        table = pd.concat(tables)
        texts, classes = list(table["text"]), list(table["category"])
    layer = keras.layers.TextVectorization(WORDS, output_sequence_length=TOKENS)
    layer.adapt(list(texts))
    return np.asarray(layer(list(texts))), np.unique(classes, return_inverse=True)[1]


def network(kind, shape, classes):
    """Return a network, untrained, with what holds it back."""
    layers = keras.layers
    inputs = keras.Input(shape)
    hidden = inputs
    if kind == "pictures":
        hidden = layers.RandomFlip("horizontal")(hidden)
        hidden = layers.RandomTranslation(0.1, 0.1, fill_mode="constant")(hidden)
        for filters in (24, 48, 96):
            hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
            hidden = layers.Activation("relu")(layers.BatchNormalization()(hidden))
            hidden = layers.MaxPooling2D()(hidden)
        hidden = layers.Dropout(0.4)(layers.Flatten()(hidden))
    elif kind == "tokens":
        hidden = layers.Dropout(0.3)(layers.Embedding(WORDS, 64)(hidden))
        hidden = layers.GlobalMaxPooling1D()(layers.Conv1D(128, 3, padding="same", activation="relu")(hidden))
        hidden = layers.Dropout(0.3)(hidden)
    else:
        hidden = of_series(kind, hidden, 0.3)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(hidden))


def trained(kind, samples, labels, classes, *, epochs, seed, callbacks=()):
    """Return a network after so many epochs, whose cosine ends there."""
    keras.utils.set_random_seed(seed)
    model = network(kind, samples.shape[1:], classes)
    steps = -(-len(samples) // BATCH) * epochs
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(samples, labels, epochs=epochs, batch_size=BATCH, verbose=0, callbacks=list(callbacks))
    return model


def smoothed(curve):
    """Return the mean over neighbours, fewer at the ends, on both sides alike."""
    width = max(1, round(SMOOTHED * len(curve)))
    reach = [min(width, place, len(curve) - 1 - place) for place in range(len(curve))]
    return np.array([curve[place - r : place + r + 1].mean() for place, r in enumerate(reach)])


def lengths(truth, answers):
    """Return per rule an epoch, from 1, and the temperature that the best one taught; all curves are losses."""
    known = np.eye(answers.shape[-1], dtype=bool)[truth]
    wrong = (answers.argmax(axis=-1) != truth).astype(float)
    temperatures = [fitted_temperature(known, found, several=False) for found in answers]
    nats = np.array(
        [
            -np.log(np.clip(tempered(found, heat, several=False)[known], 1e-7, 1))
            for found, heat in zip(answers, temperatures, strict=True)
        ]
    )
    named = {}
    for name, rows in (("accuracy", wrong), ("log loss", nats)):
        curve = rows.mean(axis=1)
        best = int(curve.argmin())
        error = (rows - rows[best]).std(axis=1) / np.sqrt(rows.shape[1])
        heat = temperatures[best]
        named[name] = best + 1, heat
        named[f"{name}, smoothed"] = int(smoothed(curve).argmin()) + 1, heat
        told = [{"epoch": place + 1, "val_loss": value} for place, value in enumerate(curve)]
        named[f"{name}, noise"] = last_of_the_best(told, "val_loss"), heat
        named[f"{name}, last tied"] = int(np.flatnonzero(curve - curve[best] <= error).max()) + 1, heat
        named[f"{name}, all"] = len(answers), heat
    return named


def one_draw(samples, labels, kind, sizes, seed):
    """Return per rule its epoch, and accuracy and log loss of the network trained again for so long."""
    labelled, held_out, epochs = sizes
    order = np.random.default_rng(seed).permutation(len(samples))
    own, rest = order[:labelled], order[labelled : labelled + MOST]
    fit, held = own[held_out:], own[:held_out]
    classes = int(labels.max()) + 1
    known = np.eye(classes, dtype=bool)
    asked = Answers(samples[held], every=1)
    trained(kind, samples[fit], labels[fit], classes, epochs=epochs, seed=seed, callbacks=[asked])
    named = lengths(labels[held], np.array(asked.found))
    found, again = {}, {}
    for rule, (epoch, temperature) in named.items():
        steps = epoch * -(-len(fit) // BATCH)
        length = max(1, round(steps / -(-len(own) // BATCH)))
        if length not in again:
            model = trained(kind, samples[own], labels[own], classes, epochs=length, seed=seed)
            again[length] = model.predict(samples[rest], batch_size=500, verbose=0)
        answers = tempered(again[length], temperature, several=False)
        right = float((answers.argmax(axis=1) == labels[rest]).mean())
        found[rule] = epoch, right, cross_entropy(known[labels[rest]], answers, several=False)
    return found


def main():
    """Print a line per set and rule, and the paired gains over the best epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    arguments = parser.parse_args()
    for name in arguments.sets:
        kind, *sizes = SETS[name]
        if kind == "pictures":
            samples, labels = read_pictures(arguments.data)
        elif kind == "tokens":
            samples, labels = read_texts(arguments.data, name)
        else:
            series, labels = read_set(arguments.data, name)
            samples = series[:, :, None]
        drawn = [one_draw(samples, labels, kind, sizes, seed) for seed in range(arguments.draws)]
        for rule in drawn[0]:
            table = np.array([found[rule] for found in drawn])
            base = "log loss" if rule.startswith("log") else "accuracy"
            gain = table - np.array([found[base] for found in drawn])
            (epoch, right, loss), error = table.mean(axis=0), gain.std(axis=0, ddof=1) / np.sqrt(len(drawn))
            print(
                f"{name:<20} {rule:<22} epoch {epoch:5.1f}  accuracy {right:.4f} ({gain[:, 1].mean():+.4f}, "
                f"{error[1]:.4f})  log loss {loss:.4f} ({gain[:, 2].mean():+.4f}, {error[2]:.4f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
