"""Models that can be served, by the name of their data: records of every kind, written and read as in a project."""

import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.serving.model_folder import Named
from pipeline.serving.served import Served
from tests.helpers.featured import SERIES, SIDE, TEXT, WINDOWS, run_features, write_texts, write_windowed
from tests.helpers.served_models import DIGITS, state_of, write_model


def write_towns():
    """Write texts with an age and a town beside them."""
    texts = [f"{word} home {number}" for number, word in enumerate(["win", "free", "see", "you"] * 5)]
    side = {"age": [float(row) for row in range(20)], "town": ["Ulm", "Bonn"] * 10}
    kinds = {"age": "number", "town": "category"}
    write_texts(
        Path(), texts, ["train"] * 16 + ["val"] * 2 + ["test"] * 2, ["a", "b"] * 10, side=side, kinds=kinds
    )
    run_features(text=TEXT, side=SIDE)


def write_hours():
    """Write windows of two series with a calendar, known columns and scales of their own."""
    payload = np.random.default_rng(0).normal(10, 3, (80, 3)).astype(np.float32)
    payload[:, 2] = 1
    segments = [("train", 0, 0, 30), ("val", 0, 30, 40), ("train", 1, 0, 30), ("test", 1, 30, 40)]
    write_windowed(Path(), payload, segments, lengths=[40, 40])
    run_features(task="forecasting", windows=WINDOWS, series=SERIES | {"scaling": "series"}, side=SIDE)


def write_labels(task, labels):
    """Write texts with these answers."""
    texts = ["win a prize", "see you", "free home", "you win"] * 5
    write_texts(Path(), texts, ["train"] * 16 + ["val"] * 2 + ["test"] * 2, labels)
    run_features(task=task, text=TEXT)


def write_steps(task):
    """Write windows of one series, without anything beside them."""
    payload = np.random.default_rng(0).normal(10, 3, (60, 3)).astype(np.float32)
    write_windowed(Path(), payload, [("train", 0, 0, 40), ("val", 0, 40, 50), ("test", 0, 50, 60)])
    alone = {"known": [], "known_categorical": [], "calendar": []}
    horizon, targets = (0, []) if task == "anomaly" else (1, ["load"])
    windows = WINDOWS | alone | {"horizon": horizon, "targets": targets}
    run_features(task=task, windows=windows, series=SERIES)


WRITTEN = {
    "towns": write_towns,
    "hours": write_hours,
    "spam": partial(write_labels, "classification", ["spam", "ham"] * 10),
    "tickets": partial(write_labels, "multilabel", ['["a", "b"]', '["b"]', '["a"]', "[]"] * 5),
    "regression": partial(write_steps, "regression"),
    "anomaly": partial(write_steps, "anomaly"),
}


def served_model(name, folder):
    """Return version 3 of a model of `WRITTEN`, or of digits."""
    state = DIGITS if name == "digits" else state_of(WRITTEN[name], folder / "data")
    return Served(Named(name, "3", write_model(folder / name, state)), {})


def png(value=200, size=(8, 8)):
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    Image.new("L", size, value).save(file, "png")
    return file.getvalue()
