"""How every model begins: raw images, vectors, token ids, bags or series, and side features beside them.

All are built from Keras' own layers, so that a file of a model loads in safe mode, and take what the
features stage writes. A model declares every input of its spec, used or not: Keras refuses others.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from pipeline.inputs.specs import PAD, InputSpec
from pipeline.models.layers.blocks import l2_penalty, only_present

CATEGORY_UNITS = 8
"""Width of an embedded category: enough for some tens of values, few enough not to learn rare ones by heart."""


@dataclass(frozen=True)
class Start:
    """The beginning of a model.

    Attributes:
        spec: What it was made for.
        inputs: Every input of the model by its name: `inputs`, and where the spec has them `weights`,
            `side` and `categories`.
        hidden: The main input, ready for layers: images, vectors (batch, features), embedded tokens and
            series (batch, steps, features) with padding at 0, bags summed up (batch, features).
        present: (batch, steps, 1), 1 for a step and 0 for padding; None: no step is padding.
    """

    spec: InputSpec
    inputs: dict[str, keras.KerasTensor]
    hidden: keras.KerasTensor
    present: keras.KerasTensor | None = None

    @property
    def model_inputs(self) -> keras.KerasTensor | dict[str, keras.KerasTensor]:
        """Return what `keras.Model` takes: the only input, or all by name."""
        return self.inputs["inputs"] if len(self.inputs) == 1 else self.inputs


def input_layers(spec: InputSpec) -> dict[str, keras.KerasTensor]:
    """Return every input that a model for `spec` has, by its name."""
    dtype = {"image": "uint8", "tokens": "int32", "bag": "int32", "pieces": "int32"}.get(spec.kind, "float32")
    inputs = {"inputs": keras.Input(spec.shape, dtype=dtype, name="inputs")}
    if spec.kind == "bag":
        inputs["weights"] = keras.Input(spec.shape, dtype="float32", name="weights")
    if spec.max_bag:
        inputs["bag"] = keras.Input((spec.max_bag,), dtype="int32", name="bag")
        inputs["bag_weights"] = keras.Input((spec.max_bag,), dtype="float32", name="bag_weights")
    if spec.num_side:
        inputs["side"] = keras.Input((spec.num_side,), dtype="float32", name="side")
    if spec.categories:
        inputs["categories"] = keras.Input((len(spec.categories),), dtype="int32", name="categories")
    return inputs


def begin(
    spec: InputSpec, kinds: tuple[str, ...], *, embedding_units: int = 64, bag_l2: float = 0.0
) -> Start:
    """Return the beginning of a model.

    Args:
        spec: The inputs.
        kinds: Which kinds of input the family takes.
        embedding_units: Tokens and bags: width of the vector of a token or n-gram.
        bag_l2: Bags: strength of the penalty on those vectors.

    Raises:
        ValueError: The spec is of another kind, or word vectors are of another width.
    """
    if spec.kind not in kinds:
        raise ValueError(
            f"This family takes another kind of input. Expected {' or '.join(kinds)}. Received: kind={spec.kind}. "
            "Build the spec with `pipeline.inputs.specs.input_spec` for the family at hand."
        )
    inputs = input_layers(spec)
    main = inputs["inputs"]
    if spec.kind == "image":
        pixels = layers.Rescaling(1 / 255, name="rescaling")(main)
        return Start(spec, inputs, _normalized(pixels, spec))
    if spec.kind == "vector":
        return Start(spec, inputs, _normalized(main, spec))
    if spec.kind == "bag":
        return Start(spec, inputs, _bag(main, inputs["weights"], spec, embedding_units, bag_l2))
    hidden, present = _tokens(main, spec, embedding_units) if spec.kind == "tokens" else _series(main, spec)
    return Start(spec, inputs, hidden, present)


def untouched(spec: InputSpec) -> Start:
    """Return a beginning whose `hidden` is the main input as it comes; for models that begin with another model."""
    inputs = input_layers(spec)
    return Start(spec, inputs, inputs["inputs"])


def side_features(start: Start) -> list[keras.KerasTensor]:
    """Return the scaled side features and the embedded categories, each (batch, features), as far as there are."""
    found = [start.inputs["side"]] if "side" in start.inputs else []
    sizes = start.spec.categories
    if sizes:
        # One table for all columns: the ids of each begin where those of the column before it end.
        offsets = [float(sum(sizes[:index])) for index in range(len(sizes))]
        ids = layers.Rescaling(1.0, offset=offsets, name="category_ids")(start.inputs["categories"])
        embedded = layers.Embedding(sum(sizes), CATEGORY_UNITS, name="category_vectors")(ids)
        found.append(layers.Flatten(name="embedded_categories")(embedded))
    return found


def joined(hidden: keras.KerasTensor, start: Start) -> keras.KerasTensor:
    """Return `hidden` (batch, units) beside all side features, as far as there are."""
    parts = [hidden, *side_features(start)]
    return hidden if len(parts) == 1 else layers.Concatenate(name="joined")(parts)


def selected_channels(hidden: keras.KerasTensor, channels: tuple[int, ...], name: str) -> keras.KerasTensor:
    """Return some channels of (batch, steps, channels), in the order named, without any weight.

    Args:
        hidden: The series.
        channels: Index of each channel wanted.
        name: First part of the names of its layers.
    """
    width = hidden.shape[-1]
    if channels == tuple(range(width)):
        return hidden
    rows = layers.Permute((2, 1), name=f"{name}_rows")(hidden)
    cut = [
        layers.Cropping1D((channel, width - 1 - channel), name=f"{name}_{index}")(rows)
        for index, channel in enumerate(channels)
    ]
    chosen = cut[0] if len(cut) == 1 else layers.Concatenate(axis=1, name=f"{name}_joined")(cut)
    return layers.Permute((2, 1), name=name)(chosen)


def relative_to_last(start: Start) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return a series as distances from its last step, and that step (batch, 1, channels).

    What a model adds to the last value is easier to learn than the value, and stays right when the level of
    a series moves away from that of the training set (NLinear, Zeng et al., AAAI 2023).
    """
    steps = start.hidden
    length = steps.shape[1]
    last = layers.Cropping1D((length - 1, 0), name="last")(steps)
    repeated = layers.RepeatVector(length, name="last_repeated")(layers.Flatten(name="last_flat")(last))
    return layers.Subtract(name="from_last")([steps, repeated]), last


