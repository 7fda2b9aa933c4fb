"""Bootstrap of blocks and of groups: each stays together, every example is as likely, intervals cover."""

import numpy as np
import pytest

from pipeline.evaluation.measures import ClassMeasures
from pipeline.evaluation.results import Bootstrap, metrics_with_intervals
from pipeline.metrics import intervals, values
from pipeline.metrics.intervals import (
    Blocks,
    DrawnTogether,
    Groups,
    blocks_of,
    bootstrap_weights,
    few_groups,
    groups_of,
    num_units,
)
from pipeline.runtime.errors import DataRefused


def weights_of(num_examples: int, resamples: int, blocks: DrawnTogether | None, seed: int = 0) -> np.ndarray:
    """Return all weights, shape (num_examples, resamples)."""
    return np.concatenate(list(bootstrap_weights(num_examples, resamples, seed, blocks)), axis=1)


def test_blocks_of_one_are_the_plain_bootstrap() -> None:
    """The same seed draws the same weights."""
    assert np.array_equal(weights_of(30, 150, None), weights_of(30, 150, Blocks(1, (20, 10))))


@pytest.mark.parametrize("length", [3, 7, 12, 25])
def test_weights_equal_blocks_laid_out_one_by_one(length: int) -> None:
    """Drawing begins with the same generator and counting each block's examples gives the same weights."""
    segments = (10, 4)
    found = weights_of(14, 5, Blocks(length, segments), seed=3)
    begins = np.random.default_rng(3).integers(0, 14, size=(-(-14 // length), 5))
    expected = np.zeros((14, 5))
    for (_, column), begin in np.ndenumerate(begins):
        first, size = (0, 10) if begin < 10 else (10, 4)
        for step in range(length):
            expected[first + (begin - first + step) % size, column] += 1
    assert np.array_equal(expected, found)


def test_every_example_is_drawn_as_often() -> None:
    """Also at the ends of a series, and in a series shorter than a block."""
    mean = weights_of(40, 4_000, Blocks(8, (30, 6, 4))).mean(axis=1)
    assert np.allclose(1.0, mean, atol=0.12)


def test_neighbours_come_together() -> None:
    """Weights of neighbours are correlated in a series, those of neighbours in different series are not."""
    correlation = np.corrcoef(weights_of(20, 2_000, Blocks(5, (10, 10))))
    assert correlation[3, 4] > 0.6
    assert correlation[9, 10] < 0.1


def test_blocks_grow_with_the_cube_root_and_the_overlap() -> None:
    """1,000 windows: blocks of 10, or as many as share a step."""
    assert blocks_of((600, 400), 1).length == 10
    assert blocks_of((600, 400), 24).length == 24


def test_segments_that_miss_examples_are_refused() -> None:
    """Weights of examples that belong to no series would be wrong silently."""
    with pytest.raises(ValueError, match="Expected sum: 14"):
        list(bootstrap_weights(14, 10, 0, Blocks(2, (10,))))


def coverage(blocks: Blocks | None, num_windows: int) -> float:
    """Return how often the interval of a mean error holds the truth, of 300 autocorrelated series."""
    generator = np.random.default_rng(8)
    inside = 0
    for _ in range(300):
        noise = generator.normal(size=num_windows + 99)
        errors = np.convolve(noise, np.ones(12), mode="valid")[-num_windows:]
        truth = np.sqrt(12 * 2 / np.pi)  # the mean distance of a normal variable of variance 12
        found = intervals.metric_intervals(
            {"mean_absolute_error": values.mean_absolute_error}, np.zeros(num_windows), errors,
            resamples=200, confidence=0.95, seed=1, blocks=blocks,
        )["mean_absolute_error"]  # fmt: skip
        inside += found.low <= truth <= found.high
    return inside / 300


def test_intervals_over_overlapping_windows_cover_with_blocks_only() -> None:
    """Errors that share eleven of twelve steps: with blocks nearly 95 % are inside, one by one far fewer."""
    assert coverage(blocks_of((600,), 24), 600) > 0.88
    assert coverage(None, 600) < 0.7


def test_weights_of_a_million_examples_come_in_small_chunks() -> None:
    """No more than 64 MB of weights at once, and still as many resamples as were asked for, each of all draws."""
    chunks = [chunk.shape for chunk in bootstrap_weights(1_000_000, 10, 0, Blocks(100, (1_000_000,)))]
    assert [8, 2] == [columns for _, columns in chunks]
    totals = [chunk.sum(axis=0) for chunk in bootstrap_weights(100_000, 90, 0)]
    assert np.array_equal(np.full(90, 100_000.0), np.concatenate(totals))


def test_groups_are_named_in_order_and_who_has_none_is_alone() -> None:
    """Two rows without a group are two; a data set without groups has nothing to draw together."""
    assert groups_of(["ann", "", "bob", "ann", ""]) == Groups((0, 1, 2, 0, 3))
    assert groups_of(["", ""]) is groups_of([]) is None


def test_weights_of_groups_equal_whole_groups_laid_out_one_by_one() -> None:
    """As many groups as there are, drawn with the same generator, each with all its examples wherever they stand."""
    members = (0, 1, 1, 2, 0, 2, 2)
    found = weights_of(7, 150, Groups(members), seed=3)
    expected = np.zeros((7, 150))
    generator = np.random.default_rng(3)
    for first in (0, 100):  # in chunks
        drawn = generator.integers(0, 3, size=(3, min(100, 150 - first)))
        for (_, column), group in np.ndenumerate(drawn):
            for example, member in enumerate(members):
                expected[example, first + column] += member == group
    assert np.array_equal(expected, found)


def test_groups_of_one_are_the_plain_bootstrap() -> None:
    """Who names each row a group of its own changes no bit."""
    assert np.array_equal(weights_of(30, 150, None), weights_of(30, 150, Groups(tuple(range(30)))))


def test_groups_that_miss_examples_are_refused() -> None:
    """Weights of examples that belong to no group would be wrong silently."""
    with pytest.raises(ValueError, match=r"Expected sum: 14\. Received: 3"):
        list(bootstrap_weights(14, 10, 0, Groups((0, 1, 1))))


def test_unequal_groups_count_as_fewer() -> None:
    """By hand: sizes 3 and 1 are 16 / 10 groups; 40 equal ones are 40; of ten rows of one group one."""
    assert num_units(4, Groups((0, 0, 0, 1))) == pytest.approx(1.6)
    equal = Groups(tuple(np.repeat(range(40), 10)))
    assert num_units(400, equal) == 40
    assert equal.effective_number(np.arange(400) < 10) == 1
    assert equal.effective_number(np.zeros(400, bool)) == 0


def test_few_groups_are_told_with_what_was_expected() -> None:
    """29 groups are too few, 30 are not, and 40 of which one has nearly every row are too few again."""
    assert "at least 30 groups of equal size" in few_groups(Groups(tuple(range(29))))
    assert few_groups(Groups(tuple(range(30)))) == few_groups(None) == few_groups(Blocks(2, (4,))) == ""
    assert "Received: groups=40, which say as much as 1.2" in few_groups(Groups((*range(39), *[39] * 361)))


def covered_by_groups(blocks: Groups | None) -> float:
    """Return how often the interval of a mean error holds the truth, of 300 samples of 25 persons of 8 rows."""
    generator = np.random.default_rng(9)
    inside = 0
    for _ in range(300):
        errors = np.abs(generator.normal(size=25)[:, None] + 0.3 * generator.normal(size=(25, 8))).ravel()
        truth = np.sqrt(1.09 * 2 / np.pi)
        found = intervals.metric_intervals(
            {"mean_absolute_error": values.mean_absolute_error}, np.zeros(200), errors,
            **Bootstrap(200, 0.95, 1).over(blocks),
        )["mean_absolute_error"]  # fmt: skip
        inside += found.low <= truth <= found.high
    return inside / 300


def test_intervals_of_rows_of_persons_cover_with_groups_only() -> None:
    """Eight rows of a person are nearly one: row by row half of the intervals miss the truth."""
    assert covered_by_groups(Groups(tuple(np.repeat(range(25), 8)))) > 0.88
    assert covered_by_groups(None) < 0.65


def test_one_group_is_drawn_by_its_rows() -> None:
    """There is no other group to draw; an interval of no width would claim certainty."""
    assert Bootstrap(200, 0.95, 1).over(Groups((0, 0, 0))) == Bootstrap(200, 0.95, 1).over(None)


def two_classes(labels_of_groups: list[int], rows: int) -> tuple[ClassMeasures, np.ndarray]:
    """Return measures of groups that each have one label, and answers that are always right."""
    y_true = np.repeat(labels_of_groups, rows)
    groups = Groups(tuple(np.repeat(range(len(labels_of_groups)), rows).tolist()))
    return ClassMeasures(y_true, ("a", "b"), 1, 10, groups), np.eye(2)[y_true] * 0.8 + 0.1


def judged(measures: ClassMeasures, predictions: np.ndarray):
    """Return the intervals of one candidate."""
    points = {"only": {"positive_class": "b", "threshold": 0.5}}
    return metrics_with_intervals(measures, {"only": predictions}, points, Bootstrap(400, 0.95, 1))["only"]


def test_flawless_answers_for_one_group_are_as_sure_as_its_rows() -> None:
    """100 right answers of 100: the exact bound is that of 100 trials, not of one."""
    y_true = np.arange(100) % 2
    measures = ClassMeasures(y_true, ("a", "b"), 1, 10, Groups((0,) * 100))
    found = judged(measures, np.eye(2)[y_true] * 0.8 + 0.1)["accuracy"]
    assert found.low == pytest.approx(0.025 ** (1 / 100))


def test_a_class_of_two_groups_has_intervals_over_the_resamples_that_have_it() -> None:
    """An eighth of the resamples of 40 groups misses both: ROC AUC does not exist there, and is told all the same."""
    measures, predictions = two_classes([1, 1, *[0] * 38], 5)
    assert judged(measures, predictions)["roc_auc"].value == pytest.approx(1.0)


def test_a_metric_that_hardly_any_resample_has_is_refused_with_the_way_out() -> None:
    """Two groups of one class each: half of the resamples have one class only; exit code 65, not a traceback."""
    measures, predictions = two_classes([1, 0], 50)
    with pytest.raises(DataRefused, match="more groups with every class"):
        judged(measures, predictions)
