"""`pipeline.training.ranks`: what the processes of one training tell each other. Threads stand in for them."""

from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.training.batches import BatchedData
from pipeline.training.ranks import Ranks, RanksDiffer


class Variable:
    """The part of a Keras variable that ranks use."""

    def __init__(self, value, name="kernel"):
        self.name = name
        self.assign(value)

    def assign(self, value):
        array = np.asarray(value)
        self.value, self.dtype = SimpleNamespace(numpy=lambda: array), str(array.dtype)


def model(weights=(1.0,), kept=(), seeds=()):
    """Return something with the variables of a compiled Keras model, float32."""
    learned = [Variable(np.float32(value)) for value in weights]
    others = [Variable(np.float32(value), "moving_mean") for value in kept]
    others += [Variable(np.array([seed, 5], np.int64), "seed_generator_state") for seed in seeds]
    return SimpleNamespace(
        trainable_variables=learned,
        non_trainable_variables=others,
        variables=learned + others,
        optimizer=SimpleNamespace(variables=[Variable(np.int64(3), "iteration")]),
    )


def ranks_of(size):
    """Return ranks that can hear each other."""
    pairs = [Pipe() for _ in range(1, size)]
    return [Ranks(0, size, [ours for ours, _ in pairs])] + [
        Ranks(rank, size, [theirs]) for rank, (_, theirs) in enumerate(pairs, start=1)
    ]


def together(size, do):
    """Call a function with each of so many ranks at once, and return what each call returned or raised."""

    def one(ranks):
        try:
            return do(ranks)
        except RanksDiffer as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, ranks_of(size)))


def test_every_rank_hears_what_each_said():
    """In the order of the ranks, rank 0's own word first."""
    assert [["word 0", "word 1", "word 2"]] * 3 == together(3, lambda ranks: ranks.told(f"word {ranks.rank}"))


def test_a_total_is_added_up_in_the_order_of_the_ranks_and_has_the_same_bits_everywhere():
    """float32 sums depend on their order: 1e8 + 3 - 1e8 is 0 from the left and 3 from the right."""
    parts = [np.float32([1e8, 1.0]), np.float32([3.0, 2.0]), np.float32([-1e8, 3.0])]
    for received in together(3, lambda ranks: ranks.total(parts[ranks.rank])):
        np.testing.assert_array_equal(np.float32([0.0, 6.0]), received)


def test_a_rank_that_is_gone_is_named():
    """Whoever waits for it does so no longer, and knows which one it was."""
    zero, _, two = ranks_of(3)
    two.connections[0].close()
    zero.connections[0] = SimpleNamespace(recv=lambda: "here")
    with pytest.raises(EOFError):
        zero.told("word")
    assert 2 == zero.lost


@pytest.mark.parametrize("count", [7, 8, 9, 10, 12])
@pytest.mark.parametrize("size", [2, 3])
def test_an_uneven_last_batch_has_the_gradient_of_one_process(count, size):
    """Least squares worked by hand: the mean over all rows of the batch, whoever has how many of them, and none."""
    rng = np.random.default_rng(count)
    inputs, targets = (
        rng.normal(size=(count, 2)).astype(np.float32),
        rng.normal(size=count).astype(np.float32),
    )
    weights = np.float32([0.5, -2.0])

    def gradient(rows, truth):
        return (2 * (rows @ weights - truth) @ rows / len(rows)).astype(np.float32)

    def epoch(ranks):
        data = BatchedData(
            inputs,
            np.arange(count),
            targets,
            batch_size=6,
            seed=1,
            shuffle=True,
            rank=ranks.rank,
            num_ranks=ranks.size,
        )
        ranks.deal(*data.rows_of_rank())
        steps = [divmod(step, 2) for step in range(4)]
        return [
            ranks._mean(gradient(*data.batch(*step)), np.int64(number)) for number, step in enumerate(steps)
        ]

    whole = BatchedData(inputs, np.arange(count), targets, batch_size=6, seed=1, shuffle=True)
    expected = [gradient(*whole.batch(*divmod(step, 2))) for step in range(4)]
    for received in together(size, epoch):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


def test_metrics_are_those_of_all_rows():
    """Three rows with a mean loss of 2 and two with one of 7: (3 * 2 + 2 * 7) / 5 = 4. Validation is rank 0's."""

    def mean(ranks):
        ranks.deal(np.array([5]), np.array([[3], [2]][ranks.rank]))
        return ranks.mean_logs({"loss": [2.0, 7.0][ranks.rank]} | ({} if ranks.rank else {"val_loss": 9.0}))

    assert [{"loss": 4.0, "val_loss": 9.0}, {"loss": 4.0}] == together(2, mean)


@pytest.mark.parametrize(
    ("epochs", "weights", "expected"),
    [
        ((3, 2), (1.0, 1.0), "rank 0 at epoch 3, rank 1 at epoch 2"),
        ((3, 3), (1.0, 1.5), "the same epoch 3 with different weights"),
    ],
)
def test_ranks_that_begin_differently_are_refused(epochs, weights, expected):
    """By every rank, with the folder to remove; or they would train on together to other weights without a word."""
    errors = together(
        2,
        lambda ranks: ranks.begin_alike(model([weights[ranks.rank]]), epochs[ranks.rank], "the/folder"),
    )
    assert [RanksDiffer] * 2 == list(map(type, errors))
    assert expected in str(errors[0])
    assert "the/folder" in str(errors[0])


def test_each_rank_draws_its_own_dropout_and_none_forgets_how_much_it_drew():
    """Rank 0 draws as one process does; the others from other seeds, the same ones after each start."""

    def seeds(ranks):
        made = model(seeds=[7, 8])
        ranks.begin_alike(made, 0, "")
        return [tuple(variable.value.numpy().tolist()) for variable in made.non_trainable_variables]

    first, second = together(3, seeds), together(3, seeds)
    assert first == second
    assert [(7, 5), (8, 5)] == first[0]
    assert 6 == len({seed for rank in first for seed, _ in rank})
    assert {5} == {drawn for rank in first for _, drawn in rank}


def test_moving_averages_are_averaged_and_what_is_frozen_does_not_move():
    """The mean of 0 to 6 is 3; a seventh of seven times 0.1 is another number in float32, and would drift each epoch."""

    def settled(ranks):
        made = model(kept=[float(ranks.rank), 0.1])
        ranks.settle(made)
        return [variable.value.numpy().item() for variable in made.non_trainable_variables]

    assert [[3.0, float(np.float32(0.1))]] * 7 == together(7, settled)


def test_weights_that_went_apart_are_refused():
    """By one bit, at every rank, before anything is validated or written."""
    weights = [np.float32(1), np.nextafter(np.float32(1), np.float32(2))]
    errors = together(2, lambda ranks: ranks.settle(model([weights[ranks.rank]])))
    assert ["went apart" in str(error) for error in errors] == [True, True]
