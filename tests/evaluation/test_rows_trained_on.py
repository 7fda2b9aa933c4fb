"""What a model was trained on travels with it, and rows that it has seen are found again, whatever they are called."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.evaluation.rows import BLOCK_STEPS, TRAINED_ON, _touch, write_trained_on
from pipeline.evaluation.scoring import NotComparable, load_test_rows, unseen_positions
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

TEXTS = ["win a prize", "see you at home", "prize for home", "see a prize", "win home", "prize"]
SPLITS = ["train", "train", "train", "val", "test", "test"]
LABELS = ["x", "y", "x", "y", "x", "y"]


def put(folder, splits=SPLITS, texts=TEXTS, **columns):
    write_texts(folder, texts, splits, LABELS[: len(texts)], **columns)
    run_features(text=TEXT)


def champion(root, name="champion", *, windowed=False):
    """Keep what a model of this moment was trained on, and return its folder."""
    folder = root / name
    write_trained_on(folder / TRAINED_ON, windowed=windowed)
    return folder


def rows_in(folder):
    return pq.read_table(folder / TRAINED_ON).to_pylist()


def test_rows_of_train_and_val_are_named_by_content(folder):
    """Val chose, so it counts; test and excluded rows do not stand in the file."""
    import hashlib

    put(folder, [*SPLITS[:4], "excluded", "test"])
    expected = [
        (hashlib.sha256(text.encode()).hexdigest(), split)
        for text, split in zip(TEXTS[:4], SPLITS[:4], strict=True)
    ]
    rows = rows_in(champion(folder))
    assert sorted(expected) == [(row["content_sha256"], row["split"]) for row in rows]
    assert {(0, 1, "", None)} == {
        (row["start"], row["stop"], row["series"], row["start_second"]) for row in rows
    }


def test_equal_data_gives_equal_bytes_in_whatever_order(folder):
    """Neither order nor names of the samples move the file."""
    put(folder)
    first = (champion(folder) / TRAINED_ON).read_bytes()
    order = [3, 1, 5, 0, 2, 4]
    put(folder, [SPLITS[row] for row in order], [TEXTS[row] for row in order])
    assert first == (champion(folder) / TRAINED_ON).read_bytes()


def test_a_row_that_the_champion_was_trained_on_is_left_out(folder):
    """Another salt moves a training row of then, and a row that chose then, into today's test."""
    put(folder)
    then = champion(folder)
    put(folder, ["test", "train", "train", "test", "test", "test"])
    today = champion(folder, "best")
    assert [2, 3] == unseen_positions(load_test_rows(), [today, then]).tolist()
    assert [0, 1, 2, 3] == unseen_positions(load_test_rows(), [today]).tolist()


def test_a_copy_under_another_name_counts_as_seen(folder):
    """The text of a training row of then stands in today's test as another sample, beside other columns."""
    put(folder)
    then = champion(folder)
    put(folder, ["test", "train", "train", "test"], ["see a prize", "new", "old", "newer"])
    assert [1] == unseen_positions(load_test_rows(), [then]).tolist()


def test_nothing_is_left_where_all_of_it_was_seen(folder):
    """The gate finds no rows, which are too few."""
    put(folder, ["test", "test", "train", "train", "train", "val"])
    then = champion(folder)
    put(folder)
    assert [] == unseen_positions(load_test_rows(), [then]).tolist()


def test_a_model_that_does_not_say_what_it_has_seen_is_not_compared(folder):
    """A model from before the file existed may have seen anything."""
    put(folder)
    (folder / "old").mkdir()
    with pytest.raises(NotComparable, match=r"trained_on.parquet is not among its papers"):
        unseen_positions(load_test_rows(), [champion(folder), folder / "old"])


@pytest.mark.parametrize("kind", ["image", "series"])
def test_images_and_whole_series_are_named_by_content_too(kind, folder):
    """What moves from train to test is seen, for every kind of data."""
    if kind == "image":
        lengths, payload = [1] * 6, np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    else:
        lengths = [4, 2, 5, 3, 7, 1]
        payload = np.random.default_rng(0).normal(0, 1, (22, 1)).astype(np.float32)

    def put_split(splits):
        write_samples(folder, payload, lengths, channels=("x",) if kind == "series" else ())
        write_split(folder, splits, labels=LABELS, stops=lengths)
        if kind == "series":
            run_features(series=SERIES)
        else:
            from rich.progress import Progress

            from pipeline.stages.features import features

            features(["texture"], 4, 8, Progress(disable=True))

    put_split(SPLITS)
    then = champion(folder)
    put_split(["test", "train", "train", "train", "test", "val"])
    assert [1] == unseen_positions(load_test_rows(), [then]).tolist()


