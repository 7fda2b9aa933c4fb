"""Whatever is fitted is fitted on train: other samples, and the order of all, move no bit of the state."""

import numpy as np
import pytest

from pipeline.runtime import paths
from pipeline.runtime.files import file_digest
from tests.helpers.featured import (
    SERIES,
    SIDE,
    TEXT,
    WINDOWS,
    run_features,
    write_samples,
    write_split,
    write_texts,
    write_windowed,
)

SPLITS = ["train"] * 5 + ["val", "test", "excluded"]
LABELS = ["x", "y", "x", "y", "x", "y", "x", "y"]
LENGTHS = [3, 4, 2, 4, 1, 3, 2, 4]


def text_data(generator):
    words = np.array(["win", "prize", "home", "see", "you", "£", "now!"])
    texts = [" ".join(generator.choice(words, 6)) for _row in range(8)]
    return {
        "texts": texts,
        "age": generator.normal(40, 9, 8).tolist(),
        "town": generator.choice(["Ulm", "Bonn"], 8).tolist(),
    }


def series_data(generator):
    return {
        **text_data(generator),
        "series": [generator.normal(5, 2, (length, 2)).astype(np.float32) for length in LENGTHS],
    }


def write(folder, kind, data, order, scaling="channel"):
    """Write the samples in the given order and run the stage; return the digest of the state."""
    side = {name: [data[name][row] for row in order] for name in ("age", "town")}
    told = {"side": side, "kinds": {"age": "number", "town": "category"}}
    splits, labels = [SPLITS[row] for row in order], [LABELS[row] for row in order]
    if kind == "text":
        write_texts(folder, [data["texts"][row] for row in order], splits, labels, **told)
        run_features(text=TEXT, side=SIDE)
    else:
        parts = [data["series"][row] for row in order]
        write_samples(folder, np.vstack(parts), [len(part) for part in parts], channels=("a", "b"), **told)
        target = (
            {"labels": labels}
            if kind == "series"
            else {"targets": [float(data["age"][row]) for row in order]}
        )
        write_split(folder, splits, stops=[len(part) for part in parts], **target)
        task = "classification" if kind == "series" else "regression"
        run_features(task=task, series=SERIES | {"scaling": scaling}, side=SIDE)
    return file_digest(paths.FEATURES_STATE)


@pytest.mark.parametrize(
    ("kind", "scaling"), [("text", ""), ("series", "channel"), ("series", "series"), ("regression", "none")]
)
def test_only_training_samples_move_the_state(kind, scaling, folder):
    """Other val, test and excluded samples: the same digest. Another training sample: another one."""
    generator = np.random.default_rng(0)
    data, others = series_data(generator), series_data(generator)
    before = write(folder, kind, data, range(8), scaling)
    mixed = {name: [*data[name][:5], *others[name][5:]] for name in data}
    assert before == write(folder, kind, mixed, range(8), scaling)
    assert before != write(folder, kind, others, range(8), scaling)


@pytest.mark.parametrize(("kind", "scaling"), [("text", ""), ("series", "channel"), ("regression", "series")])
def test_shuffled_samples_give_the_same_state(kind, scaling, folder):
    """The order in the source changes no bit."""
    generator = np.random.default_rng(1)
    data = series_data(generator)
    digests = {write(folder, kind, data, generator.permutation(8), scaling) for _time in range(5)}
    assert 1 == len(digests)


@pytest.mark.parametrize("scaling", ["channel", "series", "none"])
def test_only_training_steps_move_the_state_of_windows(scaling, folder):
    """Series cut by time: other steps of val and test, also extreme ones, are not seen; one of train is."""
    segments = [
        ("train", 0, 0, 20),
        ("val", 0, 20, 30),
        ("test", 0, 30, 40),
        ("train", 1, 0, 10),
        ("test", 1, 10, 30),
    ]
    payload = np.random.default_rng(2).normal(3, 2, (70, 3)).astype(np.float32)
    payload[:, 2] = np.arange(70) % 3

    def digest(values):
        write_windowed(folder, values, segments, lengths=[40, 30])
        run_features(task="forecasting", windows=WINDOWS, series=SERIES | {"scaling": scaling}, side=SIDE)
        return file_digest(paths.FEATURES_STATE), np.load(paths.SERIES_NPY)

    before, series = digest(payload)
    changed = payload.copy()
    changed[20:40] = changed[50:] = 1e6
    after, others = digest(changed)
    assert before == after
    np.testing.assert_array_equal(series[:20], others[:20])
    changed[5] += 1
    assert before != digest(changed)[0]
