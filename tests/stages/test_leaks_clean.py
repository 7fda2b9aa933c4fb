"""Clean sets pass: kinds, tasks and methods of every sort, small ones made here and real ones."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from tests.helpers import clean_sets
from tests.helpers.leak_gate import run_gate, run_split


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def passes(how):
    """Split and gate what was written; return the summary."""
    place = {name: how.pop(name) for name in ("method", "task", "windows") if name in how}
    run_split(**place, **how)
    assert pq.read_table(paths.SPLIT_PARQUET).num_rows > 0
    return run_gate(**place)


@pytest.mark.parametrize("clean", clean_sets.SMALL, ids=lambda clean: clean.__name__)
def test_a_small_clean_set_passes(clean):
    """Nothing is found where nothing was planted."""
    assert [] == passes(clean())["findings"]


@pytest.mark.parametrize("clean", clean_sets.REAL, ids=lambda clean: clean.__name__)
def test_a_real_set_passes(clean, benchmarks):
    """Nothing is found in benchmark sets on honest splits."""
    assert [] == passes(clean(benchmarks))["findings"]


def test_the_path_walked_gives_indoor_movement_away(benchmarks):
    """The kind of path decides the class by itself, in every room: as a side column it is refused."""
    with pytest.raises(DataRefused, match=r"column:path \(L2"):
        passes(clean_sets.indoor_movement(benchmarks, with_path=True))


def test_casual_and_registered_give_bike_sharing_away(benchmarks):
    """The real columns, known in advance: their exact sum is the target."""
    with pytest.raises(
        DataRefused, match=r"sum:casual\+registered \(L2.*casual \+ registered is column 'cnt'"
    ):
        passes(clean_sets.bike_sharing(benchmarks, known=("casual", "registered", "temp")))


def chance_errors(inputs, labels, splits):
    """Return by how many standard errors a linear model on train is off chance on test."""
    train, test = splits == "train", splits == "test"
    y = np.where(labels == "hat", 1.0, -1.0)
    table = np.column_stack([inputs, np.ones(len(inputs))])
    ridge = table[train].T @ table[train] + np.eye(table.shape[1])
    weights = np.linalg.solve(ridge, table[train].T @ y[train])
    accuracy = ((table[test] @ weights > 0) == (y[test] > 0)).mean()
    # Chance knows how often each class comes and what the model answers, not which goes with which.
    said, true = (table[test] @ weights > 0).mean(), (y[test] > 0).mean()
    chance = said * true + (1 - said) * (1 - true)
    return (accuracy - chance) / np.sqrt(chance * (1 - chance) / test.sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["images", "series", "sms_spam"])
def test_random_labels_score_chance(kind, seed, request):
    """With labels drawn at random nothing can be learned that holds on test: within 3 standard errors of chance."""
    rng = np.random.default_rng(seed)
    if kind == "images":
        clean_sets.digit_images()
        inputs = np.load(paths.PAYLOAD_NPY).reshape(-1, 64) / 16
        how = {}
    elif kind == "series":
        how = clean_sets.recordings_by_person()
        samples = pq.read_table(paths.SAMPLES_PARQUET)
        payload = np.load(paths.PAYLOAD_NPY)[:, 0]
        ends = np.cumsum(samples["length"].to_numpy())[:-1]
        inputs = np.array(
            [[part.mean(), part.std(), np.abs(np.diff(part)).mean()] for part in np.split(payload, ends)]
        )
    else:
        clean_sets.sms_spam(request.getfixturevalue("benchmarks"))
        samples = pq.read_table(paths.SAMPLES_PARQUET)
        text = np.load(paths.PAYLOAD_NPY)
        inputs = np.zeros((samples.num_rows, 256))
        np.add.at(inputs, (np.repeat(np.arange(samples.num_rows), samples["length"].to_numpy()), text), 1)
        inputs = np.sqrt(inputs)
        how = {}
    samples = pq.read_table(paths.SAMPLES_PARQUET)
    # Copies have one label: otherwise a copy in train would contradict, not help.
    clusters = pq.read_table(paths.DUPLICATES_PARQUET)["cluster"].to_pylist()
    label_of = {cluster: str(rng.choice(["hat", "shoe"])) for cluster in dict.fromkeys(clusters)}
    labels = np.array([label_of[cluster] for cluster in clusters])
    place = samples.schema.get_field_index("label")
    pq.write_table(
        samples.set_column(place, samples.schema.field(place), [labels.tolist()]), paths.SAMPLES_PARQUET
    )
    assert [] == passes(how)["findings"]
    splits = np.array(pq.read_table(paths.SPLIT_PARQUET)["split"].to_pylist())
    assert abs(chance_errors(inputs, labels, splits)) < 3