# Series that windows slide over.

HOUR = {"time": ["2026-01-05T00:00:00"], "step_seconds": [3600.0]}
NO_CLOCK = {"time": [""], "step_seconds": [0.0]}
THEN = [("train", 0, 0, 600), ("val", 0, 600, 700), ("test", 0, 700, 800)]


def steps(count, seed=3):
    payload = np.random.default_rng(seed).normal(0, 1, (count, 3)).astype(np.float32)
    payload[:, 2] = 1
    return payload


def put_windows(folder, payload, segments, **columns):
    """Windows of two predicted steps; without a calendar, so that series may do without a clock."""
    write_windowed(folder, payload, segments, **columns)
    run_features(task="forecasting", windows=WINDOWS | {"calendar": []}, series=SERIES, side=SIDE)


def unseen_steps(folder, *folders):
    test = load_test_rows()
    return [int(test.timeline.starts[place]) for place in unseen_positions(test, list(folders))]


def test_blocks_name_the_steps_of_each_stretch(folder):
    """Cut at multiples of the block and at the borders of the splits; a whole series has its own digest."""
    put_windows(folder, steps(800), THEN)
    rows = rows_in(champion(folder, windowed=True))
    assert [
        ("train", 0, BLOCK_STEPS),
        ("train", 256, 512),
        ("train", 512, 600),
        ("val", 600, 700),
    ] == [(row["split"], row["start"], row["stop"]) for row in rows]
    monday = 1767571200.0
    assert (monday + 256 * 3600, monday + 512 * 3600) == (rows[1]["start_second"], rows[1]["stop_second"])


@pytest.mark.parametrize("columns", [HOUR, NO_CLOCK])
def test_a_series_that_grew_is_known_by_its_place(columns, folder):
    """New steps behind, borders moved: only windows that predict steps of then's train or val are left out."""
    put_windows(folder, steps(800), THEN, **columns)
    then = champion(folder, windowed=True)
    longer = np.concatenate([steps(800), steps(100, 9)])
    put_windows(
        folder, longer, [("train", 0, 0, 500), ("val", 0, 500, 650), ("test", 0, 650, 900)], **columns
    )
    assert list(range(700, 899)) == unseen_steps(folder, then)


def test_old_steps_that_fell_out_at_the_front_move_nothing(folder):
    """By the clock step 0 of today is step 300 of then."""
    put_windows(folder, steps(800), THEN, **HOUR)
    then = champion(folder, windowed=True)
    later = {"time": ["2026-01-17T12:00:00"], "step_seconds": [3600.0]}
    put_windows(
        folder,
        steps(800)[300:],
        [("train", 0, 0, 200), ("val", 0, 200, 300), ("test", 0, 300, 500)],
        **later,
    )
    assert list(range(400, 499)) == unseen_steps(folder, then)


def test_a_value_corrected_afterwards_does_not_hide_a_step(folder):
    """The content of the block is another one, its place is not."""
    put_windows(folder, steps(800), THEN)
    then = champion(folder, windowed=True)
    corrected = steps(800)
    corrected[[610, 650, 690]] += 1
    put_windows(folder, corrected, [("train", 0, 0, 500), ("val", 0, 500, 600), ("test", 0, 600, 800)])
    assert list(range(700, 799)) == unseen_steps(folder, then)


def test_a_renamed_series_is_known_by_its_content(folder):
    """The same steps under another id; a new series beside it is new."""
    put_windows(folder, steps(800), THEN)
    then = champion(folder, windowed=True)
    both = np.concatenate([steps(800, 12), steps(800)])
    segments = [("train", 0, 0, 500), ("val", 0, 500, 600), ("test", 0, 600, 800), ("test", 1, 0, 800)]
    put_windows(folder, both, segments, lengths=[800, 800], sample_id=["new", "renamed"])
    test = load_test_rows()
    found = [test.sample_ids[place] for place in unseen_positions(test, [then])]
    assert [f"new@{step}" for step in range(600, 799)] == found[:199]
    assert [f"renamed@{step}" for step in range(700, 799)] == found[199:]


def test_touching_intervals_against_a_plain_loop():
    """Half open on both sides: what only meets does not touch."""
    generator = np.random.default_rng(7)
    for _trial in range(200):
        starts = np.sort(generator.integers(0, 60, 5)).astype(float)
        ranges = [(begin, begin + length) for begin, length in generator.integers(1, 50, (3, 2)).tolist()]
        expected = [any(b < start + 4 and e > start for b, e in ranges) for start in starts]
        assert expected == _touch(starts, starts + 4, ranges).tolist()
    assert [False, False] == _touch(np.array([0.0, 9.0]), np.array([4.0, 12.0]), [(4, 9)]).tolist()
