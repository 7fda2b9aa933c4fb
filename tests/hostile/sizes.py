"""Model files that ask for more time or memory than anybody has: each writes `target` from a good file."""

from tests.hostile.rewriting import (
    CONFIG,
    config_of,
    in_place_of_dense,
    layer_of,
    with_config,
    with_dense,
    with_member,
    with_weights,
)


def nested_without_end(good, target, _canary, _secret):
    """A hundred thousand lists in each other, which break a parser's stack."""
    with_member(
        good,
        target,
        CONFIG,
        b'{"class_name": "Functional", "config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    )


def megabytes_of_settings(good, target, _canary, _secret):
    """A configuration of 20 MB."""
    with_dense(good, target, config={"name": "x" * (20 << 20)})


def a_trillion_units(good, target, _canary, _secret):
    """A layer that needs terabytes before anybody looks at its weights."""
    with_dense(good, target, config={"units": 10**12})


def a_million_units(good, target, _canary, _secret):
    """A layer of 300,000,000 weights in a file of some kB, a small step below the obvious."""
    config = config_of(good)
    layer_of(config, "out")["config"]["units"] = 10**7
    with_config(good, target, config)


def a_billion_repeats(good, target, _canary, _secret):
    """A layer without weights that answers gigabytes for each sample."""
    in_place_of_dense(good, target, "keras.layers", "RepeatVector", {"n": 2**31 - 1}, name="out")
    with_weights(
        target.rename(good.with_name("half.keras")), target, lambda file: file.__delitem__("layers/dense_1")
    )


def unrolled_loop(good, target, _canary, _secret):
    """A recurrent layer that is built as one copy per step."""
    settings = {"units": 2, "unroll": True, "return_sequences": False}
    in_place_of_dense(good, target, "keras.layers", "GRU", settings)


def ten_thousand_layers(good, target, _canary, _secret):
    """So many layers that building them is the work."""
    config = config_of(good)
    config["config"]["layers"] += [layer_of(config)] * 2_500
    with_config(good, target, config)


FAMILIES = [
    nested_without_end,
    megabytes_of_settings,
    a_trillion_units,
    a_million_units,
    a_billion_repeats,
    unrolled_loop,
    ten_thousand_layers,
]
