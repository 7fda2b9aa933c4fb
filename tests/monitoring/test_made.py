"""The reference of a model says of its own rows what the log says once the same rows were served."""

import base64
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.evaluation.rows import load_rows
from pipeline.monitoring import made as made_module
from pipeline.monitoring.log import PredictionLog
from pipeline.monitoring.reading import papers_in, read_log
from pipeline.monitoring.watch import Asked, watch
from pipeline.runtime import paths
from pipeline.runtime.files import read_json
from pipeline.serving.app import Endpoints
from pipeline.serving.guard import Limits
from pipeline.serving.model_folder import Named
from pipeline.serving.served import Served
from tests.helpers.served_models import Client
from tests.serving.test_scorer import NAMES, evaluated, records_of  # noqa: F401  # a fixture


def serve_rows(rows, folder):
    """Let a server answer rows of the data set, and write them down."""
    endpoints = Endpoints(Served(Named("best", "7", paths.BEST_DIR), {}), Limits(records=100_000))
    endpoints.log = PredictionLog(folder)
    records = json.loads(json.dumps(records_of(rows), default=lambda one: base64.b64encode(one).decode()))
    client = Client(endpoints.application(None))
    for first in range(0, len(records), 50):
        reply = client.post("/predict", json={"records": records[first : first + 50]})
        assert 200 == reply.status_code, reply.text
        assert [] == reply.json()["refused"]
    endpoints.log.close()
    return folder


def seen_in(folder):
    papers = papers_in(folder)
    (paper,) = papers.values()
    return read_log(folder, paper, papers)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_served_fall_into_the_bins_of_the_reference(evaluated, name, tmp_path):  # noqa: F811
    """Train rows into those of train, test rows into those of test, count by count; and nothing of it is drift.

    onnxruntime answers up to the last bits as Keras does, so that a value at an edge may fall beside it.
    """
    evaluated(name)
    reference = read_json(paths.BEST_DIR / "reference.json")
    for part in ("train", "test"):
        seen = seen_in(serve_rows(load_rows(part), tmp_path / part))
        block = getattr(seen, part)
        found = block.as_json()
        assert reference[part]["rows"] == found["rows"] > 0
        assert reference[part]["numbers"].keys() | reference[part]["names"].keys()
        for what, numbers in reference[part]["numbers"].items():
            moved = np.abs(np.subtract(numbers["counts"], found["numbers"][what]["counts"])).sum()
            assert moved <= (0 if part == "train" else 2 + 0.02 * found["rows"]), what
            assert numbers["missing"] == found["numbers"][what]["missing"]
        for kind, names in reference[part]["names"].items():
            assert names == {one: count for one, count in found["names"][kind].items() if one in names}, kind
    if name != "anomaly":  # whose test rows hold what is not normal
        watched = watch(Asked(tmp_path / "test"))
        assert not [one for one in watched.drifted if one.what in seen.test.counts | seen.test.names]


def test_copies_and_windows_that_overlap_are_no_draws_of_their_own(evaluated):  # noqa: F811
    """A reference knows how many rows say something: contents of whole samples, and windows apart."""
    evaluated("waves")
    train = read_json(paths.BEST_DIR / "reference.json")["train"]
    table = pq.read_table(paths.SAMPLES_PARQUET)
    splits = dict(
        zip(
            *(pq.read_table(paths.SPLIT_PARQUET)[one].to_pylist() for one in ("sample_id", "split")),
            strict=True,
        )
    )
    kept = [splits[name] == "train" for name in table["sample_id"].to_pylist()]
    contents = table["content_sha256"].filter(pa.array(kept)).to_pylist()
    assert (len(contents), len(set(contents))) == (train["rows"], train["draws"])
    evaluated("forecast")
    train = read_json(paths.BEST_DIR / "reference.json")["train"]
    length = read_json(paths.FEATURES_STATE)["windows"]["length"]
    assert round(train["rows"] / length) == train["draws"]


def test_of_very_many_rows_some_are_measured(evaluated, monkeypatch):  # noqa: F811
    """At equal distances, and draws in proportion."""
    evaluated("waves")
    state = read_json(paths.FEATURES_STATE)
    whole = made_module.train_block(state)
    monkeypatch.setattr(made_module, "MOST_ROWS", whole.rows // 2)
    half = made_module.train_block(state)
    assert (whole.rows // 2, round(whole.draws / 2)) == (half.rows, pytest.approx(half.draws, abs=1))