def _normalized(hidden: keras.KerasTensor, spec: InputSpec) -> keras.KerasTensor:
    variance = [deviation**2 for deviation in spec.standard_deviation]
    return layers.Normalization(mean=list(spec.mean), variance=variance, name="normalization")(hidden)


def _tokens(
    inputs: keras.KerasTensor, spec: InputSpec, units: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    numbers = layers.Rescaling(1.0, name="token_numbers")(inputs)
    # Id 0 is padding; all others are at least 1.
    is_token = layers.ReLU(max_value=1.0, name="is_token")(numbers)
    present = layers.Reshape((*spec.shape, 1), name="present")(is_token)
    embedding = layers.Embedding(spec.vocabulary_size, units, name="token_vectors")
    embedded = embedding(inputs)
    if spec.vectors_path:
        embedding.set_weights([_vectors(spec, units)])
    return only_present(embedded, present, "embedded_tokens"), present


def _vectors(spec: InputSpec, units: int) -> np.ndarray:
    vectors = np.load(spec.vectors_path)
    if vectors.shape != (spec.vocabulary_size, units):
        raise ValueError(
            f"{spec.vectors_path}: word vectors do not fit the model. Expected shape "
            f"({spec.vocabulary_size}, {units}). Received: shape={vectors.shape}. Set embedding_units to "
            f"{vectors.shape[-1]}, or run `dvc repro features`."
        )
    return np.asarray(vectors, np.float32)


def _bag(
    inputs: keras.KerasTensor, weights: keras.KerasTensor, spec: InputSpec, units: int, l2: float
) -> keras.KerasTensor:
    vectors = layers.Embedding(
        spec.vocabulary_size, units, embeddings_regularizer=l2_penalty(l2), name="ngram_vectors"
    )(inputs)
    return layers.Dot(axes=(1, 1), name="bag")([vectors, weights])


def _series(inputs: keras.KerasTensor, spec: InputSpec) -> tuple[keras.KerasTensor, keras.KerasTensor | None]:
    if not spec.has_padding:
        return inputs, None
    # Far above 0 for a step and far below for padding, cut to 1 and 0; all channels of a step agree.
    shifted = layers.Rescaling(1.0, offset=-PAD / 2, name="shifted")(inputs)
    is_step = layers.ReLU(max_value=1.0, name="is_step")(shifted)
    channels_first = layers.Permute((2, 1), name="channels_first")(is_step)
    flags = layers.GlobalMaxPooling1D(name="step_flags")(channels_first)
    present = layers.Reshape((spec.shape[0], 1), name="present")(flags)
    return only_present(inputs, present, "steps"), present
