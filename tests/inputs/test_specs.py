"""What the state of the features stage says to each family."""

import pytest

from pipeline.inputs.specs import InputSpec, OutputSpec, input_spec, output_spec

STATE = {
    "classes": ["cat", "dog"],
    "class_counts": [7, 5],
    "image": {"shape": [8, 9, 1], "mean": [0.25], "standard_deviation": [0.5]},
    "handmade": {"names": ["a", "b"], "mean": [1.0, 2.0], "standard_deviation": [3.0, 4.0]},
}


@pytest.mark.parametrize("family", ["cnn", "rnn", "autoencoder", "linear", "majority"])
def test_families_on_pixels_get_the_image_statistics(family):
    """Shape, mean and deviation of the images, as tuples."""
    assert InputSpec("image", (8, 9, 1), (0.25,), (0.5,)) == input_spec(STATE, family)


def test_family_dense_gets_the_feature_statistics():
    """One mean and deviation per hand-made feature."""
    assert InputSpec("vector", (2,), (1.0, 2.0), (3.0, 4.0)) == input_spec(STATE, "dense")


def test_family_dense_without_features_says_what_to_do():
    """`groups: []` leaves nothing to learn from; the message names the key."""
    empty = STATE | {"handmade": {"names": [], "mean": [], "standard_deviation": []}}
    with pytest.raises(ValueError, match=r"features.groups=\[\]"):
        input_spec(empty, "dense")


def test_classes_keep_their_frozen_order():
    """Class names and counts as the training split had them."""
    assert OutputSpec(("cat", "dog"), (7, 5)) == output_spec(STATE)
