"""`pipeline.training.batches`: batches are a pure function of seed, epoch and index."""

import numpy as np
import pytest

from pipeline.inputs.arrays import ModelInputs, stored
from pipeline.training.batches import BatchedData, passes_per_epoch

INPUTS = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
TARGETS = np.arange(10)
ROWS = np.array([0, 2, 3, 4, 6, 8, 9])


def data(**changes):
    """Return 7 rows in batches of 3."""
    settings = {"batch_size": 3, "seed": 5, "shuffle": True} | changes
    return BatchedData(INPUTS, ROWS, TARGETS, **settings)


def epoch_targets(batches, epoch):
    """Return the targets of an epoch in the order of its batches."""
    return [set(batches.batch(epoch, index)[1].tolist()) for index in range(batches.num_batches)]


def test_each_epoch_has_every_row_once():
    """Also the smaller last batch is kept: 7 rows are batches of 3, 3 and 1."""
    batches = data()
    for epoch in range(3):
        targets = np.concatenate([batches.batch(epoch, index)[1] for index in range(batches.num_batches)])
        assert ROWS.tolist() == sorted(targets.tolist())
    assert [len(batches.batch(0, index)[0]) for index in range(3)] == [3, 3, 1]


def test_another_order_each_epoch():
    """fit never repeats the same order each epoch."""
    batches = data()
    orders = {tuple(batches.order(epoch).tolist()) for epoch in range(20)}
    assert len(orders) == 20


def test_order_follows_from_seed_and_epoch_alone():
    """Asked in any sequence, by any object, an epoch has one order: NumPy's for [seed, epoch]."""
    one, other = data(), data()
    other.order(0)
    expected = np.random.default_rng([5, 3]).permutation(ROWS)
    assert expected.tolist() == one.order(3).tolist() == other.order(3).tolist()
    assert epoch_targets(one, 2) == epoch_targets(other, 2)
    assert data(seed=6).order(3).tolist() != one.order(3).tolist()


def test_augmentation_is_drawn_anew_per_epoch_and_batch():
    """The random generator of a batch follows from seed, epoch and index."""
    drawn = {}

    def record(images, generator):
        return images + generator.integers(0, 200, 1).astype(np.uint8)

    batches = BatchedData(
        np.zeros((9, 1), np.uint8),
        np.arange(9),
        np.zeros(9),
        batch_size=3,
        seed=1,
        shuffle=True,
        augmentation=record,
    )
    drawn = {(epoch, index): batches.batch(epoch, index)[0][0, 0] for epoch in range(3) for index in range(3)}
    assert len(set(drawn.values())) > 5
    again = {key: batches.batch(*key)[0][0, 0] for key in reversed(drawn)}
    assert drawn == again


def test_validation_keeps_the_order_of_its_rows():
    """Without shuffle every epoch is the rows as given."""
    batches = data(shuffle=False)
    assert [0, 2, 3] == batches.batch(0, 0)[1].tolist() == batches.batch(7, 0)[1].tolist()


