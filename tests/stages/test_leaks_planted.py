"""The eight kinds of leakage of Kapoor and Narayanan (2023), each planted in small data, each refused."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.label_sets import as_cell
from pipeline.data.samples import read_sample_rows, read_split, texts
from pipeline.features.targets import class_state
from pipeline.leaks.fitted import refuse_unless_fitted_on_train
from pipeline.preprocessing.series import fit_scaler
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from tests.helpers.leak_gate import days, run_gate, run_split, split_and_gate, two_classes, words, write_texts
from tests.helpers.split_data import numbered_texts, write_data


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def found():
    """Return the ids of the findings, as the summary has them."""
    return {entry["finding"] for entry in json.loads(paths.LEAKS_SUMMARY.read_text())["findings"]}


def named_samples():
    """Return the samples that findings.csv names."""
    with paths.LEAKS_FINDINGS.open(newline="") as file:
        return {row["sample_id"] for row in csv.DictReader(file)}


def change_split(change):
    """Write split.parquet with `change` applied to the list of split names: an edit, or a faulty stage."""
    table = pq.read_table(paths.SPLIT_PARQUET)
    names = pa.array(change(table["split"].to_pylist()), pa.string())
    pq.write_table(
        table.set_column(table.schema.get_field_index("split"), "split", names), paths.SPLIT_PARQUET
    )


def test_l1_1_no_test_set_is_refused():
    """A model that is judged by the rows that trained it: nothing stands in test."""
    write_texts()
    run_split()
    change_split(lambda names: ["train" if name == "test" else name for name in names])
    with pytest.raises(DataRefused, match=r"no-test-set \(L1.1 no test set\)"):
        run_gate()
    assert {"no-test-set"} == found()


def write_state(**parts):
    """Write data/features/state.json as the features stage would."""
    paths.FEATURES_STATE.parent.mkdir(parents=True, exist_ok=True)
    paths.FEATURES_STATE.write_text(json.dumps({**class_state(read_split()), **parts}))


def test_l1_2_a_scale_measured_on_all_rows_is_refused():
    """Mean and deviation of the series were measured on train and test together."""
    rng = np.random.default_rng(0)
    series = [rng.normal(rng.normal(), 1, (20, 2)) for _ in range(200)]
    write_data(series, labels=two_classes(200), channels=("x", "y"))
    run_split()
    payload, samples = np.load(paths.PAYLOAD_NPY), read_sample_rows()
    fitted = {}
    for name, splits in (("train", ["train"]), ("all", ["train", "val", "test"])):
        segments = [part for split in splits for part in read_split().named_segments(samples, split)]
        scaler = fit_scaler(payload, segments, channels=("x", "y"), scaling="channel", cut_by_time=False)
        fitted[name] = scaler.state()
    write_state(series=fitted["train"])
    refuse_unless_fitted_on_train(method="stratified", task="classification")
    write_state(series=fitted["all"])
    with pytest.raises(DataRefused, match=r"fitted:series \(L1.2 pre-processing"):
        refuse_unless_fitted_on_train(method="stratified", task="classification")


def test_l1_2_a_column_scaled_before_the_split_is_refused():
    """The side column comes with mean 0 and deviation 1 over all rows, test included."""
    weight = np.random.default_rng(0).gamma(2.0, 30.0, 400)
    write_texts(side={"weight": ((weight - weight.mean()) / weight.std()).tolist()})
    with pytest.raises(DataRefused, match=r"scaled:weight \(L1.2"):
        split_and_gate()


def text_state(splits):
    """Return vocabulary and bag as fitted on some splits, with room for the 200 most frequent."""
    from pipeline.preprocessing.texts import fit_bag, fit_tokenizer

    payload, samples, split = np.load(paths.PAYLOAD_NPY), read_sample_rows(), read_split()
    rows = np.concatenate([split.rows_of(name) for name in splits])
    known = list(texts(payload, samples.starts[rows], samples.lengths[rows]))
    tokenizer = fit_tokenizer(
        known,
        unit="words",
        lowercase=True,
        digits_alike=False,
        vocabulary_size=200,
        min_count=2,
        max_tokens=10,
    )
    bag = fit_bag(
        known,
        lowercase=True,
        digits_alike=False,
        word_ngrams=(1, 1),
        char_ngrams=None,
        bag_size=200,
        max_bag=10,
        min_count=2,
    )
    return {"tokens": tokenizer.state(), "bag": bag.state()}


def test_l1_3_features_selected_on_all_rows_are_refused():
    """The words that became features were the most frequent of train and test together."""
    write_data(words(0), labels=two_classes(300))
    run_split()
    write_state(text=text_state(["train"]))
    refuse_unless_fitted_on_train(method="stratified", task="classification")
    write_state(text=text_state(["train", "val", "test"]))
    with pytest.raises(DataRefused, match="selected:text") as error:
        refuse_unless_fitted_on_train(method="stratified", task="classification")
    assert "selected:text.tokens (L1.3 feature selection on train and test)" in str(error.value)
    assert "selected:text.bag (L1.3" in str(error.value)


@pytest.mark.parametrize("copy", ["exact", "near"])
def test_l1_4_copies_across_splits_are_refused(copy):
    """A text stands in train and again in test, and nobody has told the split that they are copies."""
    base = numbered_texts(400)
    texts = [f"{text} {text[::-1]} and so on" for text in base]
    texts[300:340] = [text if copy == "exact" else f"{text.upper()}!!" for text in texts[:40]]
    write_data(texts, labels=two_classes(400), clusters=[f"c{number}" for number in range(400)])
    with pytest.raises(DataRefused, match=rf"{copy}-copies \(L1.4 duplicates"):
        split_and_gate()
    assert {f"{copy}-copies"} == found()
    splits = {row["sample_id"]: row["split"] for row in pq.read_table(paths.SPLIT_PARQUET).to_pylist()}
    torn = {
        f"{number:06d}"
        for first in range(40)
        for number in (first, first + 300)
        if splits[f"{first:06d}"] != splits[f"{first + 300:06d}"]
    }
    assert torn == named_samples()


def test_l1_4_series_of_the_same_shape_across_splits_are_refused():
    """A series in another unit is a copy: 40 of them, twice as large and shifted, under names of their own."""
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(50, 1)).cumsum(axis=0) for _ in range(200)]
    series[150:190] = [3 + 2 * values for values in series[:40]]
    write_data(series, labels=two_classes(200), clusters=[f"c{number}" for number in range(200)])
    with pytest.raises(DataRefused, match=r"near-copies \(L1.4"):
        split_and_gate()


def test_l1_4_near_images_across_splits_are_refused():
    """Clusters of near images, as validate found them, are torn by an edited split."""
    images = list(np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1), dtype=np.uint8))
    clusters = [f"c{number // 2}" for number in range(200)]
    write_data(images, labels=two_classes(200), clusters=clusters)
    run_split()
    run_gate()
    change_split(lambda names: [("train", "test", "val")[number % 3] for number in range(len(names))])
    with pytest.raises(DataRefused, match=r"near-copies \(L1.4"):
        run_gate()


def test_l2_a_side_column_that_knows_the_class_is_refused():
    """The price of the repair is there only where something broke."""
    labels = two_classes(400)
    noise = np.random.default_rng(1).normal(size=400)
    price = [10 + noise[row] if label == "hat" else None for row, label in enumerate(labels)]
    write_texts(labels=labels, side={"price": price, "noise": noise.tolist()})
    with pytest.raises(DataRefused, match=r"column:price \(L2") as error:
        split_and_gate()
    assert {"column:price"} == found()
    assert "Received: AUC=1.0000" in str(error.value)
    assert "finding: 'column:price', up_to: 1, reason:" in str(error.value)


def bikes(count=600):
    """Return two parts of a number, each far from it alone, and the number."""
    rng = np.random.default_rng(0)
    casual, registered = rng.poisson(40, count) * 1.0, rng.poisson(60, count) * 1.0
    return {"casual": casual.tolist(), "registered": registered.tolist()}, (casual + registered).tolist()


def test_l2_an_exact_sum_of_side_columns_is_refused():
    """casual + registered = cnt, and neither alone is anywhere near it."""
    side, cnt = bikes()
    temperature = np.random.default_rng(2).normal(size=600).tolist()
    write_texts(600, labels=[""] * 600, targets=cnt, side={**side, "temperature": temperature})
    with pytest.raises(DataRefused, match=r"sum:casual\+registered \(L2"):
        split_and_gate(task="regression")
    assert {"sum:casual+registered"} == found()


def test_l2_an_id_that_holds_the_class_is_refused():
    """Ids are all different, but those of one class begin with another letter."""
    labels = two_classes(400)
    ids = [f"{'a' if label == 'hat' else 'b'}-{number:04d}" for number, label in enumerate(labels)]
    write_texts(labels=labels, side={"ticket": ids})
    with pytest.raises(DataRefused, match=r"id:ticket \(L2"):
        split_and_gate()


def test_l2_an_id_in_order_of_the_class_is_refused():
    """Ids were given after sorting: small numbers are hats."""
    labels = sorted(two_classes(400))
    write_texts(labels=labels, side={"ticket": [f"t{number:04d}" for number in range(400)]})
    with pytest.raises(DataRefused, match=r"id:ticket \(L2.*number of id column"):
        split_and_gate()


def test_l2_a_word_that_gives_the_class_away_is_refused():
    """Every text of one class holds its label, neither first nor last, which is a finding of its own."""
    labels = two_classes(400)
    texts = [
        text.replace(" ", " xhat ", 1) if label == "hat" else text
        for text, label in zip(words(0, 400), labels, strict=True)
    ]
    write_data(texts, labels=labels)
    with pytest.raises(DataRefused, match=r"words \(L2.*'xhat' for 'hat'"):
        split_and_gate()
    assert {"words"} == found()


def test_l2_a_word_or_column_that_gives_labels_away_is_refused():
    """Several labels: every text with one of them holds its name, and a column says whether it does; clean data passes."""
    rng = np.random.default_rng(0)
    topics = [[name for name in ("hat", "shoe") if rng.random() < 0.4] for _ in range(400)]
    plain, cells = words(0, 400), [as_cell(own) for own in topics]
    told = [" ".join([text, *(f"x{name}" for name in own)]) for text, own in zip(plain, topics, strict=True)]
    write_data(plain, labels=cells)
    split_and_gate(task="multilabel")
    write_data(told, labels=cells)
    with pytest.raises(DataRefused, match=r"words \(L2.*'xhat' for 'hat'"):
        split_and_gate(task="multilabel")
    write_data(plain, labels=cells, side={"kind": cells})
    with pytest.raises(DataRefused, match="Side column 'kind' alone predicts the class"):
        split_and_gate(task="multilabel")


def test_l3_1_training_on_the_future_is_refused():
    """The source knows when each sample was made; a split by hash trains on days after those that judge."""
    write_texts(times=days(400))
    with pytest.raises(DataRefused, match=r"time-overlap \(L3.1 temporal leakage\)"):
        split_and_gate()
    split_and_gate(method="time")


def test_l3_2_a_person_on_both_sides_is_refused():
    """Ten recordings of each of forty persons, shared out one by one."""
    write_texts(groups=[f"person {number // 10}" for number in range(400)])
    with pytest.raises(DataRefused, match=r"group-overlap \(L3.2 train and test are not independent\)"):
        split_and_gate()
    splits_of = {number: set() for number in range(40)}
    for row in pq.read_table(paths.SPLIT_PARQUET).to_pylist():
        splits_of[row["row"] // 10].add(row["split"])
    torn = {number for number, splits in splits_of.items() if len(splits) > 1}
    assert {f"{row:06d}" for row in range(400) if row // 10 in torn} == named_samples()
    split_and_gate(method="group")


@pytest.mark.parametrize("biased", ["side", "class", "target"])
def test_l3_3_a_test_set_of_another_kind_is_refused(biased):
    """The given test set is of one hospital only, mostly of one class, or of the easy (small) targets."""
    rng = np.random.default_rng(0)
    hospital, labels, targets = (
        rng.choice(["a", "b", "c"], 600),
        np.array(two_classes(600, seed=7)),
        rng.normal(size=600),
    )
    chosen = {
        "side": hospital == "a",
        "class": (labels == "hat") | (rng.random(600) < 0.02),
        "target": targets < 0,
    }
    given = np.where(chosen[biased] & (rng.random(600) < 0.7), "test", "train").tolist()
    task = "regression" if biased == "target" else "classification"
    write_texts(
        600,
        labels=labels.tolist(),
        targets=targets.tolist(),
        given=given,
        side={"hospital": hospital.tolist()},
    )
    with pytest.raises(DataRefused, match=r"\(L3.3 sampling bias"):
        split_and_gate(method="given", task=task)
    assert {{"side": "column:hospital"}.get(biased, biased)} == {name.split(":", 1)[1] for name in found()}
