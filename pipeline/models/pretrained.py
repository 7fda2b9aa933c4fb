"""Family `pretrained`: a head on a trunk that others trained, for images and texts.

The head learns from what the trunk made of every sample once (`pipeline/stages/features.py`), which costs seconds
instead of hours; then trunk and head are put into one model, which takes raw samples as every other model does and
needs nothing beside its own file.
"""

import math
from collections.abc import Sequence

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.blocks import dense_block, l2_penalty
from pipeline.models.layers.heads import finished, num_outputs, raw_name
from pipeline.models.layers.inputs import Start, input_layers, joined


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    units: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
    l2: float = 0.0,
    bag: bool = False,
    output_activation: str = "linear",
    trunk: keras.Model | None = None,
    frozen_spec: InputSpec | None = None,
) -> keras.Model:
    """Return an untrained head, alone or behind its trunk.

    Args:
        input_spec: Of kind `vector`, what a trunk has made; or of raw samples, kind `image` or `pieces`, with a trunk.
        output_spec: What is asked.
        units: Width of each dense layer before the output; () for a linear head.
        activation: `relu`, `sigmoid` or `tanh`.
        dropout: Share dropped of the vector, and after each layer.
        l2: Strength of the penalty on kernels.
        bag: Texts: add what a linear map of the n-grams says.
        output_activation: `linear` or `tanh`; regression.
        trunk: From raw samples to vectors; it is not trained.
        frozen_spec: With a trunk: what it makes, with mean and deviation measured on train; None leaves it unscaled.

    Returns:
        Vectors or raw samples in; probabilities or numbers out, see `pipeline.models.layers.heads`.

    Raises:
        ValueError: Raw samples without a trunk, or a vector with one.
    """
    if input_spec.kind not in ("vector", "image", "pieces") or (trunk is None) != (
        input_spec.kind == "vector"
    ):
        raise ValueError(
            "Family `pretrained` reads vectors, or raw samples through a trunk. Expected kind=vector alone, or "
            f"image or pieces with a trunk. Received: kind={input_spec.kind}, trunk={trunk is not None}. "
            "Set features.pretrained and run `dvc repro features`."
        )
    inputs = input_layers(input_spec)
    vector, measured = inputs["inputs"], input_spec
    if trunk is not None:
        trunk.trainable = False
        vector = trunk(vector)
        width = vector.shape[-1]
        measured = frozen_spec or InputSpec("vector", (width,), (0.0,) * width, (1.0,) * width)
    variance = [deviation**2 for deviation in measured.standard_deviation]
    scaled = layers.Normalization(mean=list(measured.mean), variance=variance, name="normalization")(vector)
    start = Start(input_spec, inputs, scaled)
    use_bag = bag and bool(input_spec.max_bag)
    if use_bag:
        # The n-grams of a text have a length of 1; so has the vector now, and one learning rate suits both.
        scaled = layers.Rescaling(1 / math.sqrt(scaled.shape[-1]), name="length_of_one")(scaled)
    hidden = joined(scaled, start)
    if dropout:
        hidden = layers.Dropout(dropout, name="dropout_vector")(hidden)
    for index, width in enumerate(units):
        hidden = dense_block(
            hidden,
            width,
            name=f"dense_{index}",
            activation=activation,
            batch_normalization=False,
            dropout=dropout,
            l2=l2,
        )
    size, penalty = num_outputs(output_spec), l2_penalty(l2)
    name = "of_vector" if use_bag else raw_name(output_spec)
    raw = layers.Dense(size, kernel_regularizer=penalty, name=name)(hidden)
    if use_bag:
        table = layers.Embedding(
            input_spec.bag_size,
            size,
            embeddings_initializer="zeros",
            embeddings_regularizer=penalty,
            name="ngram_vectors",
        )
        of_bag = layers.Dot(axes=(1, 1), name="of_bag")([table(inputs["bag"]), inputs["bag_weights"]])
        raw = layers.Add(name=raw_name(output_spec))([raw, of_bag])
    return finished("pretrained", start, raw, output_spec, output_activation=output_activation)


def with_trunk(
    head: keras.Model,
    trunk: keras.Model,
    input_spec: InputSpec,
    output_spec: OutputSpec,
    frozen_spec: InputSpec,
    **settings: object,
) -> keras.Model:
    """Return the model that answers for raw samples what a trained head answers for their vectors.

    Args:
        head: Built by `build` from vectors with the same settings.
        trunk: From raw samples to those vectors.
        input_spec: Of raw samples.
        output_spec: What is asked.
        frozen_spec: What the head was built for.
        **settings: As for `build`.
    """
    whole = build(input_spec, output_spec, trunk=trunk, frozen_spec=frozen_spec, **settings)  # type: ignore[arg-type]
    for layer in head.layers:
        whole.get_layer(layer.name).set_weights(layer.get_weights())
    return whole
