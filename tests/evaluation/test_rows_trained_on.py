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


def put(project, splits=SPLITS, texts=TEXTS, **columns):
    write_texts(project, texts, splits, LABELS[: len(texts)], **columns)
    run_features(text=TEXT)


def champion(project, name="champion", *, windowed=False):
    """Keep what a model of this moment was trained on, and return its folder."""
    folder = project / name
    write_trained_on(folder / TRAINED_ON, windowed=windowed)
    return folder


def rows_in(folder):
    return pq.read_table(folder / TRAINED_ON).to_pylist()


def test_rows_of_train_and_val_are_named_by_content(project):
    """Val chose, so it counts; test and excluded rows do not stand in the file."""
    import hashlib

    put(project, [*SPLITS[:4], "excluded", "test"])
    expected = [
        (hashlib.sha256(text.encode()).hexdigest(), split)
        for text, split in zip(TEXTS[:4], SPLITS[:4], strict=True)
    ]
    rows = rows_in(champion(project))
    assert sorted(expected) == [(row["content_sha256"], row["split"]) for row in rows]
    assert {(0, 1, "", None)} == {
        (row["start"], row["stop"], row["series"], row["start_second"]) for row in rows
    }


def test_equal_data_gives_equal_bytes_in_whatever_order(project):
    """Neither order nor names of the samples move the file."""
    put(project)
    first = (champion(project) / TRAINED_ON).read_bytes()
    order = [3, 1, 5, 0, 2, 4]
    put(project, [SPLITS[row] for row in order], [TEXTS[row] for row in order])
    assert first == (champion(project) / TRAINED_ON).read_bytes()


def test_a_row_that_the_champion_was_trained_on_is_left_out(project):
    """Another salt moves a training row of then, and a row that chose then, into today's test."""
    put(project)
    then = champion(project)
    put(project, ["test", "train", "train", "test", "test", "test"])
    today = champion(project, "best")
    assert [2, 3] == unseen_positions(load_test_rows(), [today, then]).tolist()
    assert [0, 1, 2, 3] == unseen_positions(load_test_rows(), [today]).tolist()


def test_a_copy_under_another_name_counts_as_seen(project):
    """The text of a training row of then stands in today's test as another sample, beside other columns."""
    put(project)
    then = champion(project)
    put(project, ["test", "train", "train", "test"], ["see a prize", "new", "old", "newer"])
    assert [1] == unseen_positions(load_test_rows(), [then]).tolist()


def test_nothing_is_left_where_all_of_it_was_seen(project):
    """The gate finds no rows, which are too few."""
    put(project, ["test", "test", "train", "train", "train", "val"])
    then = champion(project)
    put(project)
    assert [] == unseen_positions(load_test_rows(), [then]).tolist()


def test_a_model_that_does_not_say_what_it_has_seen_is_not_compared(project):
    """A model from before the file existed may have seen anything."""
    put(project)
    (project / "old").mkdir()
    with pytest.raises(NotComparable, match=r"trained_on.parquet is not among its papers"):
        unseen_positions(load_test_rows(), [champion(project), project / "old"])


@pytest.mark.parametrize("kind", ["image", "series"])
def test_images_and_whole_series_are_named_by_content_too(kind, project):
    """What moves from train to test is seen, for every kind of data."""
    if kind == "image":
        lengths, payload = [1] * 6, np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    else:
        lengths = [4, 2, 5, 3, 7, 1]
        payload = np.random.default_rng(0).normal(0, 1, (22, 1)).astype(np.float32)

    def put_split(splits):
        write_samples(project, payload, lengths, channels=("x",) if kind == "series" else ())
        write_split(project, splits, labels=LABELS, stops=lengths)
        if kind == "series":
            run_features(series=SERIES)
        else:
            from rich.progress import Progress

            from pipeline.stages.features import features

            features(["texture"], 4, 8, Progress(disable=True))

    put_split(SPLITS)
    then = champion(project)
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


def put_windows(project, payload, segments, **columns):
    """Windows of two predicted steps; without a calendar, so that series may do without a clock."""
    write_windowed(project, payload, segments, **columns)
    run_features(task="forecasting", windows=WINDOWS | {"calendar": []}, series=SERIES, side=SIDE)


def unseen_steps(project, *folders):
    test = load_test_rows()
    return [int(test.timeline.starts[place]) for place in unseen_positions(test, list(folders))]


def test_blocks_name_the_steps_of_each_stretch(project):
    """Cut at multiples of the block and at the borders of the splits; a whole series has its own digest."""
    put_windows(project, steps(800), THEN)
    rows = rows_in(champion(project, windowed=True))
    assert [
        ("train", 0, BLOCK_STEPS),
        ("train", 256, 512),
        ("train", 512, 600),
        ("val", 600, 700),
    ] == [(row["split"], row["start"], row["stop"]) for row in rows]
    monday = 1767571200.0
    assert (monday + 256 * 3600, monday + 512 * 3600) == (rows[1]["start_second"], rows[1]["stop_second"])


@pytest.mark.parametrize("columns", [HOUR, NO_CLOCK])
def test_a_series_that_grew_is_known_by_its_place(columns, project):
    """New steps behind, borders moved: only windows that predict steps of then's train or val are left out."""
    put_windows(project, steps(800), THEN, **columns)
    then = champion(project, windowed=True)
    longer = np.concatenate([steps(800), steps(100, 9)])
    put_windows(
        project, longer, [("train", 0, 0, 500), ("val", 0, 500, 650), ("test", 0, 650, 900)], **columns
    )
    assert list(range(700, 899)) == unseen_steps(project, then)


def test_old_steps_that_fell_out_at_the_front_move_nothing(project):
    """By the clock step 0 of today is step 300 of then."""
    put_windows(project, steps(800), THEN, **HOUR)
    then = champion(project, windowed=True)
    later = {"time": ["2026-01-17T12:00:00"], "step_seconds": [3600.0]}
    put_windows(
        project,
        steps(800)[300:],
        [("train", 0, 0, 200), ("val", 0, 200, 300), ("test", 0, 300, 500)],
        **later,
    )
    assert list(range(400, 499)) == unseen_steps(project, then)


def test_a_value_corrected_afterwards_does_not_hide_a_step(project):
    """The content of the block is another one, its place is not."""
    put_windows(project, steps(800), THEN)
    then = champion(project, windowed=True)
    corrected = steps(800)
    corrected[[610, 650, 690]] += 1
    put_windows(project, corrected, [("train", 0, 0, 500), ("val", 0, 500, 600), ("test", 0, 600, 800)])
    assert list(range(700, 799)) == unseen_steps(project, then)


def test_a_renamed_series_is_known_by_its_content(project):
    """The same steps under another id; a new series beside it is new."""
    put_windows(project, steps(800), THEN)
    then = champion(project, windowed=True)
    both = np.concatenate([steps(800, 12), steps(800)])
    segments = [("train", 0, 0, 500), ("val", 0, 500, 600), ("test", 0, 600, 800), ("test", 1, 0, 800)]
    put_windows(project, both, segments, lengths=[800, 800], sample_id=["new", "renamed"])
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
