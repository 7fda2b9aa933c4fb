"""New rows are found by their content, and drift in any of labels, statistics and pictures is seen."""

import numpy as np
import pandas as pd
import pytest

from pipeline.retraining.new_rows import (
    Bounds,
    DescribedRows,
    compare_rows,
    finding_sentences,
    read_described_rows,
)

BOUNDS = Bounds(significance=0.01, report=0.15, refuse=0.5)


def rows(first, count, *, labels="ab", shift=0.0, seed=0):
    """Return rows with one statistic, and their pictures."""
    rng = np.random.default_rng([seed, first])
    names = [f"s{index}" for index in range(first, first + count)]
    samples = pd.DataFrame(
        {
            "sample_id": names,
            "row": range(first, first + count),
            "label": [labels[index % len(labels)] for index in range(count)],
            "content_sha256": [f"c{index}" for index in range(first, first + count)],
        }
    )
    statistics = pd.DataFrame({"sample_id": names, "mean": rng.normal(shift, 1, count)})
    plane = rng.normal(size=(count, 3)) @ np.random.default_rng(9).normal(size=(3, 64))
    pictures = np.clip(128 + 20 * plane, 0, 255).astype(np.uint8).reshape(count, 8, 8, 1)
    return DescribedRows(samples, statistics), pictures


def joined(*parts):
    """Return data sets one after another."""
    tables = [part[0] for part in parts]
    whole = DescribedRows(
        pd.concat([table.samples for table in tables], ignore_index=True),
        pd.concat([table.statistics for table in tables], ignore_index=True),
    )
    return whole, np.concatenate([part[1] for part in parts])


@pytest.fixture
def examined(tmp_path):
    """Compare today's data with 400 known rows."""

    def run(*parts, known=None, min_rows=30):
        now, pictures = joined(*parts)
        np.save(tmp_path / "payload.npy", pictures)
        reference = rows(0, 400)[0] if known is None else known
        return compare_rows(reference, now, tmp_path / "payload.npy", BOUNDS, min_rows)

    return run


def effects(found):
    """Return name to effect."""
    return {item["what"]: item["effect"] for item in found["findings"]}


def test_more_of_the_same_is_no_drift(examined):
    """Counted, compared in labels, statistics and pictures, and calm."""
    found = examined(rows(0, 400), rows(400, 200))
    assert (found["new_rows"], found["lost_rows"], found["verdict"]) == (200, 0, "none")
    assert set(effects(found)) == {"label", "mean", "reconstruction error"}


def test_a_statistic_that_moved_by_two_deviations_is_refused(examined):
    """The distance of two normals two apart is 0.68."""
    found = examined(rows(0, 400), rows(400, 200, shift=2.0))
    assert found["verdict"] == "refuse"
    assert effects(found)["mean"] == pytest.approx(0.683, abs=0.1)
    assert finding_sentences(found)[0].startswith("mean: differs by 0.")


def test_other_shares_of_classes_are_reported(examined):
    """Two thirds instead of half: a distance of a sixth."""
    found = examined(rows(0, 400), rows(400, 300, labels="aab"))
    assert found["verdict"] == "report"
    assert effects(found)["label"] == pytest.approx(1 / 6, abs=0.001)


def test_pictures_of_another_kind_are_refused(examined):
    """Noise has the same labels and statistics; only what the linear autoencoder cannot rebuild tells."""
    table, _ = rows(400, 200)
    noise = np.random.default_rng(3).integers(0, 256, (200, 8, 8, 1), np.uint8)
    found = examined(rows(0, 400), (table, noise))
    assert found["verdict"] == "refuse"
    assert effects(found)["reconstruction error"] > 0.9


def test_rows_are_told_apart_by_content_not_by_name(examined):
    """Renamed rows are known ones; a row that stands twice is one more."""
    table, pictures = rows(0, 400)
    renamed = DescribedRows(
        table.samples.assign(sample_id="x" + table.samples["sample_id"]),
        table.statistics.assign(sample_id="x" + table.statistics["sample_id"]),
    )
    again = (DescribedRows(table.samples[:1], table.statistics[:1]), pictures[:1])
    found = examined((renamed, pictures), again)
    assert (found["new_rows"], found["lost_rows"]) == (1, 0)


@pytest.mark.parametrize(("gone", "copies"), [((150,), 0), (range(100), 0), (range(0, 400, 2), 0), ((), 3)])
def test_rows_after_one_that_is_gone_move_up(examined, gone, copies):
    """Names are numbers of lines: the next row has the name of the one that is gone. Copies are rows too."""
    known, pictures = rows(0, 400)
    again = DescribedRows(known.samples[:copies], known.statistics[:copies])
    known, pictures = joined((known, pictures), (again, pictures[:copies]))
    known.samples["sample_id"] = known.statistics["sample_id"] = [
        f"line {row}" for row in range(len(pictures))
    ]
    left = ~np.isin(np.arange(len(pictures)), [*gone, *range(400, 400 + copies)])
    now = known.only(pd.Series(left))
    now.samples["sample_id"] = now.statistics["sample_id"] = known.samples["sample_id"][
        : left.sum()
    ].to_numpy()
    found = examined((now, pictures[left]), known=known)
    assert (found["new_rows"], found["changed_rows"], found["lost_rows"]) == (0, 0, len(gone) + copies)