def test_targets_are_int32_beside_their_inputs():
    """Each target stands beside the image of the same row."""
    inputs, targets = data().batch(1, 0)
    assert np.int32 == targets.dtype
    assert (inputs[:, 0, 0, 0] // 4).tolist() == targets.tolist()


def test_reconstruction_targets_are_the_images_in_0_to_1():
    """Without targets the target is the (augmented) image divided by 255."""
    batches = BatchedData(
        INPUTS,
        ROWS,
        None,
        batch_size=3,
        seed=5,
        shuffle=True,
        augmentation=lambda x, _: x + 1,
        reconstruct=True,
    )
    inputs, targets = batches.batch(0, 0)
    assert np.float32 == targets.dtype
    np.testing.assert_allclose(inputs / 255, targets, rtol=1e-6)


def test_memory_mapped_inputs(tmp_path):
    """A memmap gives the batches of the array."""
    np.save(tmp_path / "images.npy", INPUTS)
    mapped = BatchedData(
        np.load(tmp_path / "images.npy", mmap_mode="r"), ROWS, TARGETS, batch_size=3, seed=5, shuffle=True
    )
    for expected, received in zip(data().batch(4, 1), mapped.batch(4, 1), strict=True):
        np.testing.assert_array_equal(expected, received)


def test_nan_inputs_are_refused():
    """A feature that is not a number stops training before it starts, and only if its row is used."""
    inputs = np.ones((4, 2), np.float32)
    inputs[2, 1] = np.nan
    BatchedData(inputs, np.array([0, 1, 3]), TARGETS, batch_size=2, seed=0, shuffle=True)
    with pytest.raises(ValueError, match="Sample in row 2"):
        BatchedData(inputs, np.array([0, 2]), TARGETS, batch_size=2, seed=0, shuffle=True)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_made_on_demand_are_refused_with_their_batch(number):
    """Nobody can look at them before: the batch of rows 0 and 1 is given, that of rows 2 and 3 is not."""
    side = np.ones((4, 2), np.float32)
    side[2, 1] = number
    inputs = ModelInputs(4, [stored({"inputs": np.ones((4, 3), np.float32)}), stored({"side": side})])
    batches = BatchedData(inputs, np.arange(4), TARGETS, batch_size=2, seed=0, shuffle=False)
    assert [0, 1] == batches.batch(0, 0)[1].tolist()
    with pytest.raises(ValueError, match=r"'side' holds a number that is not finite.* samples \[2, 3\]"):
        batches.batch(0, 1)


def test_no_rows_are_refused():
    """An empty set is an error, not an epoch without steps."""
    with pytest.raises(ValueError, match="without rows"):
        BatchedData(INPUTS, np.array([], dtype=int), TARGETS, batch_size=2, seed=0, shuffle=True)


def test_an_epoch_of_several_passes_has_the_rows_of_as_many_epochs():
    """Three passes are the epochs 0, 1, 2, then 3, 4, 5 of one pass each: the same batches, augmentation included."""

    def drawn(images, generator):
        return images + generator.integers(0, 200, 1).astype(np.uint8)

    plain, long = data(augmentation=drawn), data(augmentation=drawn, passes=3)
    assert 3 * plain.num_batches == long.num_batches
    for epoch in range(2):
        for index in range(long.num_batches):
            expected = plain.batch(3 * epoch + index // 3, index % 3)
            for one, other in zip(expected, long.batch(epoch, index), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs", "min_steps", "expected"),
    [(18, 16, 150, 1500, 5), (18, 16, 150, 0, 1), (1168, 32, 60, 1500, 1), (1600, 16, 15, 1500, 1), (1600, 16, 14, 1500, 2), (1, 16, 1, 7, 7)],
)  # fmt: skip
def test_passes_worked_by_hand(rows, batch_size, epochs, min_steps, expected):
    """18 series are 2 steps, 150 epochs of them 300; the digits have 2,220; 1,500 are enough and 1,400 are not."""
    assert expected == passes_per_epoch(rows, batch_size=batch_size, epochs=epochs, min_steps=min_steps)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_rows_of_a_batch_are_dealt_out_once(size):
    """Of seven rows in batches of three: what the ranks have is the batch, but for a row that counts for nothing."""
    whole = data()
    dealt = [data(rank=rank, num_ranks=size) for rank in range(size)]
    for epoch, index in np.ndindex(2, whole.num_batches):
        expected, counts = whole.batch(epoch, index), [part.rows_of_rank() for part in dealt]
        assert {len(expected[1])} == {sizes[index] for sizes, _ in counts}
        parts = [part.batch(epoch, index) for part in dealt]
        for side in (0, 1):
            rows = [part[side][: own[index]] for part, (_, own) in zip(parts, counts, strict=True)]
            received = np.concatenate(rows)
            assert sorted(map(repr, expected[side])) == sorted(map(repr, received))
        assert all(len(part[1]) for part in parts)


def test_ranks_change_their_rows_each_in_its_own_way_and_rank_0_as_one_process_does():
    """Or the second row of a batch would be shifted as the first one is."""

    def drawn(images, generator):
        return np.full_like(images, generator.integers(0, 200))

    first = [data(augmentation=drawn, rank=rank, num_ranks=2).batch(3, 0)[0].flat[0] for rank in (0, 1)]
    assert first[0] == data(augmentation=drawn).batch(3, 0)[0].flat[0]
    assert first[0] != first[1]
