"""Sizes inside a convolution stack, worked out by hand; Keras itself answers in tests/models."""

from pipeline.models.layers.shapes import conv_output_sizes


def test_pooling_halves_and_drops_the_odd_pixel():
    """28 becomes 14, 7, and 3: pooling never pads."""
    assert conv_output_sizes((28, 28), [8, 8, 8]) == [(14, 14), (7, 7), (3, 3)]


def test_valid_padding_takes_the_border_off_each_convolution():
    """Two 3x3 convolutions take 4 pixels off, then pooling halves: 28 -> 24 -> 12 -> 8 -> 4."""
    assert conv_output_sizes((28, 28), [8, 8], 2, padding="valid") == [(12, 12), (4, 4)]


def test_only_the_first_convolution_of_a_block_strides():
    """With stride 2 and same padding 9x6 becomes 5x3, whatever follows in the block."""
    assert conv_output_sizes((9, 6), [8], 3, strides=2, pooling="none") == [(5, 3)]


def test_a_stack_that_shrinks_away_stays_at_zero():
    """8x8 digits survive three poolings and not a fourth; nothing turns negative or comes back."""
    assert conv_output_sizes((8, 8), [8] * 5) == [(4, 4), (2, 2), (1, 1), (0, 0), (0, 0)]
    assert conv_output_sizes((5, 5), [8] * 3, kernel_size=3, padding="valid", pool_size=3) == [
        (1, 1),
        (0, 0),
        (0, 0),
    ]


def test_no_blocks_leave_no_sizes():
    """An empty stack has nothing to report."""
    assert conv_output_sizes((8, 8), []) == []