def test_rows_that_are_gone_are_counted(examined):
    """A quarter of them."""
    found = examined(rows(100, 300))
    assert (found["new_rows"], found["lost_rows"], found["lost_share"]) == (0, 100, 0.25)


@pytest.mark.parametrize(
    ("column", "value"),
    [("label", "b"), ("target", 2.5), ("group", "p9"), ("time", "2026-01-02"), ("side.age", None)],
)
def test_what_is_said_of_a_row_may_change(examined, column, value):
    """Seven of 400 known rows, in a table that has such columns; their content is the same."""
    known, pictures = rows(0, 400, labels="a")
    described = {"target": 1.0, "group": "p1", "time": "2026-01-01", "side.age": 30.0}
    known = DescribedRows(known.samples.assign(**described), known.statistics)
    now = known.samples.copy()
    now.loc[3:9, column] = value
    found = examined((DescribedRows(now, known.statistics), pictures), known=known)
    assert (found["new_rows"], found["changed_rows"], found["lost_rows"]) == (0, 7, 0)


def test_new_rows_are_not_changed_ones(examined):
    """Fifty more, one of them a second copy of a known row, and one known row with another label."""
    known, pictures = rows(0, 400)
    relabelled = known.samples.copy()
    relabelled.loc[0, "label"] = "b"
    copy = (DescribedRows(known.samples[1:2], known.statistics[1:2]), pictures[1:2])
    found = examined((DescribedRows(relabelled, known.statistics), pictures), rows(400, 49), copy)
    assert (found["new_rows"], found["changed_rows"]) == (50, 1)


def test_series_that_grew_are_not_gone(examined):
    """Their content is new and their names are not: nothing is lost, all of them are new."""
    table, pictures = rows(0, 40)
    longer = table.samples.assign(content_sha256="longer " + table.samples["content_sha256"])
    found = examined((DescribedRows(longer, table.statistics), pictures), known=table)
    assert (found["new_rows"], found["lost_rows"]) == (40, 0)


def test_few_new_rows_are_not_judged_and_it_is_said(examined):
    """Ten rows prove nothing."""
    found = examined(rows(0, 400), rows(400, 10, shift=9.0))
    assert found["verdict"] == "none"
    assert "10 rows" in found["skipped"][0]


def test_why_pictures_were_not_compared_is_said(examined, tmp_path):
    """Without known rows in the source nothing can be fitted; texts and series have no rows of equal length."""
    assert "0 known rows" in examined(rows(400, 200))["skipped"][0]
    np.save(tmp_path / "bytes.npy", np.zeros(100, np.uint8))
    found = compare_rows(
        rows(0, 400)[0], joined(rows(0, 400), rows(400, 60))[0], tmp_path / "bytes.npy", BOUNDS, 30
    )
    assert "only images" in found["skipped"][0]


def test_the_two_files_of_a_data_set_are_brought_into_one_order(tmp_path):
    """By sample_id, whatever their own order."""
    table, _ = rows(0, 5)
    table.samples[::-1].to_parquet(tmp_path / "samples.parquet")
    table.statistics.sample(frac=1, random_state=1).to_parquet(tmp_path / "statistics.parquet")
    found = read_described_rows(tmp_path / "samples.parquet", tmp_path / "statistics.parquet")
    assert list(table.samples["sample_id"]) == list(found.samples["sample_id"])
    assert list(table.statistics["mean"]) == list(found.statistics["mean"])


def test_most_of_a_small_class_is_much_though_it_is_little_of_all(examined):
    """32 of 40 rows of one class have the other label now: 8 % of all rows, 80 % of the class."""
    known = rows(0, 400, labels="aaaaaaaaab")
    now = rows(0, 400, labels="aaaaaaaaab")
    moved = now[0].samples.query("label == 'b'").index[:32]
    now[0].samples.loc[moved, "label"] = "a"
    found = examined(now, known=known[0])
    assert (found["changed_share"], found["verdict"]) == (0.08, "refuse")
    assert effects(found) == {"label of known 'b'": 0.8}


def test_a_few_rows_of_a_class_may_be_corrected(examined):
    """4 of 40: neither much nor more than chance would do at the bound."""
    known = rows(0, 400, labels="aaaaaaaaab")
    now = rows(0, 400, labels="aaaaaaaaab")
    now[0].samples.loc[now[0].samples.query("label == 'b'").index[:4], "label"] = "a"
    assert examined(now, known=known[0])["verdict"] == "none"


def test_targets_of_known_rows_that_moved_are_drift(examined):
    """Another unit: every target of the same content is ten times as large."""
    known, now = rows(0, 400), rows(0, 400)
    known[0].samples["target"] = np.linspace(1, 2, 400)
    now[0].samples["target"] = np.linspace(10, 20, 400)
    found = examined(now, known=known[0])
    assert (effects(found), found["verdict"]) == ({"target of known rows": 1.0}, "refuse")


def test_copies_with_several_labels_are_counted_one_by_one(examined):
    """One content three times, as a, a and b; now as a, b and b: one of two a has another label, and no b."""
    known, now = rows(0, 400), rows(0, 400)
    for side, labels in ((known, "aab"), (now, "abb")):
        side[0].samples["content_sha256"] = [f"c{index // 3}" for index in range(400)]
        side[0].samples["label"] = [labels[index % 3] for index in range(400)]
    assert effects(examined(now, known=known[0])) == {
        "label of known 'a'": pytest.approx(133 / 267, abs=1e-5)
    }
